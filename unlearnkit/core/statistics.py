"""From scores of single seeds to numbers with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit  # the t quantile; scipy.stats takes a second to import

from unlearnkit.core.errors import BadValue

CONDITION_COLUMNS = [
    "dataset",
    "train_size",
    "targets",
    "copies",
    "perturbation",
    "strength",
    "similarity_level",
    "architecture",
]
LEVEL = 0.95


def mean_interval(values: Sequence[float]) -> dict[str, float | int | None]:
    """{mean, low, high, n}: a t interval over seeds. One seed has no interval: low and high are None."""
    v = np.asarray(values, dtype=float)
    n = len(v)
    if n < 2:
        return {"mean": float(v.mean()), "low": None, "high": None, "n": n}
    half = stdtrit(n - 1, 0.5 + LEVEL / 2) * v.std(ddof=1) / np.sqrt(n)
    return {"mean": float(v.mean()), "low": float(v.mean() - half), "high": float(v.mean() + half), "n": n}


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> dict[str, float | int | None]:
    """{mean, low, high, n} of mean(above) / mean(below), paired by seed, with Fieller's interval.

    Masked (mean, low and high None) where the denominator's own t interval holds 0: Fieller's interval is then
    unbounded, the ratio of two noises. One seed: the plain ratio without an interval.
    Source: Fieller 1954, Some problems in interval estimation.
    """
    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    n = len(a)
    if n < 2:
        return {"mean": float(a[0] / b[0]) if b[0] else None, "low": None, "high": None, "n": n}
    t2 = stdtrit(n - 1, 0.5 + LEVEL / 2) ** 2 / n
    (vaa, vab), (_, vbb) = np.cov(a, b)
    ma, mb = a.mean(), b.mean()
    square, middle, constant = mb**2 - t2 * vbb, ma * mb - t2 * vab, ma**2 - t2 * vaa
    if square <= 0:
        return {"mean": None, "low": None, "high": None, "n": n}
    root = np.sqrt(max(middle**2 - square * constant, 0.0))
    return {
        "mean": float(ma / mb),
        "low": float((middle - root) / square),
        "high": float((middle + root) / square),
        "n": n,
    }


def summarise(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    """One row per config and method; per column its mean over seeds, `<column>_low` and `_high`; n seeds, and on how many
    more the method diverged. A column that has no value on some of the n has a `<column>_n` of its own.

    scores: the tidy table; columns: {name: (metric, group, reference)}.
    """
    found = {}
    for name, key in columns.items():
        groups = _pick(scores, *key).groupby(level=[*CONDITION_COLUMNS, "method"])
        found[name] = pd.Series({index: mean_interval(values) for index, values in groups})
    lost = _pick(scores, "diverged", "all", "").groupby(level=[*CONDITION_COLUMNS, "method"]).size()
    table = pd.DataFrame(found).reindex(scores.set_index([*CONDITION_COLUMNS, "method"]).index.unique().sort_values())
    table.index.names = [*CONDITION_COLUMNS, "method"]
    table = _spread(table)
    return table.assign(n=table.n.fillna(0), diverged=lost.reindex(table.index).fillna(0).astype(int))


def residual_influence(scores: pd.DataFrame, metric: str = "phi") -> pd.DataFrame:
    """Residual influence of the targets, one row per config and method: rho, rho_low, rho_high, n.

    rho = (s(M) - s(clean)) / (s(original) - s(clean)), with s the mean `metric` over the targets: 1 when nothing was
    removed, 0 when as little is left as in a model that saw neither targets nor similar samples. A ratio of means over
    seeds with Fieller's interval, masked where the denominator is within noise: over all seeds, or over those on which the
    method did not diverge. Source: our measure of P1's claim; with metric="phi-decoy" what the model knows of samples like
    the targets is taken off first.
    scores must hold the rows "original" and "clean".
    """
    s = _pick(scores, metric, "target", "").unstack("method")
    rows = {}
    for config, by_seed in s.groupby(level=CONDITION_COLUMNS):
        below = by_seed["original"] - by_seed["clean"]
        noise = ratio_interval(below, below)["mean"] is None
        for method in by_seed:
            above = (by_seed[method] - by_seed["clean"]).dropna()
            if len(above):
                masked = {"mean": None, "low": None, "high": None, "n": len(above)}
                rows[(*config, method)] = masked if noise else ratio_interval(above, below[above.index])
    index = pd.MultiIndex.from_tuples(rows, names=[*CONDITION_COLUMNS, "method"])
    return _spread(pd.DataFrame({"rho": list(rows.values())}, index=index))


def _pick(scores: pd.DataFrame, metric: str, group: str, reference: str) -> pd.Series:
    chosen = scores[(scores.metric == metric) & (scores.group == group) & (scores.reference == reference)]
    found = chosen.set_index([*CONDITION_COLUMNS, "method", "seed"]).value
    if found.index.has_duplicates:  # which would count as so many more seeds
        twice = found.index[found.index.duplicated()][0]
        raise BadValue(f"more than one {metric} of one seed: {dict(zip(found.index.names, twice, strict=True))}")
    return found


def _spread(found: pd.DataFrame) -> pd.DataFrame:
    """Columns of {mean, low, high, n} -> plain columns, and one n for all, and for those that have less another."""
    out, seeds = {}, {}
    for name in found:
        part = pd.DataFrame([{} if not isinstance(d, dict) else d for d in found[name]], index=found.index)
        part = part.reindex(columns=["mean", "low", "high", "n"])
        out |= {name: part["mean"], f"{name}_low": part["low"], f"{name}_high": part["high"]}
        seeds[f"{name}_n"] = part["n"].astype("Int64")
    n = pd.DataFrame(seeds).max(axis=1)
    fewer = {name: count for name, count in seeds.items() if (count < n).any()}
    return pd.DataFrame({k: v.astype(float) for k, v in out.items()} | fewer | {"n": n.astype("Int64")})


def shown(table: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """For reading: each column with its interval as "0.93 [0.88, 0.98]", "0.93 (n = 1, no interval)", or "-" where there is
    no value or it is masked."""
    out = pd.DataFrame(index=table.index)
    for name in table:
        if f"{name}_low" not in table:
            if not name.endswith(("_low", "_high", "_n")):
                out[name] = table[name]
            continue
        n = table.get(f"{name}_n", table["n"])
        rows = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], n, strict=True)
        out[name] = [_text(*row, digits) for row in rows]
    return out


def _text(mean, low, high, n, digits: int) -> str:
    if pd.isna(mean):
        return "-"
    if pd.isna(low):
        return f"{mean:.{digits}f} (n = {n}, no interval)"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
