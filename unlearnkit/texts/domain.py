"""Cells of texts: their task in tokens, their models, and what is seen of these."""

from functools import lru_cache

from data_builders.task import TRAINED_ON
from data_builders.texts.task import TextTask
from unlearnkit.core.store import Artefact
from unlearnkit.texts import tasks
from unlearnkit.texts.config import TextCell
from unlearnkit.texts.models import HF, LanguageModel, build, fingerprint, read
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokenizer import Tokenizer, of_pretrained, own, tokenizer_artefact
from unlearnkit.texts.tokens import Tokens


def task_artefact(cell: TextCell) -> Artefact:
    """The stored task of a cell; see unlearnkit.texts.tasks."""
    return tasks.task_artefact(**cell.task_params())


def load_task(cell: TextCell) -> TextTask:
    """The task of a cell; built at the first call."""
    return tasks.read_task(str(task_artefact(cell).folder))


def tokenizer(cell: TextCell) -> Tokenizer:
    """The one that came with a pretrained model; for others the data set's own."""
    return _of_hub(cell.model) if cell.model.startswith(HF) else own(cell.dataset, cell.vocabulary)


@lru_cache(maxsize=4)
def _of_hub(model: str) -> Tokenizer:
    from transformers import AutoTokenizer

    return of_pretrained(read(AutoTokenizer, model.removeprefix(HF)))


def tokens(cell: TextCell, *roles: str) -> Tokens:
    """The samples in these roles as tokens, in the order of the task; without roles all of them."""
    task = load_task(cell)
    return tokenizer(cell).tokens(task.of(*roles) if roles else task.texts, cell.context)


def training_set(cell: TextCell, reference: str) -> Tokens:
    """What `original`, `retrain` or `clean` is trained on."""
    return tokens(cell, *TRAINED_ON[reference])


def request(cell: TextCell) -> TextRequest:
    """What a method is given."""
    ours = tokenizer(cell)
    held = tokens(cell, "validation") if len(load_task(cell).index("validation")) else None
    parts = (tokens(cell, "target"), tokens(cell, "similar", "filler"))
    return TextRequest(*parts, ours.size, cell.recipe, held, tokenizer=ours)


def model(cell: TextCell, seed: int) -> LanguageModel:
    """The cell's model before training, drawn from `seed`. Raises BadValue if tokenizer and model do not fit."""
    return build(cell.model, tokenizer(cell).size, cell.context, seed, cell.lora)


def model_params(cell: TextCell) -> dict:
    """What a model depends on beyond its name, recipe, seed and data."""
    found = {"context": cell.context, "lora": cell.lora}
    if cell.model.startswith(HF):
        return found | {"pretrained": fingerprint(cell.model)}
    return found | {"tokenizer": tokenizer_artefact(cell.dataset, cell.vocabulary).key}
