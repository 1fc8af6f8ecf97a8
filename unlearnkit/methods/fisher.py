"""Fisher forgetting: add noise to every weight, more where the retain set constrains it less."""

import copy
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import at_rest
from unlearnkit.images.per_sample_gradients import squared
from unlearnkit.images.request import Request
from unlearnkit.methods import OURS, Search, method

SOURCE = "Golatkar et al. 2020, official code"


def fisher_diagonal(model: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """{parameter name: diagonal of the Fisher matrix}: squared gradients of each label's log-probability, weighted by
    the model's probability of the label. The model must be in eval mode."""
    return squared(model, samples, losses=every_label)


def every_label(logits: Tensor, y: Tensor) -> list[Tensor]:
    """The log-probability of each label times the square root of that probability, detached; squared, it is the weight."""
    log_p = logits.log_softmax(-1)
    return list((log_p * (log_p.detach() / 2).exp()).unbind(-1))


@method(
    "fisher", source="Golatkar et al. 2020, arXiv 1911.04933; diagonal, as in the official code", reads_forget_set=False
)
@torch.no_grad()
def fisher(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    alpha: Annotated[float, Search(1e-9, 1e-4, log=True), OURS] = 1e-7,
    labels: Annotated[Literal["model", "data"], SOURCE] = "model",
    most: Annotated[float, SOURCE] = 1e3,
) -> nn.Module:
    """Add noise of variance alpha min(1 / F_ii, most) to each weight, F the Fisher matrix of R.

    The official code treats the head differently (a lower `most`, means over its rows, ten times the noise); ours does
    not. labels: "model" weights every label by the model's probability, which gives the Fisher matrix and costs a
    gradient per class; "data" uses the label of the sample, the empirical Fisher matrix. Raises BadValue for a negative
    alpha.
    """
    if alpha < 0:
        raise BadValue(f"fisher: alpha is a variance, 0 or more, got {alpha}")
    request = request.to(device)
    net = copy.deepcopy(model).to(request.forget.y.device).eval()
    information = fisher_diagonal(net, request.retain) if labels == "model" else squared(net, request.retain)
    for name, p in net.named_parameters():
        variance = alpha * (1 / information[name]).clamp(max=most)
        noise = torch.randn(p.shape, generator=generator(seed, "noise", name)).to(p.device)
        p.add_(noise * variance.sqrt())
    return at_rest(net)
