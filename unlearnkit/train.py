"""Train one model, plainly. Many at once: unlearnkit.stack. Both follow the same recipe and the same batch order."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.compute import resolve_device
from unlearnkit.errors import BadValue, NonFiniteLoss
from unlearnkit.task import Samples


@dataclass(frozen=True)
class Recipe:
    """How a reference model is trained: SGD with Nesterov momentum, one cosine cycle of the learning rate.

    The defaults make the digits CNN fit all of its training data, mislabelled canaries included: a model that has
    not memorised a sample has nothing to forget.
    """

    epochs: int = 24
    batch_size: int = 64
    lr: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.2  # share of the steps over which the rate rises to lr

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr"):
            if getattr(self, name) <= 0:
                raise BadValue(f"recipe: {name} must be above 0, got {getattr(self, name)}")

    def as_dict(self) -> dict:
        return asdict(self)

    def steps(self, n_samples: int) -> int:
        return self.epochs * ceil(n_samples / self.batch_size)

    def optimiser(self, parameters, n_samples: int):
        """The optimiser and its schedule, which ends with the last step."""
        sgd = torch.optim.SGD(
            parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=True, fused=True
        )
        steps = self.steps(n_samples)
        return sgd, torch.optim.lr_scheduler.OneCycleLR(
            sgd, self.lr, total_steps=steps, pct_start=self.warmup, cycle_momentum=False
        )


def fit(model: nn.Module, samples: Samples, recipe: Recipe, *, seed: int, device: str = "auto") -> nn.Module:
    """Train a copy of `model` on `samples`; returns it on the CPU, in eval mode.

    Raises BadValue without samples, NonFiniteLoss (with epoch and step) when the loss stops being finite.
    """
    if not len(samples):
        raise BadValue("there is nothing to train on: the training set is empty")
    device = resolve_device(device)
    model = copy.deepcopy(model).to(device, memory_format=torch.channels_last).train()
    samples = samples.to(device)
    sgd, schedule = recipe.optimiser(model.parameters(), len(samples))
    for epoch in range(recipe.epochs):
        losses = []
        for batch in samples.batches(recipe.batch_size, seed, epoch):
            loss = F.cross_entropy(model(batch.x), batch.y)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            schedule.step()
            losses.append(loss.detach())
        check_finite(torch.stack(losses), f"epoch {epoch + 1} of {recipe.epochs}")
    return at_rest(model)


def at_rest(model: nn.Module) -> nn.Module:
    """The model on the CPU, in eval mode, in the plain memory layout that it is stored in."""
    return model.cpu().to(memory_format=torch.contiguous_format).eval()


def check_finite(losses: Tensor, where: str) -> None:
    """losses: (steps,) or (steps, models). Checked once an epoch, so that a GPU is not made to wait at each step."""
    bad = ~losses.isfinite().reshape(len(losses), -1).all(1)
    if bad.any():
        raise NonFiniteLoss(
            f"the loss is not finite from step {int(bad.nonzero()[0]) + 1} of {where} on. Nothing was stored. Lower the "
            "learning rate, or the weight of the term that grows."
        )


def minimise(
    model: nn.Module,
    losses: Callable[[nn.Module], Iterator[Tensor]],
    *,
    lr: float,
    device: str = "auto",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> nn.Module:
    """Take one SGD step on each loss that `losses(net)` yields, on a copy of `model`; the core of most methods.

    Returns the copy on the CPU, in eval mode. Raises NonFiniteLoss with the step at which a loss stops being finite.
    """
    net = copy.deepcopy(model).to(resolve_device(device), memory_format=torch.channels_last).train()
    sgd = torch.optim.SGD(net.parameters(), lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    taken = []
    for loss in losses(net):
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        taken.append(loss.detach())
    if taken:
        check_finite(torch.stack(taken), f"the {len(taken)} of unlearning")
    return at_rest(net)
