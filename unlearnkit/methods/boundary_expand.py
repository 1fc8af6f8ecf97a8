"""Boundary expand: train the forget set on a shadow class, which is then removed."""

from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.compute import generator
from unlearnkit.core.optimise import minimise
from unlearnkit.images.heads import head, with_head
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, Search, method

SOURCE = "Chen et al. 2023, official code"


@method("boundary_expand", source="Chen et al. 2023, arXiv 2303.11570, section 3.3")
def boundary_expand(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 10,
    lr: Annotated[float, Search(1e-5, 0.1, log=True), SOURCE] = 1e-5,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Add a shadow class to the head, train F on it, and remove the shadow class from the head again.

    Raises BadValue for a model without a linear head.
    """
    request = request.to(device)
    forget = request.forget.relabelled(torch.full_like(request.forget.y, request.n_classes))

    def losses(net):
        for epoch in range(epochs):
            for batch in forget.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    expanded = minimise(_wider(model, seed), losses, lr=lr, device=device)
    return with_head(expanded, _linear(head(expanded), slice(request.n_classes)))


def _wider(model: nn.Module, seed: int) -> nn.Module:
    """The model with one more class, whose weights are initialised as a new linear layer's."""
    old = head(model)
    bound = old.in_features**-0.5
    row = torch.empty(1, old.in_features + 1).uniform_(-bound, bound, generator=generator(seed, "shadow"))
    new = _linear(old, slice(old.out_features))
    new.weight = nn.Parameter(torch.cat([new.weight, row[:, 1:].to(new.weight)]))
    if new.bias is not None:
        new.bias = nn.Parameter(torch.cat([new.bias, row[:, 0].to(new.bias)]))
    new.out_features += 1
    return with_head(model, new)


def _linear(old: nn.Linear, rows: slice) -> nn.Linear:
    """A copy of some rows of a linear layer."""
    weight = old.weight.detach()[rows].clone()
    new = nn.Linear(old.in_features, len(weight), bias=old.bias is not None, device="meta")
    new.weight = nn.Parameter(weight)
    if old.bias is not None:
        new.bias = nn.Parameter(old.bias.detach()[rows].clone())
    return new
