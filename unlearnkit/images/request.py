"""The request that an unlearning method is given, for images: forget set, retain set, and how to compute a model's
losses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples, SimilarityTask, unit
from unlearnkit.core.compute import autocast, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.images.heads import logits_and_features
from unlearnkit.images.predict import predict


@dataclass(frozen=True)
class Request:
    """All that an unlearning method is given: never the roles, the links, the test set or the decoys.

    forget, retain: Samples; validation: samples of the same kind that were never trained on, or None; recipe: how the
    model was trained (unlearnkit.images.train.Recipe); methods compute in its precision.
    """

    forget: Samples
    retain: Samples
    n_classes: int
    recipe: Any = None
    validation: Samples | None = None

    def __post_init__(self):
        if not len(self.forget):
            raise BadValue("the forget set is empty: there is nothing to unlearn")
        if not len(self.retain):
            raise BadValue("the retain set is empty: to forget everything, draw a new model")

    @property
    def domain(self) -> str:
        """ "image" or "text"."""
        return self.forget.domain

    def to(self, device: str) -> "Request":
        device = resolve_device(device)
        validation = None if self.validation is None else self.validation.to(device)
        return replace(self, forget=self.forget.to(device), retain=self.retain.to(device), validation=validation)

    @property
    def whole_classes(self) -> list[int]:
        """The classes to be forgotten, if the forget set holds all of their samples and no others; else []."""
        forget, retain = (set(samples.y.unique().tolist()) for samples in (self.forget, self.retain))
        return [] if forget & retain else sorted(forget)

    def run(self, model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """model(x) as float32, computed in the recipe's precision."""
        with autocast(x.device, getattr(self.recipe, "precision", "fp32")):
            return model(x.contiguous(memory_format=torch.channels_last)).float()

    def logits(self, model: nn.Module, batch: Samples) -> Tensor:
        """(n, classes) float32, computed in the recipe's precision."""
        return self.run(model, batch.x)

    def logits_and_features(self, model: nn.Module, batch: Samples) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) and features (n, width), the input of the head, from one pass; float32, computed in the
        recipe's precision, with gradients. Raises BadValue if the model has no linear head."""
        x = batch.x
        with autocast(x.device, getattr(self.recipe, "precision", "fp32")):
            logits, features = logits_and_features(model, x.contiguous(memory_format=torch.channels_last))
        return logits.float(), features.float()

    @torch.no_grad()
    def features(self, model: nn.Module, samples: Samples, batch_size: int = 256) -> Tensor:
        """Features of all samples, (n, width), taken in eval mode; the model's mode is restored."""
        was_training = model.training
        model.eval()
        batches = (samples[i : i + batch_size] for i in range(0, len(samples), batch_size))
        features = torch.cat([self.logits_and_features(model, batch)[1] for batch in batches])
        model.train(was_training)
        return features

    def losses(self, model: nn.Module, batch: Samples) -> Tensor:
        """Cross-entropy of each sample, (n,), in nats."""
        return F.cross_entropy(self.logits(model, batch), batch.y, reduction="none")

    def log_probs(self, model: nn.Module, batch: Samples) -> Tensor:
        """Log-probabilities of the classes for each sample, (n, classes)."""
        return self.logits(model, batch).log_softmax(-1)

    def vectors(self, model: nn.Module, samples: Samples, space: str, device: str = "auto") -> Tensor:
        """Samples as vectors, (n, width) on the CPU, in a space of unlearnkit.wrappers.neighbours: "feature", the input
        of the model's head, or "pixel". Raises BadValue for a space that images do not have."""
        if space == "feature":
            precision = getattr(self.recipe, "precision", "fp32")
            return predict(model, samples.stored, device=device, precision=precision)[1]
        if space != "pixel":
            raise BadValue(f"neighbours: images have no letters: use 'feature' or 'pixel', not {space!r}")
        return unit(samples.stored).flatten(1).cpu()


def request_of(task: SimilarityTask, recipe=None) -> Request:
    """The request to forget the targets of a task, whose models are trained by `recipe`."""
    return Request(task.of("target"), task.of("similar", "filler"), task.n_classes, recipe, task.of("validation"))
