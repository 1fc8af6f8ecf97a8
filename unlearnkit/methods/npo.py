"""NPO: the forget answers are what is not preferred, and the push ends once they are unlikely enough."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import (
    Batch,
    Epochs,
    Rate,
    Retain,
    Weight,
    frozen,
    kept,
    log_ratio,
    paired,
    positive,
    texts,
)

SOURCE = "Zhang et al. 2024 (NPO), arXiv 2404.05868"


def npo_loss(ratio: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(-beta ratio) of each answer, (n,); ratio: L_theta - L_ref, (n,), not divided by length.

    Its slope, 2 sigmoid(beta ratio), is gradient ascent's 1 where nothing is forgotten yet or beta is 0, and 0 where all is.
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
    request = texts("npo", request, device)
    reference = frozen(model, request)

    def losses(net):
        for gone, stays in paired(request, epochs, batch_size, seed):
            away = npo_loss(log_ratio(request, net, reference, gone), beta).mean()
            yield away + retain_weight * kept(retain, request, net, reference, stays)

    return minimise(model, losses, lr=lr, device=device)
