"""NPO, negative preference optimisation: pushes away from the forget answers until they are unlikely enough."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import Batch, Epochs, Rate, Retain, Weight, log_ratio, minimise_on_pairs, positive

SOURCE = "Zhang et al. 2024 (NPO), arXiv 2404.05868"


def npo_loss(ratio: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(-beta ratio) of each answer, (n,); ratio: L_theta - L_ref, (n,), not divided by length.

    Its slope, 2 sigmoid(beta ratio), is 1, as gradient ascent's, before anything is forgotten or at beta 0, and falls
    to 0 as the answer is forgotten.
    """
    return -2 / beta * F.logsigmoid(-beta * ratio)


@method("npo", source=f"{SOURCE}, Eq. 3", domains=("text",))
def npo(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    beta: Annotated[float, Search(0.01, 1.0, log=True), SOURCE] = 0.1,
    retain: Annotated[Retain, f"{SOURCE}: NPO + RT; kl: NPO + KL; none: NPO"] = "nll",
    retain_weight: Weight = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise npo_loss on F, plus NLL_R, or KL(original || model) on R; an epoch is a pass over F.

    Raises BadValue for a beta that is not above 0.
    """
    positive("npo", beta=beta)

    def loss(net, reference, forget, *_):
        return npo_loss(log_ratio(request, net, reference, forget), beta).mean()

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("npo", model, request, loss, retain=retain, retain_weight=retain_weight, **steps)
