"""Steps on a loss: the epochs that train reference models, the steps that methods take on a copy of a model, and the
checks that every trained model passes."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence, Sized
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue, NonFiniteLoss


@contextlib.contextmanager
def lone_values(net: nn.Module):
    """Within this block batch norm uses its running statistics where it is given one value per channel, which has no
    variance: torch would raise for a last batch or a forget set of one sample whose maps have shrunk to a point."""

    def pause(layer, inputs):
        if layer.training and inputs[0].numel() == inputs[0].shape[1]:
            layer.eval()
            paused.add(layer)

    def resume(layer, inputs, output):
        if layer in paused:
            paused.remove(layer)
            layer.train()

    paused: set[nn.Module] = set()
    with contextlib.ExitStack() as hooks:
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                hooks.callback(layer.register_forward_pre_hook(pause).remove)
                hooks.callback(layer.register_forward_hook(resume).remove)
        yield


def at_rest(model: nn.Module) -> nn.Module:
    """The model on the CPU, in eval mode, in the plain memory layout that it is stored in.

    Raises NonFiniteLoss, naming the weight, if one is not finite.
    """
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise NonFiniteLoss(
                f"{name} is not finite. Nothing was stored. Lower the learning rate, or raise the damping."
            )
    return model.cpu().to(memory_format=torch.contiguous_format).eval()


def check_finite(losses: Tensor, where: str) -> None:
    """Raises NonFiniteLoss, with the first step, if a loss is not finite. losses: (steps,) or (steps, models). Called
    once an epoch, so that a GPU is not made to wait at each step."""
    bad = ~losses.isfinite().reshape(len(losses), -1).all(1)
    if bad.any():
        raise NonFiniteLoss(
            f"the loss is not finite from step {int(bad.nonzero()[0]) + 1} of {where} on. Nothing was stored. Lower "
            "the learning rate, or the weight of the term that grows."
        )


def check_not_empty(samples: Sized) -> None:
    """Raises BadValue for a training set without samples."""
    if not len(samples):
        raise BadValue("there is nothing to train on: the training set is empty")


def train_epochs(
    losses: Callable[[int], Iterator[Tensor]],
    epochs: int,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    clip: float = math.inf,
) -> None:
    """Take a step of the optimiser and its schedule on each loss that `losses(epoch)` yields, a scalar or one per model
    of a stack.

    clip: the norm that a step's gradient is cut to. Raises NonFiniteLoss with the epoch and step at which a loss stops
    being finite.
    """
    moving = [p for group in optimiser.param_groups for p in group["params"]]
    for epoch in range(epochs):
        steps = []
        for loss in losses(epoch):
            optimiser.zero_grad()
            loss.sum().backward()
            if clip < math.inf:
                nn.utils.clip_grad_norm_(moving, clip)
            optimiser.step()
            schedule.step()
            steps.append(loss.detach())
        check_finite(torch.stack(steps), f"epoch {epoch + 1} of {epochs}")


_watch: ContextVar[Callable[[nn.Module], None] | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watched(callback: Callable[[nn.Module], None]):
    """Within this block callback(net) is called after each step of any `minimise`; an inner block replaces it.

    It must leave the net as it is: its weights, gradients and mode.
    """
    before = _watch.set(callback)
    try:
        yield
    finally:
        _watch.reset(before)


def minimise(
    model: nn.Module,
    losses: Callable[[nn.Module], Iterator[Tensor | float | None]],
    *,
    lr: float,
    device: str = "auto",
    optimiser: Literal["", "sgd", "adam"] = "",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    only: Callable[[nn.Module], Sequence[nn.Module]] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """Take one step on each loss that `losses(net)` yields, on a copy of `model`; the core of most methods. At each
    None the optimiser starts anew, without momentum: a new phase. At each float the learning rate becomes that share of
    `lr`.

    optimiser: by default the model's own, "adam" for language models, else "sgd"; momentum: SGD's. only: the layers of
    the net that may move, running statistics included; the others are in eval mode and cost no gradient.
    after_step(net) is called after each step. Returns the copy on the CPU, in eval mode. Raises NonFiniteLoss with the
    step at which a loss stops being finite.
    """
    net = copy.deepcopy(model).to(resolve_device(device), memory_format=torch.channels_last)
    if only is None:
        net.train()
    else:
        net.eval().requires_grad_(False)
        for layer in only(net):
            layer.train().requires_grad_(True)
    moving = [p for p in net.parameters() if p.requires_grad]
    if (optimiser or getattr(model, "optimiser", "sgd")) == "sgd":
        stepper = torch.optim.SGD(moving, lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    else:
        stepper = torch.optim.Adam(moving, lr, weight_decay=weight_decay, fused=True)
    steps, watch = [], _watch.get()
    with lone_values(net):
        for loss in losses(net):
            if loss is None:
                stepper.state.clear()
                continue
            if isinstance(loss, float):
                for group in stepper.param_groups:
                    group["lr"] = lr * loss
                continue
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            if after_step:
                after_step(net)
            if watch:
                watch(net)
            steps.append(loss.detach())
    if steps:
        check_finite(torch.stack(steps), f"the {len(steps)} of unlearning")
    return at_rest(net.requires_grad_(True))
