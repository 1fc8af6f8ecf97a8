"""Proxies from what a language model says of the tokens of an answer: one pass each.

`loss`, `margin` and `gradient_norm` of unlearnkit.privacy_risk.output_scores rank answers, too: they are of the mean over an answer's
tokens, so that a long one is not taken for a risky one. Those here look at its tokens one by one, or do not divide.
"""

import copy
import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import ranker

BATCH = 64  # answers that are read at a time
SHI = "Shi et al. 2024, arXiv 2310.16789"


@torch.no_grad()
def of_tokens(
    model: nn.Module, request: Request, device: str, found: Callable[[Tensor, Tensor], Tensor]
) -> list[Tensor]:
    """found(logits, labels) -> (answer tokens,) of each answer of the forget set: n tensors, float64, on the CPU."""
    on = resolve_device(device)
    net, values = copy.deepcopy(model).to(on).eval(), []
    for index in torch.arange(len(request.forget)).split(BATCH):
        batch = request.forget[index].to(on)
        values += found(request.logits(net, batch).double(), batch.y).cpu().split(batch.count.tolist())  # type: ignore[attr-defined]
    return values


def log_p(logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of each label, (answer tokens,), nats."""
    return logits.log_softmax(1).gather(1, y[:, None]).squeeze(1)


@ranker("likelihood", direction="lower = riskier", needs=("answers",), source="Yeom et al. 2018; not divided by length")
def likelihood(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Summed log-likelihood of the answer, nats, with the sign turned: a long answer counts as less well learned."""
    return -torch.stack([v.sum() for v in of_tokens(model, request, device, log_p)])


@ranker("min_k", direction="lower = riskier", needs=("answers",), source=SHI)
def min_k(
    model: nn.Module, request: Request, *, seed: int, device: str = "auto", share: Annotated[float, SHI] = 0.2
) -> Tensor:
    """Mean log-probability of the least likely `share` of an answer's tokens, rounded up, with the sign turned: its rare
    words, names and facts among them, and not the words that every answer has.

    Raises BadValue for a share outside 0 to 1.
    """
    if not 0 < share <= 1:
        raise BadValue(f"min_k: share is above 0 and at most 1, got {share}")
    found = of_tokens(model, request, device, log_p)
    return -torch.stack([v.sort().values[: math.ceil(share * len(v))].mean() for v in found])


@ranker("token_entropy", needs=("answers",), source="ours, after Salem et al. 2019, arXiv 1806.01246")
def token_entropy(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Entropy of the predicted next token, nats, mean over an answer's tokens; which token is right is not read."""

    def entropy(logits: Tensor, y: Tensor) -> Tensor:
        return torch.special.entr(logits.softmax(1)).sum(1)

    return torch.stack([v.mean() for v in of_tokens(model, request, device, entropy)])
