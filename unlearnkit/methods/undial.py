"""UNDIAL: distil the model into itself with the true token's logit lowered."""

from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.divergence import kl
from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import Batch, Epochs, Rate, Retain, Weight, minimise_on_pairs, positive

SOURCE = "Dong et al. 2024 (UNDIAL), arXiv 2402.10052"


def lowered(logits: Tensor, y: Tensor, beta: float) -> Tensor:
    """The logits, (rows, vocabulary), with that of each row's label lowered by beta. y: labels, (rows,)."""
    return logits.scatter_add(1, y[:, None], logits.new_full((len(y), 1), -beta))


@method("undial", source=SOURCE, domains=("text",))
def undial(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    beta: Annotated[float, Search(1.0, 30.0, log=True), SOURCE] = 10.0,
    retain: Annotated[Retain, SOURCE] = "none",
    retain_weight: Weight = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise KL(teacher || model) on F, mean over the tokens of an answer, plus the retain loss; the teacher is the
    original with the logit of each true token lowered by beta. An epoch is a pass over F.

    All tokens of an answer are lowered by the same beta. Raises BadValue for a beta that is not above 0.
    """
    positive("undial", beta=beta)

    def loss(net, reference, forget, *_):
        with torch.no_grad():
            target = lowered(request.logits(reference, forget), forget.y, beta).log_softmax(-1)
        return forget.mean(kl(target, request.log_probs(net, forget))).mean()

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("undial", model, request, loss, retain=retain, retain_weight=retain_weight, **steps)
