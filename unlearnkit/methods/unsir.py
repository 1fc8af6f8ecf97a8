"""UNSIR: train on error-maximising noise labelled as the class to be forgotten, then repair on the retain set."""

import copy
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, OURS, Search, method, need_whole_classes

SOURCE = "Tarun et al. 2023, official code"


def error_maximising(
    request: Request, model: nn.Module, label: int, n: int, seed: int, steps: int, lr: float, size: float
) -> Tensor:
    """Noise, (n, channels, height, width), on which `model` has a high loss for `label`: it maximises the mean loss
    minus `size` times the mean squared norm, by Adam. The model must be in eval mode."""
    where = request.retain.y.device
    noise = torch.randn(n, *request.retain.stored.shape[1:], generator=generator(seed, "noise", label)).to(where)
    noise.requires_grad_()
    adam = torch.optim.Adam([noise], lr)
    y = torch.full((n,), label, device=where)
    for _ in range(steps):
        loss = -F.cross_entropy(request.run(model, noise), y) + size * noise.square().flatten(1).sum(1).mean()
        (noise.grad,) = torch.autograd.grad(loss, noise)
        adam.step()
    return noise.detach()


@method("unsir", source="Tarun et al. 2023, arXiv 2111.08947", reads_forget_set=False, whole_classes=True)
def unsir(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    impair_epochs: Annotated[int, SOURCE] = 1,
    repair_epochs: Annotated[int, SOURCE] = 1,
    lr: Annotated[float, Search(1e-4, 2e-2, log=True), "as in public benchmarks; the authors: 0.02"] = 1e-4,
    repair_lr: Annotated[float | None, "None: that of impairing, as in public benchmarks; the authors: 0.01"] = None,
    noise_steps: Annotated[int, SOURCE] = 40,
    noise_lr: Annotated[float, SOURCE] = 0.1,
    noise_size: Annotated[float, SOURCE] = 0.1,
    noise_images: Annotated[
        int, OURS + ": different ones per class, repeated to the number of images to be forgotten"
    ] = 64,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Learn noise that maximises the error of each class to be forgotten, train on it and R together (impair), then on
    R alone (repair), by another Adam. No image of the forget set is read.

    Raises NotApplicable unless whole classes are to be forgotten.
    """
    request = request.to(device)
    classes = need_whole_classes("unsir", request)
    frozen = copy.deepcopy(model).to(request.forget.y.device).eval()
    parts = []
    for label in classes:
        n = int((request.forget.y == label).sum())
        noise = error_maximising(request, frozen, label, min(noise_images, n), seed, noise_steps, noise_lr, noise_size)
        x = noise.repeat(-(-n // len(noise)), 1, 1, 1)[:n]
        parts.append(Samples(x, torch.full((n,), label, device=x.device)))
    impaired = parts[0].joined(*parts[1:], Samples(request.retain.x, request.retain.y))

    def losses(net, data, epochs, name):
        for epoch in range(epochs):
            for batch in data.batches(batch_size, seed, name, epoch):
                yield request.losses(net, batch).mean()

    impair = partial(losses, data=impaired, epochs=impair_epochs, name="impair")
    repair = partial(losses, data=request.retain, epochs=repair_epochs, name="repair")
    after = minimise(model, impair, lr=lr, device=device, optimiser="adam")
    return minimise(after, repair, lr=lr if repair_lr is None else repair_lr, device=device, optimiser="adam")
