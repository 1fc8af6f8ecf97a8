"""weigh: forget neighbours with a probability that grows with their similarity."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.neighbours import NEAR, Near, Neighbours, find, parted


def drawn(neighbours: Neighbours, power: float, seed: int) -> torch.Tensor:
    """The rows of the neighbours drawn, each with probability similarity^power; a similarity below 0 counts as 0."""
    chance = neighbours.similarity.clamp(0, 1) ** power  # 0^0 is 1: at power 0 all are drawn
    draws = torch.rand(len(neighbours), generator=generator(seed, "weigh"), dtype=torch.float64)
    return neighbours.index[draws < chance]


@wrapper(
    "weigh",
    source="ours; P1 (arXiv 2601.06938) explores solutions that we do not know",
    domains=("image", "text"),
)
def weigh(
    base: Callable[..., nn.Module],
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    near: Near = NEAR,
    power: Annotated[float, "ours: an even chance at a cosine of 0.84"] = 4.0,
) -> nn.Module:
    """Give each neighbour weight w = similarity^power in the forget set and 1 - w in the retain set.

    Base methods take no weights, so each is realised by one draw: with probability w a neighbour moves to the forget
    set, else it stays; over seeds the weights are right on average. power 0 is `expand`; a large power forgets exact
    duplicates alone. A control takes as many random samples as were drawn of those found. Raises BadValue for a power
    below 0, and if nothing would be left to retain.
    """
    if not 0 <= power < float("inf"):
        raise BadValue(f"weigh: power is 0 or more, got {power}")
    found = find(model, request, near, keep=lambda neighbours: drawn(neighbours, power, seed), device=device)
    close, rest = parted(request.retain, found.index)
    return base(model, replace(request, forget=request.forget.joined(close), retain=rest), seed=seed, device=device)
