"""Boundary shrink: relabel the forget set with the nearest other classes."""

import copy
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, Search, method

SOURCE = "Chen et al. 2023, official code"


def nearest_labels(
    request: Request, model: nn.Module, samples: Samples, eps: float, labels: Literal["other", "argmax"]
) -> Tensor:
    """The model's prediction for each sample after one FGSM step of eps away from its label, within [0, 1], (n,).

    "other": the likeliest class other than the present one; "argmax": the likeliest, which may still be the present
    one.
    """
    labels_ = []
    for index in torch.arange(len(samples), device=samples.y.device).split(256):
        batch = samples[index]
        x = batch.x.requires_grad_()
        loss = nn.functional.cross_entropy(request.run(model, x), batch.y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        with torch.no_grad():
            logits = request.run(model, (x + eps * gradient.sign()).clamp(0, 1))
            if labels == "other":
                logits.scatter_(1, batch.y[:, None], -torch.inf)
            labels_.append(logits.argmax(1))
    return torch.cat(labels_)


@method("boundary_shrink", source="Chen et al. 2023, arXiv 2303.11570, section 3.2")
def boundary_shrink(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 10,
    lr: Annotated[float, Search(1e-5, 0.1, log=True), SOURCE] = 1e-5,
    eps: Annotated[float, SOURCE] = 0.1,
    labels: Annotated[Literal["other", "argmax"], "other: the paper; argmax: the official code"] = "other",
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Train F on the labels of the nearest other classes, computed once from the model as given (`nearest_labels`)."""
    request = request.to(device)
    frozen = copy.deepcopy(model).to(request.forget.y.device).eval()
    forget = request.forget.relabelled(nearest_labels(request, frozen, request.forget, eps, labels))

    def losses(net):
        for epoch in range(epochs):
            for batch in forget.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device)
