"""95% intervals that stay within what is possible, for one trained model: over its samples, not over seeds.

Wilson's interval (1927) of a share; of a paired difference of shares the one that is made of two of Wilson's and their
correlation (Newcombe 1998, Statistics in Medicine 17, 2635-2650). Values may lie anywhere in [0, 1]: their variance is
at most p (1 - p), so that both are too wide rather than too narrow.
"""

from typing import NamedTuple

import numpy as np

from unlearnkit.core.statistics import interval_text

Z = 1.959964  # the 97.5% quantile of the normal distribution
DRAWS = 2000  # of a bootstrap


class Interval(NamedTuple):
    """value, low, high, and n, the number of samples that it is over. NaN: without samples, or masked."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        value, low, high = (round(v, 2) + 0.0 for v in self[:3])  # no -0.00
        return interval_text(value, low, high)


def share(values: np.ndarray) -> Interval:
    """The mean of values in [0, 1], (n,)."""
    n = len(values)
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0)
    p = float(np.mean(values))
    centre, half = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + Z**2 / n), (centre + half) / (1 + Z**2 / n)
    return Interval(p, float(max(min(low, p), 0)), float(min(max(high, p), 1)), n)


def less(found: Interval, constant: float) -> Interval:
    """The interval of what was found, less a constant."""
    return Interval(found.value - constant, found.low - constant, found.high - constant, found.n)


def difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """mean(a) - mean(b) of paired values in [0, 1], (n,) each; within [-1, 1]."""
    (p, p_low, p_high, n), (q, q_low, q_high, _) = share(a), share(b)
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0)
    spread = float(np.std(a) * np.std(b))
    r = float(np.mean((a - p) * (b - q))) / spread if spread > 0 else 0.0
    below = (p - p_low) ** 2 - 2 * r * (p - p_low) * (q_high - q) + (q_high - q) ** 2
    above = (p_high - p) ** 2 - 2 * r * (p_high - p) * (q - q_low) + (q - q_low) ** 2
    return Interval(p - q, float(p - q - np.sqrt(max(below, 0))), float(p - q + np.sqrt(max(above, 0))), n)


def ratio(above: np.ndarray, below: np.ndarray) -> Interval:
    """mean(above) / mean(below), paired, (n,) each: percentiles of a bootstrap over samples, from a fixed seed. Masked
    (NaN) where the interval of the denominator holds 0, and for a single sample."""
    n, generator = len(above), np.random.default_rng(0)
    masked = Interval(np.nan, np.nan, np.nan, n)
    if n < 2:
        return masked
    weights = generator.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n  # (draws, n)
    over, under = weights @ above, weights @ below
    low, high = np.quantile(under, (0.025, 0.975))
    if low <= 0 <= high:
        return masked
    low, high = np.quantile(over / under, (0.025, 0.975))
    return Interval(float(above.mean() / below.mean()), float(low), float(high), n)
