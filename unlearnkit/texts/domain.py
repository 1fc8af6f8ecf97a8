"""Cells of texts: their task in tokens, their models, and what is seen of these."""

from functools import lru_cache

from data_builders.task import TRAINED_ON
from data_builders.texts.task import TextTask
from unlearnkit.core.store import Artefact
from unlearnkit.texts import tasks
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.models import HF, LanguageModel, build, fingerprint, read
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokenizer import Tokenizer, of_pretrained, own, tokenizer_artefact
from unlearnkit.texts.tokens import Tokens


def task_artefact(config: TextConfig) -> Artefact:
    """The stored task of a config; see unlearnkit.texts.tasks."""
    return tasks.task_artefact(**config.task_params())


def load_task(config: TextConfig) -> TextTask:
    """The task of a config; built at the first call."""
    return tasks.read_task(str(task_artefact(config).folder))


def tokenizer(config: TextConfig) -> Tokenizer:
    """The one that came with a pretrained model; for others the data set's own."""
    return _of_hub(config.model) if config.model.startswith(HF) else own(config.dataset, config.vocabulary)


@lru_cache(maxsize=4)
def _of_hub(model: str) -> Tokenizer:
    from transformers import AutoTokenizer

    return of_pretrained(read(AutoTokenizer, model.removeprefix(HF)))


def tokens(config: TextConfig, *roles: str) -> Tokens:
    """The samples in these roles as tokens, in the order of the task; without roles all of them."""
    task = load_task(config)
    return tokenizer(config).tokens(task.of(*roles) if roles else task.texts, config.context)


def training_set(config: TextConfig, reference: str) -> Tokens:
    """What `original`, `retrain` or `clean` is trained on."""
    return tokens(config, *TRAINED_ON[reference])


def request(config: TextConfig) -> TextRequest:
    """What a method is given."""
    ours = tokenizer(config)
    held = tokens(config, "validation") if len(load_task(config).index("validation")) else None
    parts = (tokens(config, "target"), tokens(config, "similar", "filler"))
    return TextRequest(*parts, ours.size, config.recipe, held, tokenizer=ours)


def model(config: TextConfig, seed: int) -> LanguageModel:
    """The config's model before training, drawn from `seed`. Raises BadValue if tokenizer and model do not fit."""
    return build(config.model, tokenizer(config).size, config.context, seed, config.lora)


def model_params(config: TextConfig) -> dict:
    """What a model depends on beyond its name, recipe, seed and data."""
    found = {"context": config.context, "lora": config.lora}
    if config.model.startswith(HF):
        return found | {"pretrained": fingerprint(config.model)}
    return found | {"tokenizer": tokenizer_artefact(config.dataset, config.vocabulary).key}
