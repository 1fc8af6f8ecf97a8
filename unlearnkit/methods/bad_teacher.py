"""Bad teacher: on the forget set the student listens to a teacher that knows nothing."""

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
    """Minimise KL(teacher || student) over F and a share of R, shuffled together, by Adam: the teacher of F is a model
    drawn at random, the teacher of R the model as given.

    Raises BadValue for a share outside 0 to 1.
    """
    if not 0 <= retain_share <= 1:
        raise BadValue(f"bad_teacher: retain_share is a share, from 0 to 1, got {retain_share}")
    request = request.to(device)
    some = torch.randperm(len(request.retain), generator=generator(seed, "retain"))[
        : round(retain_share * len(request.retain))
    ]
    where = request.forget.y.device
    good, bad = (copy.deepcopy(m).to(where).eval() for m in (model, fresh(model, seed)))
    data = request.forget.joined(request.retain[some.to(where)])
    said = torch.cat(
        [
            teacher_log_probs(request, bad, request.forget, temperature),
            teacher_log_probs(request, good, data[len(request.forget) :], temperature),
        ]
    )

    def losses(net):
        for epoch in range(epochs):
            order = torch.randperm(len(data), generator=generator(seed, "order", epoch)).to(where)
            for index in order.split(batch_size):
                student = (request.log_probs(net, data[index]) / temperature).log_softmax(-1)
                yield kl(said[data.label_index(index)], student).mean()

    return minimise(model, losses, lr=lr, device=device, optimiser="adam")


@torch.no_grad()
def teacher_log_probs(request: Request, teacher: nn.Module, samples: Samples, temperature: float) -> Tensor:
    """Log-probabilities (n, classes) of a teacher, which does not change: asked once for all epochs."""
    parts = [request.log_probs(teacher, samples[i : i + 256]) for i in range(0, len(samples), 256)]
    return (torch.cat([*parts, torch.empty(0, request.n_classes, device=samples.y.device)]) / temperature).log_softmax(
        -1
    )
