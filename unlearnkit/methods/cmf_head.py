"""Class-mean-feature head: a sample is of the class whose mean feature is nearest, and the means are of what stays."""

import copy
from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.optimise import at_rest
from unlearnkit.images.heads import head, logits_and_features, with_head
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
    """Replace the head by -|feature - mean|^2 / (2 v) for the mean feature of each class of R, which is linear but for a
    term that all classes share; v is the variance within classes, mean over features. No weight is trained.

    Raises BadValue for a model without a linear head, and NotApplicable if nothing of some class stays.
    """
    request = request.to(device)
    net = copy.deepcopy(model).to(request.forget.y.device).eval()
    y, classes = request.retain.y, request.n_classes
    count = torch.bincount(y, minlength=classes)
    if missing := (count == 0).nonzero().flatten().tolist():
        raise NotApplicable(
            f"cmf_head needs samples of every class to stay, and of class {', '.join(map(str, missing))} nothing does"
        )
    parts = range(0, len(y), batch_size)
    found = torch.cat(
        [request.run(lambda x: logits_and_features(net, x)[1], request.retain[i : i + batch_size].x) for i in parts]
    ).double()
    means = torch.zeros(classes, found.shape[1], dtype=found.dtype, device=y.device)
    means.index_add_(0, y, found).div_(count[:, None])
    variance = (found - means[y]).square().mean().clamp(min=1e-12)
    new = nn.utils.skip_init(nn.Linear, found.shape[1], classes, device=y.device)
    new.weight.copy_(means / variance)
    new.bias.copy_(-means.square().sum(1) / (2 * variance))
    return at_rest(with_head(net, new.to(head(net).weight.dtype)))
