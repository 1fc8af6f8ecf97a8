"""Proxies of privacy risk from a language model's tokens of an answer, one pass each.

`loss`, `margin` and `gradient_norm` of unlearnkit.privacy_risk.output_scores rank answers, too: they use the mean over
an answer's tokens, so that a long answer is not taken for a risky one. The rankers here look at single tokens, or use
the sum.
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

BATCH = 64  # answers in one pass
SHI = "Shi et al. 2024, arXiv 2310.16789"


@torch.no_grad()
def token_scores(
    model: nn.Module, request: Request, device: str, score: Callable[[Tensor, Tensor], Tensor]
) -> list[Tensor]:
    """score(logits, labels) -> (answer tokens,), for each answer of the forget set: n tensors, float64, on the CPU."""
    device = resolve_device(device)
    net, scores = copy.deepcopy(model).to(device).eval(), []
    for index in torch.arange(len(request.forget)).split(BATCH):
        batch = request.forget[index].to(device)
        scores += score(request.logits(net, batch).double(), batch.y).cpu().split(batch.count.tolist())  # type: ignore[attr-defined]
    return scores


def log_p(logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of each label, (answer tokens,), nats."""
    return logits.log_softmax(1).gather(1, y[:, None]).squeeze(1)


@ranker("likelihood", direction="lower = riskier", needs=("answers",), source="Yeom et al. 2018; not divided by length")
def likelihood(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Negative summed log-likelihood of the answer, nats: a long answer counts as learned less well."""
    return -torch.stack([v.sum() for v in token_scores(model, request, device, log_p)])


@ranker("min_k", direction="lower = riskier", needs=("answers",), source=SHI)
def min_k(
    model: nn.Module, request: Request, *, seed: int, device: str = "auto", share: Annotated[float, SHI] = 0.2
) -> Tensor:
    """Negative mean log-probability of the least likely `share` of an answer's tokens, rounded down but at least one and
    without its end token: of its rare words, names and facts among them, rather than words common to all answers.

    An answer that is its end token alone keeps it. Raises BadValue for a share outside 0 to 1.
    """
    if not 0 < share <= 1:
        raise BadValue(f"min_k: share is above 0 and at most 1, got {share}")
    words = [v[:-1] if len(v) > 1 else v for v in token_scores(model, request, device, log_p)]
    return -torch.stack([v.sort().values[: max(math.floor(share * len(v)), 1)].mean() for v in words])


@ranker("token_entropy", needs=("answers",), source="ours, after Salem et al. 2019, arXiv 1806.01246")
def token_entropy(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Entropy of the predicted next token, nats, mean over an answer's tokens; the labels are not used."""

    def entropy(logits: Tensor, y: Tensor) -> Tensor:
        return torch.special.entr(logits.softmax(1)).sum(1)

    return torch.stack([v.mean() for v in token_scores(model, request, device, entropy)])
