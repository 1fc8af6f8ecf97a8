"""Rank correlation of per-sample quantities, plain and partial, with intervals over seeds and over samples."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from unlearnkit.core.statistics import LEVEL, mean_interval

ROUNDS = 500  # of the bootstrap


def _centred(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, ties sharing their mean rank, with mean 0."""
    ranks = rankdata(values, axis=-1)
    return ranks - ranks.mean(-1, keepdims=True)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of centred ranks, whose squares sum to about n^3 / 12 for n samples; NaN where one is constant, to rounding."""
    aa, bb = (a * a).sum(-1), (b * b).sum(-1)
    known = (aa > 1e-9 * a.shape[-1]) & (bb > 1e-9 * a.shape[-1])
    return np.divide((a * b).sum(-1), np.sqrt(aa * bb), out=np.full(aa.shape, np.nan), where=known)


def spearman(a, b) -> np.ndarray:
    """Spearman's correlation along the last axis. a, b: (..., n); NaN where one of them is constant."""
    return _cosine(_centred(np.asarray(a, float)), _centred(np.asarray(b, float)))


def partial_spearman(a, b, given) -> np.ndarray:
    """Spearman's correlation of a and b with `given` held fixed, along the last axis: the correlation of the residuals
    of their ranks after a linear regression on the ranks of `given`. NaN where one of them has no residual."""
    a, b, c = (_centred(np.asarray(v, float)) for v in (a, b, given))
    square = (c * c).sum(-1, keepdims=True)
    share = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    a, b = (v - c * (v * c).sum(-1, keepdims=True) * share for v in (a, b))
    return _cosine(a, b)


def partial_given_two(a, b, first, second) -> np.ndarray:
    """`partial_spearman` where the variable held fixed is known from two noisy measurements alone, along the last axis.

    Holding their mean fixed leaves some of the variable free, and what a and b both owe to it would pass for a
    correlation of their own. So their correlations with it are divided by the root of its reliability, 2 r / (1 + r)
    with r the correlation of the two measurements (Spearman and Brown), before it is taken out. NaN where noise
    explains it all: r at 0 or below, or a corrected correlation at 1. Source: Stouffer 1936, on partial correlation
    with an unreliable variable; on ranks: ours.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    a, b, c = (_centred(np.asarray(v, float)) for v in (a, b, (first + second) / 2))
    r, ab, ac, bc = spearman(first, second), _cosine(a, b), _cosine(a, c), _cosine(b, c)
    with np.errstate(divide="ignore", invalid="ignore"):
        reliability = np.where(r > 0, 2 * r / (1 + r), np.nan)
        left = (1 - ac**2 / reliability) * (1 - bc**2 / reliability)
        known = (ac**2 < reliability) & (bc**2 < reliability)
        return np.clip(np.where(known, (ab - ac * bc / reliability) / np.sqrt(left), np.nan), -1, 1)


def over_samples(
    statistic: Callable[..., np.ndarray], seeds: Sequence[Sequence[np.ndarray]], rounds: int = ROUNDS
) -> tuple[float, float]:
    """95% percentile interval of the mean over seeds of statistic(*columns), by a bootstrap of each seed's samples.
    seeds: for each seed the columns, (n,) each. (NaN, NaN) if the statistic has no value on a seed."""
    generator, total = np.random.default_rng(0), np.zeros(rounds)
    for columns in seeds:
        rows = generator.integers(len(columns[0]), size=(rounds, len(columns[0])))
        total += statistic(*(np.asarray(column)[rows] for column in columns))
    low, high = np.nanquantile(total, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]) if np.isfinite(total).any() else (np.nan,) * 2
    return float(low / len(seeds)), float(high / len(seeds))


def over_seeds(
    statistic: Callable[..., np.ndarray], seeds: Sequence[Sequence[np.ndarray]]
) -> dict[str, float | int | None]:
    """{mean, low, high, n, low_samples, high_samples, samples}: the mean over seeds of statistic(*columns), with a t
    interval over seeds and one over samples (`over_samples`); samples: their number over all seeds. Seeds where the
    statistic is undefined (a column is constant) are left out; n counts the others."""
    values = [float(statistic(*columns)) for columns in seeds]
    known = [columns for columns, value in zip(seeds, values, strict=True) if np.isfinite(value)]
    if not known:
        empty = dict.fromkeys(("mean", "low", "high", "low_samples", "high_samples"))
        return empty | {"n": 0, "samples": 0}
    low, high = over_samples(statistic, known)
    interval = mean_interval([v for v in values if np.isfinite(v)], (-1.0, 1.0))
    return interval | {"low_samples": low, "high_samples": high, "samples": sum(len(columns[0]) for columns in known)}
