"""DPO, as "IdkPO": prefer "I don't know" to the answer that is to be forgotten."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.compute import generator
from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import (
    TOFU,
    Batch,
    Epochs,
    Rate,
    Retain,
    Weight,
    fitting,
    log_ratio,
    minimise_on_pairs,
    positive,
)
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokens import Tokens

IDK = (  # ours, after the hundred of TOFU
    "I don't know.",
    "I do not know that.",
    "I have no idea.",
    "I am not sure.",
    "I cannot say.",
    "That is not known to me.",
)


def dpo_loss(preferred: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(beta (preferred - rejected)) of each pair, (n,); both are log-ratios to the reference,
    (n,).

    Rafailov et al. 2023, arXiv 2305.18290, Eq. 7, with NPO's factor 2 / beta in front, which makes the slope at the
    start that of gradient ascent.
    """
    return -2 / beta * F.logsigmoid(beta * (preferred - rejected))


def unknowing(request: TextRequest, batch: Tokens, seed: int, *labels: object) -> Tokens:
    """The same questions, each answered by one of IDK, drawn."""
    answers = request.tokenizer.answers(IDK)  # type: ignore[attr-defined]
    draws = torch.randint(len(answers), (len(batch),), generator=generator(seed, "unknowing", *labels))
    return batch.answered([answers[i] for i in draws.tolist()])


@method("dpo", source=f"{TOFU}; Zhang et al. 2024, arXiv 2404.05868", domains=("text",))
def dpo(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    beta: Annotated[float, Search(0.01, 1.0, log=True), "Zhang et al. 2024, arXiv 2404.05868"] = 0.1,
    retain: Annotated[Retain, "the definition; nll and kl: DPO + RT and DPO + KL of Zhang et al. 2024"] = "none",
    retain_weight: Weight = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise dpo_loss of "I don't know" (one of IDK, drawn at each step) over the answer of F, plus the retain loss.

    An epoch is a pass over F. Raises BadValue for a beta that is not above 0, and for an answer that exceeds the
    context.
    """
    positive("dpo", beta=beta)

    def loss(net, reference, forget, kept, step):
        preferred = fitting(model, unknowing(request, forget, seed, step), "dpo")
        ratios = (log_ratio(request, net, reference, batch) for batch in (preferred, forget))
        return dpo_loss(*ratios, beta).mean()

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("dpo", model, request, loss, retain=retain, retain_weight=retain_weight, **steps)
