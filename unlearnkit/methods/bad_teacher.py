"""Bad teacher: distil an untrained teacher on the forget set, and the original on the retain set."""

import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import minimise
from unlearnkit.images.models import fresh
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method

SOURCE = "Chundawat et al. 2023"


@method("bad_teacher", source="Chundawat et al. 2023, arXiv 2205.08096, Eq. 2", domains=DOMAINS)
def bad_teacher(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 1,
    lr: Annotated[float, Search(1e-4, 1e-2, log=True), SOURCE] = 1e-4,
    retain_share: Annotated[float, SOURCE] = 0.3,
    temperature: Annotated[float, SOURCE] = 1.0,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise KL(teacher || student) over F and a share of R, shuffled together, by Adam: the teacher of F is an
    untrained model, the teacher of R the model as given.

    Raises BadValue for a share outside 0 to 1.
    """
    if not 0 <= retain_share <= 1:
        raise BadValue(f"bad_teacher: retain_share is a share, from 0 to 1, got {retain_share}")
    request = request.to(device)
    n = round(retain_share * len(request.retain))
    some = torch.randperm(len(request.retain), generator=generator(seed, "retain"))[:n]
    where = request.forget.y.device
    good, bad = (copy.deepcopy(m).to(where).eval() for m in (model, fresh(model, seed)))
    data = request.forget.joined(request.retain[some.to(where)])
    parts = ((bad, request.forget), (good, data[len(request.forget) :]))
    targets = torch.cat([teacher_log_probs(request, teacher, part, temperature) for teacher, part in parts])

    def losses(net):
        for epoch in range(epochs):
            order = torch.randperm(len(data), generator=generator(seed, "order", epoch)).to(where)
            for index in order.split(batch_size):
                student = (request.log_probs(net, data[index]) / temperature).log_softmax(-1)
                yield kl(targets[data.label_index(index)], student).mean()

    return minimise(model, losses, lr=lr, device=device, optimiser="adam")


@torch.no_grad()
def teacher_log_probs(request: Request, teacher: nn.Module, samples: Samples, temperature: float) -> Tensor:
    """Log-probabilities of a teacher at the temperature, (n, classes), for texts (answer tokens, vocabulary)."""
    parts = [request.log_probs(teacher, samples[i : i + 256]) for i in range(0, len(samples), 256)]
    log_probs = torch.cat([*parts, torch.empty(0, request.n_classes, device=samples.y.device)])
    return (log_probs / temperature).log_softmax(-1)
