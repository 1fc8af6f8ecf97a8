"""What is told of an answer by the log-probabilities of its tokens: sums, memorised ends, least likely tokens, truth ratios.

Tokens of all answers stand one answer after the other, count[i] of answer i, the end token last.
"""

import torch
from torch import Tensor

SHARE = 0.2  # of an answer's tokens that Min-k% averages, the least likely; Shi et al. 2024, arXiv 2310.16789


def summed(values: Tensor, count: Tensor) -> Tensor:
    """The sum of each run of values, of which run i has count[i], (runs,) float64. values: (sum of count,)."""
    return torch.zeros(len(count), dtype=torch.float64).index_add(0, _run(count), values.double())


def extraction(hit: Tensor, count: Tensor) -> Tensor:
    """1 - k/|y| of each answer, (n,) float64: greedy decoding continues rightly to the end after the first k tokens of
    the answer; 1 if k is 0, 0 if even the last token is wrong. hit: (tokens,) bool, whether a token is the likeliest."""
    given = torch.zeros(len(count), dtype=torch.int64).scatter_reduce(
        0, _run(count), (_place(count) + 1) * ~hit, "amax"
    )
    return 1 - given.double() / count


def min_k(log_p: Tensor, count: Tensor) -> Tensor:
    """Mean log-probability of the SHARE of each answer's tokens that are least likely, rounded down but at least one,
    (n,) float64. The end token is left out, unless it is all of the answer: public code scores the text alone."""
    run, place = _run(count), _place(count)
    is_end = (place == count[run] - 1) & (count > 1)[run]
    order = log_p.masked_fill(is_end, torch.inf).argsort(stable=True)  # ends are the last
    order = order[run[order].argsort(stable=True)]  # answer by answer, the least likely first
    k = (SHARE * (count.double() - 1)).floor().clamp(min=1)
    return summed(log_p[order] * (place < k[run]), count) / k


def log_truth_ratio(wrong_losses: Tensor, wrong_of: Tensor, restated_losses: Tensor) -> Tensor:
    """log of the mean probability, per token, of the wrong answers, less that of the restated answer, (n,) float64.

    wrong_losses: (m,) nats per token; wrong_of: (m,), the sample that each belongs to; restated_losses: (n,) nats per
    token, NaN where there is none. NaN for samples that lack either. Above 0 the model finds wrong answers likelier than
    the right one. Source: TOFU (Maini et al. 2024, arXiv 2401.06121), Eq. 1; a mean over the wrong answers of
    probabilities, where TOFU's code takes one of log-probabilities.
    """
    n = len(restated_losses)
    counts = torch.zeros(n, dtype=torch.float64).index_add(0, wrong_of, torch.ones(len(wrong_of), dtype=torch.float64))
    least = torch.full((n,), torch.inf, dtype=torch.float64).scatter_reduce(0, wrong_of, wrong_losses, "amin")
    over = torch.zeros(n, dtype=torch.float64).index_add(0, wrong_of, (least[wrong_of] - wrong_losses).exp())
    return torch.where(counts > 0, over.log() - counts.log() - least + restated_losses, torch.nan)


def _run(count: Tensor) -> Tensor:
    """The answer that each token belongs to, (tokens,)."""
    return torch.arange(len(count)).repeat_interleave(count)


def _place(count: Tensor) -> Tensor:
    """The place of each token in its answer, from 0, (tokens,)."""
    return torch.arange(int(count.sum())) - (count.cumsum(0) - count)[_run(count)]
