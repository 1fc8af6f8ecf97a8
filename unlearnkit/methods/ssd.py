"""SSD: dampen weights that are much more important to the forget set than to all training data."""

import copy
from typing import Annotated, Literal

import torch
from torch import nn

from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import at_rest
from unlearnkit.images.per_sample_gradients import squared, squared_of_batches
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method

SOURCE = "Foster et al. 2024"


@method("ssd", source="Foster et al. 2024, arXiv 2308.07707, Eq. 4 and 5", domains=DOMAINS)
@torch.no_grad()
def ssd(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    alpha: Annotated[float, Search(0.5, 100, log=True), SOURCE] = 10.0,
    dampening: Annotated[float, Search(0.1, 5, log=True), SOURCE] = 1.0,
    square: Annotated[Literal["sample", "batch"], "sample: the paper's Eq. 5; batch: its official code"] = "sample",
    batch_size: Annotated[int, f"for square='batch'; {BATCH}"] = 64,
    chunk: Annotated[int, "0: by the model's size; the result does not depend on it"] = 0,
) -> nn.Module:
    """Scale a weight by min(lambda I_D / I_F, 1) where I_F > alpha I_D; I is the mean squared gradient of single
    samples.

    D is F and R together; dampening is the paper's lambda. square="batch": I is the mean over shuffled batches of the
    squared gradient of a batch's mean loss, as in published scripts; it depends on the batch size, and the same alpha
    picks other weights. Nothing else is random: with square="sample" the seed has no effect.
    Raises BadValue for an alpha or a dampening that is not above 0.
    """
    if alpha <= 0 or dampening <= 0:
        raise BadValue(f"ssd: alpha and dampening must be above 0, got {alpha} and {dampening}")
    request = request.to(device)
    net = copy.deepcopy(model).to(request.forget.y.device).eval()
    if square == "batch":
        parts = (request.forget, request.forget.joined(request.retain))
        forget, everything = (squared_of_batches(net, part, batch_size, seed, request.losses) for part in parts)
    else:
        forget, retain = squared(net, request.forget, chunk), squared(net, request.retain, chunk)
        n, m = len(request.forget), len(request.retain)
        everything = {name: (n * forget[name] + m * retain[name]) / (n + m) for name in forget}
    for name, p in net.named_parameters():
        factor = (dampening * everything[name] / forget[name]).clamp(max=1)
        p.copy_(torch.where(forget[name] > alpha * everything[name], p * factor, p))
    return at_rest(net)
