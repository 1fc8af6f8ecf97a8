"""SCRUB: a student that moves away from its teacher on the forget set and stays close on the retain set."""

import copy
from collections.abc import Callable, Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.divergence import kl
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method

SOURCE = "Kurmanji et al. 2023, official code"


def scrub_losses(
    student: nn.Module,
    teacher: nn.Module,
    request: Request,
    *,
    seed: int,
    epochs: int,
    max_epochs: int,
    alpha: float,
    gamma: float,
    temperature: float,
    batch_size: int,
    after_epoch: Callable[[nn.Module], None] = lambda student: None,
) -> Iterator[Tensor]:
    """The loss of every step of SCRUB; see `scrub`."""

    def distance(batch, logits):
        with torch.no_grad():
            target = (request.logits(teacher, batch) / temperature).log_softmax(-1)
        return kl(target, (logits / temperature).log_softmax(-1)).mean() * temperature**2

    for epoch in range(epochs):
        if epoch < max_epochs:
            for batch in request.forget.batches(batch_size, seed, "max", epoch):
                yield -distance(batch, request.logits(student, batch))
        for batch in request.retain.batches(batch_size, seed, epoch):
            logits = request.logits(student, batch)
            yield gamma * F.cross_entropy(logits, batch.y) + alpha * distance(batch, logits)
        after_epoch(student)


@method("scrub", source="Kurmanji et al. 2023, arXiv 2302.09880, Algorithm 1", domains=DOMAINS, text={"lr": 1e-4})
def scrub(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 5,
    max_epochs: Annotated[int, Search(1, 4), SOURCE] = 2,
    lr: Annotated[float, Search(5e-4, 0.05, log=True), SOURCE] = 0.005,
    alpha: Annotated[float, SOURCE] = 0.5,
    gamma: Annotated[float, SOURCE] = 1.0,
    temperature: Annotated[float, SOURCE] = 4.0,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Each of the first `max_epochs` epochs starts with one pass that maximises KL(teacher || student) T^2 on F; every
    epoch has one that minimises gamma l + alpha KL(teacher || student) T^2 on R. The teacher is the model as given.

    The student starts at the teacher, where KL and its gradient are 0: without batch norm, by which a student in
    training mode differs, the very first max step has no effect, nor has the first max pass over a forget set of one
    batch.
    """
    request = request.to(device)
    teacher = copy.deepcopy(model).to(request.forget.y.device).eval()
    options = {"epochs": epochs, "max_epochs": max_epochs, "alpha": alpha, "gamma": gamma, "temperature": temperature}

    def losses(student):
        return scrub_losses(student, teacher, request, seed=seed, batch_size=batch_size, **options)

    return minimise(model, losses, lr=lr, device=device)
