"""impute: keep neighbours in the retain set, with the label that other retained samples vote for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.neighbours import NEAR, Near, NeighbourSearch, Vectors, find, nearest, parted


def vote(asked: Vectors, voters: Vectors, labels: Tensor, k: int) -> Tensor:
    """For each row of `asked`, the most common label of its k nearest voters, (len(asked),) int64; of equally common
    labels that of the nearest voter. labels: (len(voters),). Raises BadValue for a k above the number of voters."""
    votes = labels[nearest(asked, voters, k)]  # (asked, k), the nearest first
    counts = (votes[:, :, None] == votes[:, None, :]).sum(2)  # how many voters have each voter's label
    return votes.gather(1, _first(counts == counts.amax(1, keepdim=True))).squeeze(1)


def _first(holds: Tensor) -> Tensor:
    """The column of the first True of each row, (rows, 1)."""
    return torch.arange(holds.shape[1], 0, -1).mul(holds).argmax(1, keepdim=True)


def imputed(
    model: nn.Module, request: Request, near: str, voters: int, votes_by: str, device: str = "auto"
) -> tuple[Tensor, Tensor]:
    """(rows of the retain set that are neighbours, the label voted for each), both (m,); see `impute`."""
    index = find(model, request, near, device=device).index
    close, rest = parted(request.retain, index)
    if not len(close):
        return index, index
    search = NeighbourSearch(votes_by, "top", voters)
    asked, others = (Vectors.of(samples, search, model, request, device) for samples in (close, rest))
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
    """Relabel the retained neighbours of the forget set by a vote of the other retained samples; then run the base.

    The retain set then no longer carries a target's label, unless the other samples vote for it. votes_by: the space in
    which voters are near. A model that has memorised a wrong label has features that agree with it. Raises BadValue for
    more voters than retained samples that are no neighbours.
    """
    index, labels = imputed(model, request, near, voters, votes_by, device)
    y = request.retain.y.clone()
    y[index.to(y.device)] = labels.to(y.device)
    return base(model, replace(request, retain=request.retain.relabelled(y)), seed=seed, device=device)
