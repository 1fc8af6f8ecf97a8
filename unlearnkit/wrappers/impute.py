"""Neighbours stay, with the label that all others give them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.neighbours import NEAR, Near, Placed, Way, find, nearest, parted


def vote(asked: Placed, voters: Placed, labels: Tensor, k: int) -> Tensor:
    """The commonest of the labels of the k voters nearest to each that is asked about, (len(asked),) int64; of equally
    common ones that of the nearest voter. labels: (len(voters),). Raises BadValue for more voters than there are."""
    given = labels[nearest(asked, voters, k)]  # (asked, k), the nearest first
    counts = (given[:, :, None] == given[:, None, :]).sum(2)  # of each voter's label
    return given.gather(1, _first(counts == counts.amax(1, keepdim=True))).squeeze(1)


def _first(holds: Tensor) -> Tensor:
    """The place of the first True of each row, (rows, 1)."""
    return torch.arange(holds.shape[1], 0, -1).mul(holds).argmax(1, keepdim=True)


def imputed(
    model: nn.Module, request: Request, near: str, voters: int, votes_by: str, device: str = "auto"
) -> tuple[Tensor, Tensor]:
    """(rows of the retain set that are neighbours, the label that the vote gives each), both (m,); see `impute`."""
    index = find(model, request, near, device=device).index
    close, rest = parted(request.retain, index)
    if not len(close):
        return index, index
    way = Way(votes_by, "top", voters)
    asked, others = (Placed.of(samples, way, model, request, device) for samples in (close, rest))
    return index, vote(asked, others, rest.y.cpu(), voters)


@wrapper("impute", source="ours")
def impute(
    base: Callable[..., nn.Module],
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    near: Near = NEAR,
    voters: Annotated[int, "ours"] = 10,
    votes_by: Annotated[Literal["feature", "pixel"], "ours"] = "feature",
) -> nn.Module:
    """The neighbours of the forget set stay in the retain set, relabelled by a vote of what is retained and no neighbour.

    Then the base runs: what it retains no longer says a target's label, unless all others say it, too. votes_by: the
    space in which voters are near. A model that has learnt a wrong label by heart has features that go with it.
    Raises BadValue for more voters than samples that are no neighbours.
    """
    index, labels = imputed(model, request, near, voters, votes_by, device)
    y = request.retain.y.clone()
    y[index.to(y.device)] = labels.to(y.device)
    return base(model, replace(request, retain=request.retain.relabelled(y)), seed=seed, device=device)
