"""Influence unlearning: one Newton step towards the weights that training without the forget set would reach."""

import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import at_rest
from unlearnkit.images.per_sample_gradients import per_sample
from unlearnkit.images.request import Request
from unlearnkit.methods import DOMAINS, Search, method

FLOATS = 2**28  # floats in the gradients behind the Fisher matrix, at most: 1 GiB


def inverse_fisher_product(gradients: Tensor, vector: Tensor, damping: float) -> Tensor:
    """(damping I + G^T G / n)^-1 vector by Woodbury's identity. gradients: G, (n, p); vector: (p,); returns (p,).

    WoodFisher (Singh and Alistarh 2020, arXiv 2004.14340, Eq. 6) reaches the same by n updates of rank one.
    """
    small = gradients @ gradients.T
    small.diagonal().add_(damping * len(gradients))
    return (vector - gradients.T @ torch.linalg.solve(small, gradients @ vector)) / damping


@method("influence", source="Izzo et al. 2021; by WoodFisher as in Jia et al. 2023, arXiv 2304.04934", domains=DOMAINS)
@torch.no_grad()
def influence(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    alpha: Annotated[
        float, Search(0.1, 1e4, log=True), "tuned per dataset by Jia et al. 2023; 1 is the full step"
    ] = 1.0,
    damping: Annotated[float, Search(1e-3, 1.0, log=True), "Jia et al. 2023, official code"] = 1.0,
    samples: Annotated[int, "Jia et al. 2023, official code"] = 1000,
) -> nn.Module:
    """theta + alpha H^-1 g: g is the summed gradient of F over |F| + |R|, H the damped Fisher matrix of R.

    damping: what is added to H's diagonal. Published values of alpha are relative to the official code's, 1: its
    recursion starts at the identity. Where the gradients of R are small beside the damping the step is alpha / damping
    g, so that an alpha of 1 at a damping of 0.001 is up to 1,000 published ones.

    The official code of Jia et al. also subtracts the gradient of R, which is 0 at the end of training; ours does not.
    samples: number of samples of R for H, at most; fewer if their gradients would take more than 1 GiB.
    Raises BadValue for a damping that is not above 0.
    """
    if damping <= 0:
        raise BadValue(f"influence: damping must be above 0, or the Fisher matrix has no inverse; got {damping}")
    request = request.to(device)
    net = copy.deepcopy(model).to(request.forget.y.device).eval()
    weights = sum(p.numel() for p in net.parameters())
    order = torch.randperm(len(request.retain), generator=generator(seed, "fisher"))
    some = request.retain[order[: max(min(samples, FLOATS // weights), 1)].to(request.retain.y.device)]
    g = sum(part.sum(0) for part in _rows(net, request.forget)) / (len(request.forget) + len(request.retain))
    step = alpha * inverse_fisher_product(torch.cat(list(_rows(net, some))), g, damping)
    for p, part in zip(net.parameters(), step.split([p.numel() for p in net.parameters()]), strict=True):
        p.add_(part.view_as(p))
    return at_rest(net)


def _rows(net: nn.Module, samples: Samples):
    """(chunk, p): the gradient of each sample as a row."""
    for gradients in per_sample(net, samples):
        yield torch.cat([g.flatten(1) for g in gradients.values()], 1)
