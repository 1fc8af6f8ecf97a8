"""SCRUB+R: SCRUB, rewound to the epoch whose forget error is nearest that on unseen samples."""

import copy
from typing import Annotated

import torch
from torch import nn

from data_builders.task import Samples
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import at_rest, minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, Search, method
from unlearnkit.methods.scrub import SMALL, scrub_losses


@method("scrub_r", source="Kurmanji et al. 2023, arXiv 2302.09880, section 3: rewinding; the small setting of its code")
def scrub_r(
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
    """Among the models after each epoch of `scrub`, the one whose error on F is nearest the last model's error on
    validation samples of the classes of F; of equally near ones the latest.

    Raises BadValue without such validation samples, or for fewer epochs than 1.
    """
    if epochs < 1:
        raise BadValue(f"scrub_r needs an epoch to rewind to, got epochs={epochs}")
    request = request.to(device)
    validation = request.validation
    if validation is not None:
        validation = validation[torch.isin(validation.y, request.forget.y.unique())]
    if not validation:
        raise BadValue(
            "scrub_r needs validation samples of the classes to be forgotten, and there are none: leave some images in "
            "the pool (a smaller train_size), or use 'scrub'"
        )
    teacher = copy.deepcopy(model).to(request.forget.y.device).eval()
    states = []

    def keep(student):
        states.append({name: value.clone() for name, value in student.state_dict().items()})

    options = {
        "epochs": epochs,
        "max_epochs": max_epochs,
        "alpha": alpha,
        "gamma": gamma,
        "temperature": temperature,
        "batch_size": batch_size,
        "decay": decay,
    }

    def losses(student):
        return scrub_losses(student, teacher, request, seed=seed, after_epoch=keep, **options)

    minimise(model, losses, lr=lr, device=device, optimiser="adam", weight_decay=weight_decay)
    net = copy.deepcopy(teacher)

    def error(state, samples):
        net.load_state_dict(state)
        return _error(request, net, samples)

    unseen = error(states[-1], validation)
    net.load_state_dict(min(reversed(states), key=lambda state: abs(error(state, request.forget) - unseen)))
    return at_rest(net)


@torch.no_grad()
def _error(request: Request, model: nn.Module, samples: Samples) -> float:
    parts = [request.logits(model, samples[i : i + 256]).argmax(1) for i in range(0, len(samples), 256)]
    return (torch.cat(parts) != samples.y).double().mean().item()
