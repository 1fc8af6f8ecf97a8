"""SCRUB: a student that moves away from its teacher on the forget set and stays close on the retain set.

The official code has two settings, for small and for large experiments, that share no more than this loss: `scrub` here,
and `scrub_large` in its own file. A mixture of both is neither.
"""

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

SMALL = "Kurmanji et al. 2023, official code, small_scale_unlearning"
TENTHS = (5, 8, 9)  # of all epochs, after which the rate decays: epochs 5, 8 and 9 of the official 10


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
    decay: float = 1.0,
    after_epoch: Callable[[nn.Module], None] = lambda student: None,
) -> Iterator[Tensor | float]:
    """The loss of every step of SCRUB; see `scrub`. Before an epoch at which the rate decays comes its share of the
    rate at the start, a float."""

    def distance(batch, logits):
        with torch.no_grad():
            target = (request.logits(teacher, batch) / temperature).log_softmax(-1)
        return kl(target, (logits / temperature).log_softmax(-1)).mean() * temperature**2

    share = 1.0
    for epoch in range(epochs):
        before, share = share, float(decay ** sum(10 * epoch >= tenth * epochs for tenth in TENTHS))
        if share != before:
            yield share
        if epoch < max_epochs:
            for batch in request.forget.batches(batch_size, seed, "max", epoch):
                yield -distance(batch, request.logits(student, batch))
        for batch in request.retain.batches(batch_size, seed, epoch):
            logits = request.logits(student, batch)
            yield gamma * F.cross_entropy(logits, batch.y) + alpha * distance(batch, logits)
        after_epoch(student)


@method(
    "scrub",
    source="Kurmanji et al. 2023, arXiv 2302.09880, Algorithm 1; the small setting of its code",
    domains=DOMAINS,
    text={"lr": 1e-4, "weight_decay": 0.0},  # a decay of 0.1 would wear down the embeddings of all other tokens
)
def scrub(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SMALL] = 10,
    max_epochs: Annotated[int, Search(1, 6), SMALL] = 3,
    lr: Annotated[float, Search(5e-5, 5e-3, log=True), SMALL] = 5e-4,
    decay: Annotated[float, SMALL] = 0.1,
    weight_decay: Annotated[float, SMALL] = 0.1,
    alpha: Annotated[float, SMALL] = 0.5,
    gamma: Annotated[float, SMALL] = 1.0,
    temperature: Annotated[float, SMALL] = 2.0,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Each of the first `max_epochs` epochs starts with one pass that maximises KL(teacher || student) T^2 on F; every
    epoch has one that minimises gamma l + alpha KL(teacher || student) T^2 on R. The teacher is the model as given.

    Steps are Adam's, with weight decay in the gradient; `decay` is what the rate is multiplied by after a half, eight
    and nine tenths of the epochs. The student starts at the teacher, where KL and its gradient are 0: without batch
    norm, by which a student in training mode differs, the first max step moves by the weight decay alone.
    """
    request = request.to(device)
    teacher = copy.deepcopy(model).to(request.forget.y.device).eval()
    options = {"epochs": epochs, "max_epochs": max_epochs, "alpha": alpha, "gamma": gamma, "temperature": temperature}

    def losses(student):
        return scrub_losses(student, teacher, request, seed=seed, batch_size=batch_size, decay=decay, **options)

    return minimise(model, losses, lr=lr, device=device, optimiser="adam", weight_decay=weight_decay)
