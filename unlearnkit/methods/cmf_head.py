"""Class-mean-feature head: classify by the nearest class mean of the retain set's features."""

import copy
from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.optimise import at_rest
from unlearnkit.images.heads import head, with_head
from unlearnkit.images.request import Request
from unlearnkit.methods import method


@method(
    "cmf_head",
    source="nearest class mean, as a readout; its scale is ours",
    reads_forget_set=False,
    whole_classes=False,
)
@torch.no_grad()
def cmf_head(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    batch_size: Annotated[int, "samples at a time; the result does not depend on it"] = 256,
) -> nn.Module:
    """Replace the head by -|feature - mean|^2 / (2 v) for the mean feature of each class of R, which is linear up to a
    term shared by all classes; v is the variance within classes, mean over features. No weight is trained.

    Raises BadValue for a model without a linear head, and NotApplicable if a class has no retained sample.
    """
    request = request.to(device)
    net = copy.deepcopy(model).to(request.forget.y.device).eval()
    y, classes = request.retain.y, request.n_classes
    count = torch.bincount(y, minlength=classes)
    if missing := (count == 0).nonzero().flatten().tolist():
        raise NotApplicable(
            f"cmf_head needs samples of every class to stay, and of class {', '.join(map(str, missing))} nothing does"
        )
    features = request.features(net, request.retain, batch_size).double()
    means = torch.zeros(classes, features.shape[1], dtype=features.dtype, device=y.device)
    means.index_add_(0, y, features).div_(count[:, None])
    variance = (features - means[y]).square().mean().clamp(min=1e-12)
    new = nn.utils.skip_init(nn.Linear, features.shape[1], classes, device=y.device)
    new.weight.copy_(means / variance)
    new.bias.copy_(-means.square().sum(1) / (2 * variance))
    return at_rest(with_head(net, new.to(head(net).weight.dtype)))
