"""Relearn time: the steps until a model knows its targets again. The fewer, the more of them was left."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import resolve_device
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request

AT_MOST = 200


@torch.no_grad()
def forget_loss(model: nn.Module, request: Request) -> float:
    """Mean cross-entropy over the forget set, nats, in eval mode. Both must be on one device."""
    was_training = model.training
    model.eval()
    losses = [request.losses(model, request.forget[rows]) for rows in torch.arange(len(request.forget)).split(1024)]
    model.train(was_training)
    return torch.cat(losses).double().mean().item()


def relearn_steps(
    model: nn.Module,
    request: Request,
    goal: float,
    *,
    seed: int,
    device: str = "auto",
    lr: float = 0.01,
    batch_size: int = 64,
    at_most: int = AT_MOST,
) -> int:
    """Steps of SGD (momentum 0.9) on the forget set until its mean loss is `goal` or less; 0 if it is already.

    goal: the original model's mean loss on the forget set, nats. The loss is taken after each step. A run that does not
    reach the goal, or whose loss is no longer finite, counts as `at_most` steps. The model is left as it is.
    Source: Golatkar et al. 2020, arXiv 1911.04933 (relearn time, in epochs); rate, batches and limit are ours.
    """
    device = resolve_device(device)
    request, steps = request.to(str(device)), 0

    def losses(net: nn.Module) -> Iterator[Tensor]:
        nonlocal steps
        epoch = 0
        while True:
            for batch in request.forget.batches(batch_size, seed, "relearn", epoch):
                loss = forget_loss(net, request)
                if loss <= goal * (1 + 1e-4) or steps == at_most:  # the memory layout changes the last digits
                    return
                if not math.isfinite(loss):
                    steps = at_most
                    return
                yield request.losses(net, batch).mean()
                steps += 1
            epoch += 1

    minimise(model, losses, lr=lr, device=str(device))
    return steps
