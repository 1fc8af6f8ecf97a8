"""Outputs of texts for the contracts of metrics (unlearnkit.metrics.contracts)."""

import dataclasses
import functools

import torch
from torch import Tensor

from data_builders.task import ROLES
from unlearnkit.texts.outputs import TextOutputs

EACH = 1200  # samples of each role
WORDS = ("amber", "bridge", "copper", "dairy", "ember", "ferry")


def rows_of(e: TextOutputs, order: Tensor, **more) -> TextOutputs:
    """The samples `order` of some outputs, as they are, with what is told of each."""
    tokens = torch.cat([torch.arange(len(e.log_p))[e.tokens(i)] for i in order.tolist()])
    first = e.restated_count.cumsum(0) - e.restated_count
    restated = torch.cat([torch.arange(first[i], first[i] + e.restated_count[i]) for i in order.tolist()])
    of = [(e.wrong_of == i).nonzero().squeeze(1) for i in order.tolist()]  # which wrong answers are of it
    start = e.wrong_count.cumsum(0) - e.wrong_count
    wrong = [torch.arange(start[j], start[j] + e.wrong_count[j]) for group in of for j in group.tolist()]
    parts = {
        **{k: getattr(e, k)[order] for k in ("role", "ids", "count", "restated_count")},
        **{k: getattr(e, k)[tokens] for k in ("log_p", "hit")},
        "restated_log_p": e.restated_log_p[restated],
        "wrong_log_p": e.wrong_log_p[torch.cat(wrong)] if wrong else e.wrong_log_p[:0],
        "wrong_count": e.wrong_count[torch.cat(of)],
        "wrong_of": torch.arange(len(order)).repeat_interleave(torch.tensor([len(group) for group in of])),
        **{k: getattr(e, k) and tuple(getattr(e, k)[i] for i in order.tolist()) for k in ("answer", "fact", "generations")},
        **{k: None if getattr(e, k) is None else getattr(e, k)[order] for k in ("features", "meant")},
        "margins": None if e.margins is None else e.margins[:, order],
    }
    return dataclasses.replace(e, **(parts | more))


@functools.cache
def large(changed: bool = False) -> TextOutputs:
    """EACH samples in each of five roles, two tokens each; `changed`: the last 200 of each are others."""
    g = torch.Generator().manual_seed(0)
    roles = [r for r in ("target", "similar", "filler", "decoy", "test") for _ in range(EACH)]
    n, last = len(roles), torch.arange(len(roles)) % EACH >= EACH - 200
    known = torch.tensor([3.0 if r in ("decoy", "test") else 1.0 for r in roles])
    loss = known[:, None] * torch.rand(n, 2, generator=g)
    restated, wrong = known * torch.rand(n, generator=g), 2 * torch.rand(n, generator=g)
    features, answer = (
        torch.randn(n, 6, generator=g) * torch.tensor([4, 2, 1, 0.1, 0.1, 0.1]),
        [WORDS[i % 6] + " " + WORDS[i % 5] for i in range(n)],
    )
    said, meant = [a if i % 3 else "amber" for i, a in enumerate(answer)], torch.rand(n, generator=g)
    margins = torch.randn(8, n, generator=g) - loss.mean(1)
    if changed:
        loss[last] += 2
        restated[last] += 1
        features[last] = torch.randn(int(last.sum()), 6, generator=g)
        margins[:, last] -= 5
        meant[last] /= 2
        said = ["" if gone else text for text, gone in zip(said, last.tolist())]
    one = torch.ones(n, dtype=torch.int64)
    return TextOutputs(
        role=torch.tensor([ROLES.index(r) for r in roles], dtype=torch.int8), ids=torch.arange(n),
        log_p=-loss.flatten(), hit=loss.flatten() < 1, count=2 * one, features=features, margins=margins,
        restated_log_p=-restated, restated_count=one, wrong_log_p=-wrong, wrong_count=one, wrong_of=torch.arange(n),
        answer=tuple(answer), fact=tuple(a.split()[0] for a in answer), generations=tuple(said), answer_similarity=meant,
    )  # fmt: skip
