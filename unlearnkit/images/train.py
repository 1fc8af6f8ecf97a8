"""Train one classifier. Many at once: unlearnkit.images.train_many, by the same recipe and in the same batch order."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil
from typing import Literal, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core import precision
from unlearnkit.core.compute import autocast, generator, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import at_rest, check_not_empty, lone_values, train_epochs
from unlearnkit.core.registry import check_least, check_type


@dataclass(frozen=True)
class Recipe:
    """How a reference model is trained: SGD with Nesterov momentum, one cosine cycle of the learning rate.

    The defaults make the digits CNN fit all of its training data, mislabelled canaries included: a sample that was not
    memorised cannot be forgotten.
    """

    epochs: int = 24
    batch_size: int = 64
    lr: float = 0.07
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.2  # share of the steps over which the rate rises to lr
    smoothing: float = 0.0  # of labels
    augment: Literal["none", "flip_shift"] = "none"  # flip_shift: mirrored or not, and moved by up to 2 pixels
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # bf16: autocast; auto becomes what is native here
    by_auto = False  # whether `precision` was auto

    def __post_init__(self):
        for name, hint in get_type_hints(Recipe).items():
            check_type(f"recipe: {name!r}", getattr(self, name), hint)
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise BadValue(f"recipe: {name} must be above 0, got {getattr(self, name)}")
        for name in ("momentum", "weight_decay", "warmup", "smoothing"):
            check_least(f"recipe: {name}", getattr(self, name))
        object.__setattr__(self, "by_auto", self.precision == "auto")
        object.__setattr__(self, "precision", precision.resolved(self.precision))

    def as_dict(self) -> dict:
        return asdict(self)

    def steps(self, n_samples: int) -> int:
        """Optimiser steps on a training set of n samples."""
        return self.epochs * ceil(n_samples / self.batch_size)

    def fit(self, model: nn.Module, samples: Samples, *, seed: int, device: str = "auto") -> nn.Module:
        """`fit` by this recipe. Methods call it, since their recipe may be a TextRecipe."""
        return fit(model, samples, self, seed=seed, device=device)

    def optimiser(self, parameters, n_samples: int):
        """(the optimiser, its schedule), which ends with the last step; below 8 steps the rate is constant."""
        sgd = torch.optim.SGD(
            parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=True, fused=True
        )
        steps = self.steps(n_samples)
        if steps < 8:  # no cycle fits, and torch's divides by zero where its rise is one step long
            return sgd, torch.optim.lr_scheduler.ConstantLR(sgd, factor=1.0)
        return sgd, torch.optim.lr_scheduler.OneCycleLR(
            sgd, self.lr, total_steps=steps, pct_start=self.warmup, cycle_momentum=False
        )


def fit(model: nn.Module, samples: Samples, recipe: Recipe, *, seed: int, device: str = "auto") -> nn.Module:
    """Train a copy of `model` on `samples`; returns it on the CPU, in eval mode.

    Raises BadValue without samples, NonFiniteLoss (with epoch and step) when the loss stops being finite.
    """
    check_not_empty(samples)
    device = resolve_device(device)
    precision.say_if_slow(recipe.precision, str(device))
    net = copy.deepcopy(model).to(device, memory_format=torch.channels_last).train()
    samples = samples.to(device)

    def losses(epoch: int) -> Iterator[Tensor]:
        for number, batch in enumerate(samples.batches(recipe.batch_size, seed, epoch)):
            with autocast(device, recipe.precision):
                x = flip_shift(batch.x, seed, epoch, number) if recipe.augment == "flip_shift" else batch.x
                logits = net(x.contiguous(memory_format=torch.channels_last))
                loss = F.cross_entropy(logits, batch.y, label_smoothing=recipe.smoothing)
            yield loss

    with lone_values(net):
        train_epochs(losses, recipe.epochs, *recipe.optimiser(net.parameters(), len(samples)))
    return at_rest(net)


def flip_shift(x: Tensor, seed: int, *labels: object) -> Tensor:
    """Half of the images mirrored, all moved by up to 2 pixels both ways, borders mirrored in. x: (n, c, h, w)."""
    g = generator(seed, "augment", *labels)
    n, channels, height, width = x.shape
    mirrored = torch.rand(n, 1, generator=g).to(x.device) < 0.5
    down, right = torch.randint(0, 5, (2, n), generator=g).to(x.device)
    rows, columns = _moved(down, height), _moved(right, width)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, -1).expand(-1, channels, -1)
    return x.flatten(2).gather(2, pixels).view_as(x)


def _moved(shift: Tensor, size: int) -> Tensor:
    """Which of `size` pixels stands at each place after padding by two, mirrored, and cutting at `shift`: (n, size)."""
    pixel = (shift[:, None] + torch.arange(-2, size - 2, device=shift.device)).abs()
    return torch.where(pixel < size, pixel, 2 * (size - 1) - pixel)
