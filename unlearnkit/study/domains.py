"""Images and texts through one study: what differs between them, looked up by the cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from data_builders.task import Samples, SimilarityTask
from unlearnkit.core.compute import threads
from unlearnkit.core.errors import unknown
from unlearnkit.core.store import Artefact
from unlearnkit.images import models as image_models
from unlearnkit.images import outputs as image_evidence
from unlearnkit.images import tasks, train
from unlearnkit.images import train_many as stack
from unlearnkit.images.config import Cell
from unlearnkit.images.outputs import Evidence
from unlearnkit.images.request import Request, request_of
from unlearnkit.texts import domain as texts
from unlearnkit.texts import models as language_models
from unlearnkit.texts import outputs as text_evidence
from unlearnkit.texts import tasks as text_tasks
from unlearnkit.texts import train as text_train
from unlearnkit.texts.config import TextCell


@dataclass(frozen=True)
class Domain:
    """How cells of one kind are served.

    task_artefact(cell), load_task(cell), read_task(folder): the stored task, of which `info` names the digest of each
    reference's training set. training_set(cell, reference): what `original`, `retrain` or `clean` is trained on;
    request(cell): what methods are given. model(cell, seed): the untrained model; shape(cell): what beside its code says
    of which layers it is; model_params(cell): what it depends on beyond name, recipe, seed and data; model_code(cell): the
    functions that make it, the architecture first. fit_many, and training, the functions behind it. take(model, cell,
    features, device): {"evidence" or "features": tensors}, with code seen_by(cell), whose first is the evidence module;
    evidence(those tensors, task, cost).
    """

    name: str
    task_artefact: Callable[[Any], Artefact]
    load_task: Callable[[Any], Any]
    read_task: Callable[[str], Any]
    training_set: Callable[[Any, str], Any]
    request: Callable[[Any], Request]
    model: Callable[[Any, int], nn.Module]
    shape: Callable[[Any], tuple]
    model_params: Callable[[Any], dict]
    model_code: Callable[[Any], tuple]
    fit_many: Callable
    training: tuple
    take: Callable[..., dict[str, dict[str, Tensor]]]
    seen_by: Callable[[Any], tuple]
    evidence: Callable[[Mapping, Any, Mapping], Evidence]


def _image_training_set(cell: Cell, reference: str) -> Samples:
    return tasks.load_task(cell).training_set(reference)


def _image_request(cell: Cell) -> Request:
    return request_of(tasks.load_task(cell), cell.recipe)


def _image_shape(cell: Cell) -> tuple[str, tuple, int]:
    task = tasks.load_task(cell)
    return cell.model, tuple(task.x.shape[1:]), task.n_classes


def _image_model(cell: Cell, seed: int) -> nn.Module:
    return image_models.build(*_image_shape(cell), seed)


def _take_image(model: nn.Module, cell: Cell, *, features: bool, device: str) -> dict[str, dict[str, Tensor]]:
    how = {"features": features, "precision": cell.recipe.precision, "device": device}
    with threads(1):
        taken = image_evidence.take(model, tasks.load_task(cell), **how)
    return {"evidence": {"logits": taken.logits}, "features": {"features": taken.features}}


def _image_evidence(read: Mapping[str, Tensor], task: SimilarityTask, cost: Mapping) -> Evidence:
    ids, known = torch.arange(len(task.y)), image_evidence.known_of(task)
    return Evidence(read["logits"], task.y, task.role, ids, dict(cost), read.get("features"), extra=known)


def _take_text(model: nn.Module, cell: TextCell, *, features: bool, device: str) -> dict[str, dict[str, Tensor]]:
    return text_evidence.take(model, texts.load_task(cell), texts.tokenizer(cell), cell.context, device=device)


IMAGE = Domain(
    name="image",
    task_artefact=tasks.task_artefact,
    load_task=tasks.load_task,
    read_task=tasks.read_task,
    training_set=_image_training_set,
    request=_image_request,
    model=_image_model,
    shape=_image_shape,
    model_params=lambda cell: {},
    model_code=lambda cell: (image_models.models[cell.model], image_models.build),
    fit_many=stack.fit_many,
    training=(stack.fit_many, train.fit),
    take=_take_image,
    seen_by=lambda cell: (image_evidence, image_models.models[cell.model]),
    evidence=_image_evidence,
)
TEXT = Domain(
    name="text",
    task_artefact=texts.task_artefact,
    load_task=texts.load_task,
    read_task=text_tasks.read_task,
    training_set=texts.training_set,
    request=texts.request,
    model=texts.model,
    shape=lambda cell: (cell.model, texts.tokenizer(cell).size, cell.context, cell.lora),
    model_params=texts.model_params,
    model_code=lambda cell: (language_models.language_models[cell.model], language_models.build),
    fit_many=text_train.fit_many,
    training=(text_train.fit_many, text_train.fit_lm),
    take=_take_text,
    seen_by=lambda cell: (text_evidence, language_models.language_models[cell.model]),
    evidence=text_evidence.evidence_of,
)
DOMAINS = {d.name: d for d in (IMAGE, TEXT)}


def domain(cell) -> Domain:
    """What serves a cell. Raises UnknownName for a cell of another domain."""
    if cell.domain not in DOMAINS:
        raise unknown("domain", cell.domain, DOMAINS)
    return DOMAINS[cell.domain]


def load_task(cell):
    """The task of a cell; built at the first call."""
    return domain(cell).load_task(cell)


def task_artefact(cell) -> Artefact:
    """The stored task of a cell. `info` holds its digest, and that of each reference's training set."""
    return domain(cell).task_artefact(cell)
