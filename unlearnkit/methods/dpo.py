"""DPO, as "IdkPO": not to know is preferred to the answer that is to be forgotten."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.compute import generator
from unlearnkit.core.optimise import minimise
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
    frozen,
    kept,
    log_ratio,
    paired,
    positive,
    texts,
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


def dpo_loss(preferred: Tensor, refused: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(beta (preferred - refused)) of each pair, (n,), both log-ratios to the reference, (n,).

    Rafailov et al. 2023, arXiv 2305.18290, Eq. 7, with NPO's factor, which makes its slope gradient ascent's at the start.
    """
    return -2 / beta * F.logsigmoid(beta * (preferred - refused))


def unknowing(request: TextRequest, batch: Tokens, seed: int, *labels: object) -> Tokens:
    """The same questions, each with an answer that says nothing, drawn."""
    said = request.tokenizer.answers(IDK)  # type: ignore[attr-defined]
    drawn = torch.randint(len(said), (len(batch),), generator=generator(seed, "unknowing", *labels))
    return batch.answered([said[i] for i in drawn.tolist()])


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
    """Minimise dpo_loss of "I don't know" (one of IDK, drawn for each step) over the answer of F, plus what keeps R.

    An epoch is a pass over F. Raises BadValue for a beta that is not above 0, and where an answer does not fit the context.
    """
    positive("dpo", beta=beta)
    request = texts("dpo", request, device)
    reference = frozen(model, request)

    def losses(net):
        for step, (gone, stays) in enumerate(paired(request, epochs, batch_size, seed)):
            better = fitting(model, unknowing(request, gone, seed, step), "dpo")
            ratios = (log_ratio(request, net, reference, batch) for batch in (better, gone))
            yield dpo_loss(*ratios, beta).mean() + retain_weight * kept(retain, request, net, reference, stays)

    return minimise(model, losses, lr=lr, device=device)
