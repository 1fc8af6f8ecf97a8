"""SCRUB in the setting of its official code for large experiments: few SGD steps, and hardly any pull to the teacher."""

import copy
from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, Search, method
from unlearnkit.methods.scrub import scrub_losses

LARGE = "Kurmanji et al. 2023, official code, large_scale_unlearning"


@method("scrub_large", source="Kurmanji et al. 2023, arXiv 2302.09880, Algorithm 1; the large setting of its code")
def scrub_large(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, LARGE] = 3,
    max_epochs: Annotated[int, Search(1, 3), LARGE] = 2,
    lr: Annotated[float, Search(1e-4, 0.05, log=True), LARGE] = 5e-4,
    weight_decay: Annotated[float, LARGE] = 5e-4,
    alpha: Annotated[float, LARGE] = 0.001,
    gamma: Annotated[float, LARGE] = 0.99,
    temperature: Annotated[float, LARGE] = 4.0,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """The passes and losses of `scrub`, by SGD with momentum 0.9 at a constant rate: the first decay of the official
    code comes after its last epoch. On sets of hundreds these are a few steps, so that it hardly moves."""
    request = request.to(device)
    teacher = copy.deepcopy(model).to(request.forget.y.device).eval()
    options = {"epochs": epochs, "max_epochs": max_epochs, "alpha": alpha, "gamma": gamma, "temperature": temperature}

    def losses(student):
        return scrub_losses(student, teacher, request, seed=seed, batch_size=batch_size, **options)

    return minimise(model, losses, lr=lr, device=device, optimiser="sgd", weight_decay=weight_decay)
