"""SimNPO: NPO without a reference model, on the likelihood per token of an answer."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import Batch, Epochs, Rate, Retain, Weight, minimise_on_pairs, positive

SOURCE = "Fan et al. 2024 (SimNPO), arXiv 2410.07163"


def simnpo_loss(nll: Tensor, beta: float, gamma: float) -> Tensor:
    """-(2 / beta) log sigmoid(-beta L / |y| - gamma) of each answer, (n,); nll: -L / |y|, nats per token, (n,)."""
    return -2 / beta * F.logsigmoid(beta * nll - gamma)


@method("simnpo", source=SOURCE, domains=("text",))
def simnpo(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    beta: Annotated[float, Search(1.0, 6.0), f"{SOURCE}: 2.5 to 4.5"] = 2.5,
    gamma: Annotated[float, SOURCE] = 0.0,
    retain: Annotated[Retain, SOURCE] = "nll",
    retain_weight: Weight = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise simnpo_loss on F, plus NLL_R, or KL(original || model) on R; an epoch is a pass over F.

    Raises BadValue for a beta that is not above 0.
    """
    positive("simnpo", beta=beta)

    def loss(net, reference, forget, *_):
        return simnpo_loss(request.losses(net, forget), beta, gamma).mean()

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("simnpo", model, request, loss, retain=retain, retain_weight=retain_weight, **steps)
