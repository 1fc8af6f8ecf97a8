"""What the study needs of image configs: tasks, models, requests, outputs.

`unlearnkit.texts.domain` has the same names; `unlearnkit.study.domains.domain(config)` returns the module of a config.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from data_builders.task import Samples, SimilarityTask, validation_as_test
from unlearnkit.core.compute import threads
from unlearnkit.images import models as image_models
from unlearnkit.images import outputs as image_outputs
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.request import Request, request_of
from unlearnkit.images.tasks import half_data, load_task, read_task, task_artefact
from unlearnkit.images.train import fit
from unlearnkit.images.train_many import fit_many

__all__ = [
    "fit_many",
    "half_data",
    "load_task",
    "read_task",
    "task_artefact",
]  # from elsewhere, the same name in both wings

NAME, CONFIG = "image", Config
TRAINING = (fit_many, fit)  # the functions behind `fit_many`, whose code a trained model depends on
TARGET_NEEDS: tuple[
    str, ...
] = ()  # what scores of single targets need beyond one pass (unlearnkit.images.outputs.NEEDS)
GUESSED = ("random",)  # kinds of target that a model may label right without having been trained on them


def training_set(config: Config, reference: str) -> Samples:
    """The samples that `original`, `retrain` or `clean` is trained on."""
    return load_task(config).training_set(reference)


def request(config: Config) -> Request:
    """The unlearning request that methods get."""
    return request_of(load_task(config), config.recipe)


def shape(config: Config) -> tuple[str, tuple, int]:
    """What determines, beside its code, the layers of the config's model: name, image shape, number of classes."""
    task = load_task(config)
    return config.model, tuple(task.x.shape[1:]), task.n_classes


def model(config: Config, seed: int) -> nn.Module:
    """The config's untrained model, drawn from `seed`."""
    return image_models.build(*shape(config), seed)


def model_params(config: Config) -> dict:
    """The values that a model depends on beyond its name, recipe, seed and data."""
    return {}


def model_code(config: Config) -> tuple:
    """The functions that make the model, the architecture first."""
    return image_models.models[config.model], image_models.build


def outputs_code(config: Config) -> tuple:
    """The code that outputs depend on, the module of outputs first."""
    return image_outputs, image_models.models[config.model]


def forward(model: nn.Module, config: Config, *, features: bool, device: str) -> dict[str, dict[str, Tensor]]:
    """{"outputs": tensors, "features": tensors}: every sample of the task forwarded once."""
    options = {"features": features, "precision": config.recipe.precision, "device": device}
    with threads(1):
        forwarded = image_outputs.forward_task(model, load_task(config), **options)
    return {"outputs": {"logits": forwarded.logits}, "features": {"features": forwarded.features}}


def outputs(tensors: Mapping[str, Tensor], task: SimilarityTask, cost: Mapping) -> Outputs:
    """Outputs from what `forward` returns."""
    return image_outputs.image_outputs(tensors["logits"], task, cost, tensors.get("features"))


def without_test(task: SimilarityTask) -> SimilarityTask:
    """The task with its validation samples in the role of test samples, and without decoys and test samples.

    Where whole classes are forgotten, the new test set has the classes that stay, like the real one. Raises BadValue if
    there are no validation samples.
    """
    stays = task.of("similar", "filler").y.unique()
    kept, role = validation_as_test(task.role, torch.isin(task.y, stays))
    return task.part(kept.nonzero().squeeze(1), role)


def validation_outputs(model: nn.Module, config: Config, task: SimilarityTask, device: str) -> Outputs:
    """Outputs of a model on a task `without_test`."""
    return image_outputs.forward_task(model, task, device=device)
