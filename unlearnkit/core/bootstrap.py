"""Inference over seeds and targets: a hierarchical bootstrap, and what is read from its draws.

The unit is the target within a seed: seeds are drawn with replacement, then in each drawn seed its targets. All intervals
are percentile intervals of 2,000 draws, so a mean of shares stays within [0, 1]. What is compared is drawn together:
methods on the same targets by the same weights, doses, which have other targets, by the same seeds.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue

N_DRAWS = 2000
LEVEL = 0.95


def weights(seeds: Sequence[Hashable], *, arm: Hashable = "", seed: int = 0, n_draws: int = N_DRAWS) -> np.ndarray:
    """How often each row stands in each draw, (n_draws, rows).

    seeds: of each row, one row per target; arm: rows of other arms (kind of target, dose) draw the same seeds and targets
    of their own. One seed alone is kept in every draw, whose spread is then that of its targets.

    Raises BadValue without rows.
    """
    names, place = np.unique(np.asarray(seeds, dtype=str), return_inverse=True)
    if not len(names):
        raise BadValue("nothing to draw from: there is no target")
    rng = np.random.default_rng(derive(seed, "bootstrap"))
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)  # (n_draws, seeds)
    targets = np.random.default_rng(derive(seed, "bootstrap", arm))
    out = np.zeros((n_draws, len(place)))
    for number in range(len(names)):
        rows = np.flatnonzero(place == number)
        times = drawn[:, number]
        out[:, rows] = targets.multinomial(times * len(rows), np.full(len(rows), 1 / len(rows)))
    return out


def means(values: Sequence[float], draws: np.ndarray) -> np.ndarray:
    """The mean of each draw, (n_draws,). values: (rows,), NaN for a target without one, which is left out."""
    v = np.asarray(values, dtype=float)
    there = np.isfinite(v)
    if there.all():  # nothing to copy, as nearly always
        return draws @ v / draws.sum(1)
    with np.errstate(invalid="ignore"):
        return draws[:, there] @ v[there] / draws[:, there].sum(1)


def interval(estimate: float, draws: np.ndarray, level: float = LEVEL) -> dict[str, float]:
    """{mean, low, high}: the estimate with the percentile interval of its draws; those that are not finite do not count."""
    low, high = np.nanpercentile(draws, [50 * (1 - level), 50 * (1 + level)])
    return {"mean": float(estimate), "low": float(min(low, estimate)), "high": float(max(high, estimate))}


def mean(values: Sequence[float], seeds: Sequence[Hashable], **how) -> dict[str, float]:
    """{mean, low, high} of values, one per target. how: as of `weights`."""
    return interval(float(np.nanmean(np.asarray(values, dtype=float))), means(values, weights(seeds, **how)))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below draw by draw, NaN where below is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(above, dtype=float) / np.asarray(below, dtype=float)
    return np.where(np.isfinite(found), found, np.nan)


def holds_zero(draws: np.ndarray, level: float = LEVEL) -> bool:
    """Whether the percentile interval of the draws holds 0."""
    low, high = np.nanpercentile(draws, [50 * (1 - level), 50 * (1 + level)])
    return bool(low <= 0 <= high)


def p_value(draws: np.ndarray) -> float:
    """Two-sided, of the hypothesis that what was drawn is 0; at least 2 / (n_draws + 1), which the draws resolve."""
    n = len(draws)
    below, above = (np.sum(draws <= 0) + 1) / (n + 1), (np.sum(draws >= 0) + 1) / (n + 1)
    return float(min(1.0, 2 * min(below, above)))


def p_equivalent(draws: np.ndarray, margin: float) -> float:
    """Of two one-sided tests: of the hypothesis that what was drawn is at least `margin` away from 0. A small one says that
    it is equivalent to 0. Source: Schuirmann 1987. Raises BadValue for a margin that is not above 0."""
    if not margin > 0:
        raise BadValue(f"an equivalence margin must be above 0, got {margin}")
    n = len(draws)
    return float(max((np.sum(draws <= -margin) + 1) / (n + 1), (np.sum(draws >= margin) + 1) / (n + 1)))


def holm(p: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Adjusted p-values of a family of tests, by name. Source: Holm 1979."""
    order = sorted(p, key=p.__getitem__)
    adjusted, largest = {}, 0.0
    for place, name in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}
