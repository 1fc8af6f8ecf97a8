"""Steps on a loss, on a copy of a model: the core of most methods; and what every trained model is checked for."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import NonFiniteLoss


@contextlib.contextmanager
def lone_values(net: nn.Module):
    """Batch norm that is given one value per channel, which has no variance, uses its running statistics.

    torch would raise, for a last batch or a forget set of one sample whose maps have shrunk to a point.
    """

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

    Raises NonFiniteLoss, naming the weight, if one is not a number.
    """
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise NonFiniteLoss(
                f"{name} is not finite. Nothing was stored. Lower the learning rate, or raise the damping."
            )
    return model.cpu().to(memory_format=torch.contiguous_format).eval()


def check_finite(losses: Tensor, where: str) -> None:
    """losses: (steps,) or (steps, models). Checked once an epoch, so that a GPU is not made to wait at each step."""
    bad = ~losses.isfinite().reshape(len(losses), -1).all(1)
    if bad.any():
        raise NonFiniteLoss(
            f"the loss is not finite from step {int(bad.nonzero()[0]) + 1} of {where} on. Nothing was stored. Lower the "
            "learning rate, or the weight of the term that grows."
        )


_watch: ContextVar[Callable[[nn.Module], None] | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watched(callback: Callable[[nn.Module], None]):
    """Within this block callback(net) is called after each step of any `minimise`, whoever calls that; blocks do not add
    up. It must leave the net as it is: its weights, gradients and mode."""
    before = _watch.set(callback)
    try:
        yield
    finally:
        _watch.reset(before)


def minimise(
    model: nn.Module,
    losses: Callable[[nn.Module], Iterator[Tensor | None]],
    *,
    lr: float,
    device: str = "auto",
    optimiser: Literal["", "sgd", "adam"] = "",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    only: Callable[[nn.Module], Sequence[nn.Module]] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """Take one step on each loss that `losses(net)` yields, on a copy of `model`; the core of most methods. At each None the
    optimiser starts anew, without momentum: a new phase.

    optimiser: that of the model, "adam" for language models, else "sgd"; momentum is SGD's. only: the layers of the net that may move, running statistics included; the others are
    in eval mode and cost no gradient. after_step(net) is called after each step.
    Returns the copy on the CPU, in eval mode. Raises NonFiniteLoss with the step at which a loss stops being finite.
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
        steps = torch.optim.SGD(moving, lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    else:
        steps = torch.optim.Adam(moving, lr, weight_decay=weight_decay, fused=True)
    taken, watch = [], _watch.get()
    with lone_values(net):
        for loss in losses(net):
            if loss is None:
                steps.state.clear()
                continue
            steps.zero_grad()
            loss.backward()
            steps.step()
            if after_step:
                after_step(net)
            if watch:
                watch(net)
            taken.append(loss.detach())
    if taken:
        check_finite(torch.stack(taken), f"the {len(taken)} of unlearning")
    return at_rest(net.requires_grad_(True))
