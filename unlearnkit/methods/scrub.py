"""SCRUB: a student that departs from its teacher on what goes and obeys it on what stays."""

import copy
from typing import Annotated

import torch
from torch import nn

from unlearnkit.divergence import kl
from unlearnkit.methods import BATCH, Search, method
from unlearnkit.task import Request
from unlearnkit.train import minimise

SOURCE = "Kurmanji et al. 2023, official code"


@method("scrub", source="Kurmanji et al. 2023, arXiv 2302.09880, Algorithm 1")
def scrub(
    model: nn.Module,
    task: Request,
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

    The student starts at the teacher, where KL and its gradient are 0: the very first max step is idle, and with a
    forget set of one batch so is the first max pass.
    """
    task = task.to(device)
    teacher = copy.deepcopy(model).to(task.forget.y.device).eval()

    def distance(net, batch):
        with torch.no_grad():
            target = (task.log_probs(teacher, batch) / temperature).log_softmax(-1)  # softening ignores the offset
        return kl(target, (task.log_probs(net, batch) / temperature).log_softmax(-1)).mean() * temperature**2

    def losses(student):
        for epoch in range(epochs):
            if epoch < max_epochs:
                for batch in task.forget.batches(batch_size, seed, "max", epoch):
                    yield -distance(student, batch)
            for batch in task.retain.batches(batch_size, seed, epoch):
                yield gamma * task.losses(student, batch).mean() + alpha * distance(student, batch)

    return minimise(model, losses, lr=lr, device=device)
