"""Images and texts through one study: what differs between them, looked up by the config."""

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
from unlearnkit.images import outputs as image_outputs
from unlearnkit.images import tasks, train
from unlearnkit.images import train_many as stack
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.request import Request, request_of
from unlearnkit.texts import domain as texts
from unlearnkit.texts import models as language_models
from unlearnkit.texts import outputs as text_outputs
from unlearnkit.texts import tasks as text_tasks
from unlearnkit.texts import train as text_train
from unlearnkit.texts.config import TextConfig


@dataclass(frozen=True)
class Domain:
    """How configs of one kind are served.

    task_artefact(config), load_task(config), read_task(folder): the stored task, of which `info` names the digest of each
    reference's training set. training_set(config, reference): what `original`, `retrain` or `clean` is trained on;
    request(config): what methods are given. model(config, seed): the untrained model; shape(config): what beside its code says
    of which layers it is; model_params(config): what it depends on beyond name, recipe, seed and data; model_code(config): the
    functions that make it, the architecture first. fit_many, and training, the functions behind it. take(model, config,
    features, device): {"outputs" or "features": tensors}, with code seen_by(config), whose first is the outputs module;
    outputs(those tensors, task, cost).
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
    outputs: Callable[[Mapping, Any, Mapping], Outputs]


def _image_training_set(config: Config, reference: str) -> Samples:
    return tasks.load_task(config).training_set(reference)


def _image_request(config: Config) -> Request:
    return request_of(tasks.load_task(config), config.recipe)


def _image_shape(config: Config) -> tuple[str, tuple, int]:
    task = tasks.load_task(config)
    return config.model, tuple(task.x.shape[1:]), task.n_classes


def _image_model(config: Config, seed: int) -> nn.Module:
    return image_models.build(*_image_shape(config), seed)


def _take_image(model: nn.Module, config: Config, *, features: bool, device: str) -> dict[str, dict[str, Tensor]]:
    how = {"features": features, "precision": config.recipe.precision, "device": device}
    with threads(1):
        taken = image_outputs.forward_task(model, tasks.load_task(config), **how)
    return {"outputs": {"logits": taken.logits}, "features": {"features": taken.features}}


def _image_outputs(read: Mapping[str, Tensor], task: SimilarityTask, cost: Mapping) -> Outputs:
    ids, known = torch.arange(len(task.y)), image_outputs.task_facts(task)
    return Outputs(read["logits"], task.y, task.role, ids, dict(cost), read.get("features"), extra=known)


def _take_text(model: nn.Module, config: TextConfig, *, features: bool, device: str) -> dict[str, dict[str, Tensor]]:
    return text_outputs.forward_task(
        model, texts.load_task(config), texts.tokenizer(config), config.context, device=device
    )


IMAGE = Domain(
    name="image",
    task_artefact=tasks.task_artefact,
    load_task=tasks.load_task,
    read_task=tasks.read_task,
    training_set=_image_training_set,
    request=_image_request,
    model=_image_model,
    shape=_image_shape,
    model_params=lambda config: {},
    model_code=lambda config: (image_models.models[config.model], image_models.build),
    fit_many=stack.fit_many,
    training=(stack.fit_many, train.fit),
    take=_take_image,
    seen_by=lambda config: (image_outputs, image_models.models[config.model]),
    outputs=_image_outputs,
)
TEXT = Domain(
    name="text",
    task_artefact=texts.task_artefact,
    load_task=texts.load_task,
    read_task=text_tasks.read_task,
    training_set=texts.training_set,
    request=texts.request,
    model=texts.model,
    shape=lambda config: (config.model, texts.tokenizer(config).size, config.context, config.lora),
    model_params=texts.model_params,
    model_code=lambda config: (language_models.language_models[config.model], language_models.build),
    fit_many=text_train.fit_many,
    training=(text_train.fit_many, text_train.fit_lm),
    take=_take_text,
    seen_by=lambda config: (text_outputs, language_models.language_models[config.model]),
    outputs=text_outputs.text_outputs,
)
DOMAINS = {d.name: d for d in (IMAGE, TEXT)}


def domain(config) -> Domain:
    """What serves a config. Raises UnknownName for a config of another domain."""
    if config.domain not in DOMAINS:
        raise unknown("domain", config.domain, DOMAINS)
    return DOMAINS[config.domain]


def load_task(config):
    """The task of a config; built at the first call."""
    return domain(config).load_task(config)


def task_artefact(config) -> Artefact:
    """The stored task of a config. `info` holds its digest, and that of each reference's training set."""
    return domain(config).task_artefact(config)
