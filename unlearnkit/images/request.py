"""What an unlearning method is given when images are to be forgotten."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples, SimilarityTask
from unlearnkit.core.compute import autocast, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.images.heads import outputs


@dataclass(frozen=True)
class Request:
    """All that an unlearning method is given: never the roles, the links, the test set or the decoys.

    forget, retain: Samples; validation: samples of the same kind that were never trained on, perhaps none; recipe: how
    the model was trained (unlearnkit.images.train.Recipe), whose precision methods compute in.
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

    def to(self, device: str) -> "Request":
        device = resolve_device(device)
        held = None if self.validation is None else self.validation.to(device)
        return replace(self, forget=self.forget.to(device), retain=self.retain.to(device), validation=held)

    @property
    def whole_classes(self) -> list[int]:
        """The classes of which nothing stays: all of them, and only them, are asked to be forgotten; else []."""
        gone, kept = (set(s.y.unique().tolist()) for s in (self.forget, self.retain))
        return [] if gone & kept else sorted(gone)

    def logits(self, model: nn.Module, batch: Samples) -> Tensor:
        """(n, classes) float32, in the recipe's precision."""
        return self.run(model, batch.x)

    def run(self, model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """model(x) as float32, computed in the recipe's precision."""
        with autocast(x.device, getattr(self.recipe, "precision", "fp32")):
            return model(x.contiguous(memory_format=torch.channels_last)).float()

    def outputs(self, model: nn.Module, batch: Samples) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) and features (n, width), what the head is fed, in one pass; float32, in the recipe's
        precision, with their gradients. Raises BadValue if the model has no linear head."""
        x = batch.x
        with autocast(x.device, getattr(self.recipe, "precision", "fp32")):
            logits, features = outputs(model, x.contiguous(memory_format=torch.channels_last))
        return logits.float(), features.float()

    @torch.no_grad()
    def features(self, model: nn.Module, samples: Samples) -> Tensor:
        """Features of all samples, (n, width), in eval mode, which the model is then out of again if it was."""
        was_training = model.training
        model.eval()
        parts = [self.outputs(model, samples[i : i + 256])[1] for i in range(0, len(samples), 256)]
        model.train(was_training)
        return torch.cat(parts)

    def losses(self, model: nn.Module, batch: Samples) -> Tensor:
        """Cross-entropy of each sample, (n,), in nats."""
        return F.cross_entropy(self.logits(model, batch), batch.y, reduction="none")

    def log_probs(self, model: nn.Module, batch: Samples) -> Tensor:
        """Log of the predicted distribution of each sample, (n, classes)."""
        return self.logits(model, batch).log_softmax(-1)


def request_of(task: SimilarityTask, recipe=None) -> Request:
    """What a method is given of a task whose models are trained by `recipe`."""
    return Request(task.of("target"), task.of("similar", "filler"), task.n_classes, recipe, task.of("validation"))
