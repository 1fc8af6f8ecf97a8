"""What the study needs of text configs: tasks, tokens, models, requests, outputs; see unlearnkit.images.domain."""

from collections.abc import Mapping
from functools import lru_cache

from torch import Tensor, nn

from data_builders.task import TRAINED_ON, validation_as_test
from data_builders.texts.task import TextTask
from unlearnkit.texts import outputs as text_outputs
from unlearnkit.texts.chat import of_pretrained
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.models import LanguageModel, build, language_models
from unlearnkit.texts.outputs import TextOutputs
from unlearnkit.texts.pretrained import HF, fingerprint, read
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tasks import load_task, read_task, task_artefact
from unlearnkit.texts.tokenizer import Tokenizer, own, tokenizer_artefact
from unlearnkit.texts.tokens import Tokens
from unlearnkit.texts.train import fit_lm, fit_many

__all__ = ["fit_many", "load_task", "read_task", "task_artefact"]  # from elsewhere, the same name in both wings

NAME, CONFIG = "text", TextConfig
TRAINING = (fit_many, fit_lm)  # the functions behind `fit_many`, whose code a trained model depends on
TARGET_NEEDS = ("generation",)  # as in unlearnkit.images.domain
GUESSED: tuple[str, ...] = ()  # nobody guesses a fact about an invented person


def tokenizer(config: TextConfig) -> Tokenizer:
    """The tokenizer that came with a pretrained model; for others the dataset's own."""
    return (
        _pretrained_tokenizer(config.model) if config.model.startswith(HF) else own(config.dataset, config.vocabulary)
    )


@lru_cache(maxsize=4)
def _pretrained_tokenizer(model: str) -> Tokenizer:
    from transformers import AutoTokenizer

    return of_pretrained(read(AutoTokenizer, model.removeprefix(HF)))


def tokens(config: TextConfig, *roles: str) -> Tokens:
    """The samples in these roles as tokens, in the order of the task; without roles all of them."""
    task = load_task(config)
    return tokenizer(config).tokens(task.of(*roles) if roles else task.texts, config.context)


def half_data(config: TextConfig, *, keep: bool = False) -> None:
    """None: no models of halves are trained for texts."""


def training_set(config: TextConfig, reference: str) -> Tokens:
    """The samples that `original`, `retrain` or `clean` is trained on."""
    return tokens(config, *TRAINED_ON[reference])


def request(config: TextConfig) -> TextRequest:
    """The unlearning request that methods get."""
    spelling = tokenizer(config)
    validation = tokens(config, "validation") if len(load_task(config).index("validation")) else None
    forget, retain = tokens(config, "target"), tokens(config, "similar", "filler")
    return TextRequest(forget, retain, spelling.size, config.recipe, validation, tokenizer=spelling)


def model(config: TextConfig, seed: int) -> LanguageModel:
    """The config's untrained model, drawn from `seed`. Raises BadValue if tokenizer and model do not fit."""
    return build(config.model, tokenizer(config).size, config.context, seed, config.lora)


def model_params(config: TextConfig) -> dict:
    """The values that a model depends on beyond its name, recipe, seed and data."""
    params = {"context": config.context, "lora": config.lora}
    if config.model.startswith(HF):
        return params | {"pretrained": fingerprint(config.model)}
    return params | {"tokenizer": tokenizer_artefact(config.dataset, config.vocabulary).key}


def shape(config: TextConfig) -> tuple[str, int, int, int]:
    """What determines, beside its code, the layers of the config's model."""
    return config.model, tokenizer(config).size, config.context, config.lora


def model_code(config: TextConfig) -> tuple:
    """The functions that make the model, the architecture first."""
    return language_models[config.model], build


def outputs_code(config: TextConfig) -> tuple:
    """The code that outputs depend on, the module of outputs first."""
    return text_outputs, language_models[config.model]


def forward(model: nn.Module, config: TextConfig, *, features: bool, device: str) -> dict[str, dict[str, Tensor]]:
    """{"outputs": tensors, "features": tensors}: every answer of the task read once, always with features."""
    return text_outputs.forward_task(model, load_task(config), tokenizer(config), config.context, device=device)


def outputs(tensors: Mapping[str, Tensor], task: TextTask, cost: Mapping) -> TextOutputs:
    """Outputs from what `forward` returns."""
    return text_outputs.text_outputs(tensors, task, cost)


def without_test(task: TextTask) -> TextTask:
    """The task with its validation samples in the role of test samples, and without decoys, test samples, restated and
    wrong answers. Raises BadValue if there are no validation samples."""
    kept, role = validation_as_test(task.role)
    return task.part(kept.nonzero().squeeze(1), role)


def validation_outputs(model: nn.Module, config: TextConfig, task: TextTask, device: str) -> TextOutputs:
    """Outputs of a model on a task `without_test`."""
    forwarded = text_outputs.forward_task(model, task, tokenizer(config), config.context, device=device)
    return outputs(forwarded["outputs"], task, {})
