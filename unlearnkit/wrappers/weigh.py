"""Neighbours are forgotten the more, the nearer they are."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.neighbours import NEAR, Found, Near, find, parted


def drawn(found: Found, power: float, seed: int) -> torch.Tensor:
    """The rows of `found` that are drawn, each with probability similarity^power; a similarity below 0 counts as 0."""
    chance = found.similarity.clamp(0, 1) ** power  # 0^0 is 1: without a power all are equal
    return found.index[torch.rand(len(found), generator=generator(seed, "weigh"), dtype=torch.float64) < chance]


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
    """Neighbours weigh similarity^power in the forget set and the rest of 1 in the retain set.

    No base method takes weights. They are realised by a draw, once: with that probability a neighbour joins the forget set
    and leaves the retain set, otherwise it stays as it is; over seeds the weights are right. power 0 is `expand`, and a
    large one forgets exact duplicates alone. Raises BadValue for a power below 0, and if nothing would be left to retain.
    """
    if not 0 <= power < float("inf"):
        raise BadValue(f"weigh: power is 0 or more, got {power}")
    close, rest = parted(request.retain, drawn(find(model, request, near, device=device), power, seed))
    return base(model, replace(request, forget=request.forget.joined(close), retain=rest), seed=seed, device=device)
