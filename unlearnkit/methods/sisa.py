"""SISA: train in shards and slices, so that a deletion requires little retraining."""

from dataclasses import replace
from typing import Annotated

import torch
from torch import nn

from data_builders.task import Samples
from unlearnkit.core.compute import derive, generator, uncounted
from unlearnkit.core.errors import BadValue
from unlearnkit.images.heads import Ensemble
from unlearnkit.images.models import fresh
from unlearnkit.images.request import Request
from unlearnkit.images.train import Recipe, fit
from unlearnkit.methods import method

SOURCE = "Bourtoule et al. 2021"


@method("sisa", source="Bourtoule et al. 2021, arXiv 1912.03817; mean vote", starts_anew=True)
def sisa(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    shards: Annotated[int, SOURCE] = 5,
    slices: Annotated[int, SOURCE] = 5,
) -> nn.Module:
    """An Ensemble of one model per shard, each trained on its first slice, then its first two, and so on; a deletion
    restarts a shard's training before the first slice that holds a deleted sample, without the deleted samples.

    The ensemble before the deletion is trained here on F and R, and that cost is not counted; of the given model only
    the architecture is used, with the request's recipe. A budget of 2 E / (slices + 1) epochs per slice lets each
    sample be seen E times on average. Raises BadValue if a shard's slices would be empty.
    """
    data, n = request.forget.joined(request.retain), len(request.forget)
    if min(shards, slices) < 1 or shards * slices > len(request.retain):
        raise BadValue(
            f"sisa: {shards} shards of {slices} slices need at least {shards * slices} samples that stay, and one of "
            f"each; there are {len(request.retain)}"
        )
    recipe = replace(request.recipe, epochs=max(round(2 * request.recipe.epochs / (slices + 1)), 1))  # type: ignore[attr-defined]
    order = torch.randperm(len(data), generator=generator(seed, "shards"))
    members = []
    for number, shard in enumerate(order.chunk(shards)):
        slices_ = list(shard.chunk(slices))
        affected = [bool((part < n).any()) for part in slices_]
        first = affected.index(True) if any(affected) else len(slices_)  # the first slice to retrain
        seed_ = derive(seed, "shard", number)
        with uncounted():
            net = _train(fresh(model, seed_), data, slices_, range(first), recipe, seed_, device)
        kept = [part[part >= n] for part in slices_]
        members.append(_train(net, data, kept, range(first, len(slices_)), recipe, seed_, device))
    return Ensemble(members).eval()


def _train(
    net: nn.Module, data: Samples, slices: list, stages: range, recipe: Recipe, seed: int, device: str
) -> nn.Module:
    for stage in stages:
        part = data[torch.cat(slices[: stage + 1])]
        net = fit(net, part, recipe, seed=derive(seed, "slice", stage), device=device) if len(part) else net
    return net
