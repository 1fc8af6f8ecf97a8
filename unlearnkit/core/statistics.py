"""From scores of single seeds to tables: means with intervals over seeds, and the order of rows."""

import re
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
ROW_ORDER = ("original", "retrain", "", "clean", "clean-again", "initial")  # "": every other method, by name


# --- intervals -------------------------------------------------------------------------------------------------------

FEWEST = 3  # seeds that an interval over seeds takes: of two, it says more of the t distribution than of the seeds
UNIT = re.compile(  # columns and metrics whose values lie between 0 and 1
    "UA|FA|RA|TA|MIA(-.*)?|ToW|ToW.MIA|LP|LP_target|NMI|F1|DA|DA_test|CKA|CKA_target|k-NN|ZRF|ASR|ASR_targets|U-LiRA.*"
    "|precision|recall|label_given|rouge_l|ROUGE-L|gap_(retrain|clean)|avg-gap|fa_gap_.*|reconstruction_residual|probability"
    "|influence-rank|min-k|forget-quality|model-utility|exact-memorisation|extraction-strength"
    "|(.*_)?(share|tpr)_.*|(.*[-_])?accuracy(_vs_.*)?"
)
SIGNED = re.compile("spearman|tau|ssim.*|neighbour.cost|r2.*|cosine|embedding-cosine")  # between -1 and 1
POSITIVE = re.compile(  # 0 or more
    "seconds(_ratio)?|steps(_ratio)?|RTE|KL|JS|ES|KLoM|loss|perplexity|relearn(_steps)?|truth-ratio|distance"
    "|noise_floor|kkt_.*|.*_total_variation"
)
FROM_ONE = re.compile("effective[-_]rank.*")  # 1 or more, but 0 where all features are 0
LEARNT = 0.95  # share of targets that the original must give their label, or there is nothing to forget
LABELS_GIVEN = ("fact-accuracy", "accuracy")  # metrics of targets that say whether; the first that there is
GUESSED = 0.5  # random targets of which clean gives more their label need not be learnt


def bounds(name: str) -> tuple[float, float]:
    """Between which values a column of this name can lie at all."""
    every = (UNIT, (0.0, 1.0)), (SIGNED, (-1.0, 1.0)), (POSITIVE, (0.0, np.inf)), (FROM_ONE, (1.0, np.inf))
    for names, ends in every:
        if names.fullmatch(name):
            return ends
    return -np.inf, np.inf


def mean_interval(
    values: Sequence[float], within: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, float | int | None]:
    """{mean, low, high, n}: a t interval over seeds, cut off where no mean can be, see `bounds`.

    Fewer than FEWEST seeds have none: low and high are None.
    """
    v = np.asarray(values, dtype=float)
    mean, n = float(v.mean()), len(v)
    if n < FEWEST:
        return {"mean": mean, "low": None, "high": None, "n": n}
    half = stdtrit(n - 1, 0.5 + LEVEL / 2) * v.std(ddof=1) / np.sqrt(n)
    low, high = max(mean - half, min(within[0], mean)), min(mean + half, max(within[1], mean))
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}


def interval_columns(name: str, values: Mapping | Sequence[float] | pd.Series) -> dict[str, float | None]:
    """{name, name_low, name_high}, the columns of an interval in every table.

    values: an interval {mean, low, high}, or values of seeds, whose t interval is taken: NaN are left out, and without
    any other value all three are None.
    """
    if not isinstance(values, Mapping):
        values = pd.Series(values, dtype=float).dropna()
        values = mean_interval(values, bounds(name)) if len(values) else {}
    return {name: values.get("mean"), f"{name}_low": values.get("low"), f"{name}_high": values.get("high")}


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> dict[str, float | int | None]:
    """{mean, low, high, n} of mean(above) / mean(below), paired by seed, with Fieller's interval.

    Masked (mean, low and high None) where the denominator's own t interval holds 0: Fieller's interval is then
    unbounded, the ratio of two noises. Fewer than FEWEST seeds: the plain ratio without an interval.
    Source: Fieller 1954, Some problems in interval estimation.
    """
    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    n = len(a)
    if n < FEWEST:
        return {"mean": float(a.mean() / b.mean()) if b.mean() else None, "low": None, "high": None, "n": n}
    t2 = stdtrit(n - 1, 0.5 + LEVEL / 2) ** 2 / n
    (vaa, vab), (_, vbb) = np.cov(a, b)
    ma, mb = a.mean(), b.mean()
    square, middle, constant = mb**2 - t2 * vbb, ma * mb - t2 * vab, ma**2 - t2 * vaa
    if square <= 0:
        return {"mean": None, "low": None, "high": None, "n": n}
    root = np.sqrt(max(middle**2 - square * constant, 0.0))
    low, high = float((middle - root) / square), float((middle + root) / square)
    return {"mean": float(ma / mb), "low": low, "high": high, "n": n}


# --- tables of means -------------------------------------------------------------------------------------------------


def summarise(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    """One row per config and method; per column its mean over n_seeds seeds, `<column>_low` and `<column>_high`; and
    n_diverged, the number of further seeds on which the method diverged. A column that has no value on some of the
    n_seeds has a `<column>_n` of its own.

    scores: the tidy table; columns: {name: (metric, group, reference)}.
    """
    intervals = {}
    for name, key in columns.items():
        groups = _pick(scores, *key).groupby(level=[*CONDITION_COLUMNS, "method"])
        intervals[name] = pd.Series({index: mean_interval(values, bounds(name)) for index, values in groups})
    diverged = _pick(scores, "diverged", "all", "").groupby(level=[*CONDITION_COLUMNS, "method"]).size()
    index = scores.set_index([*CONDITION_COLUMNS, "method"]).index.unique().sort_values()
    table = pd.DataFrame(intervals).reindex(index)
    table.index.names = [*CONDITION_COLUMNS, "method"]
    table = _spread(table)
    n_diverged = diverged.reindex(table.index).fillna(0).astype(int)
    return table.assign(n_seeds=table.n_seeds.fillna(0), n_diverged=n_diverged)


def residual_influence(
    scores: pd.DataFrame,
    metric: str = "influence",
    name: str = "residual_influence",
    less: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Residual influence of the forget set, one row per config and method: columns `name`, `name`_low, `name`_high,
    n_seeds, learnt.

    The residual influence of a method M is (s(M) - s(clean)) / (s(original) - s(clean)), with s the `metric` of
    the targets: 1 when nothing was removed, 0 when as little is left as in a model that saw neither the targets nor
    their near-duplicates. A ratio of means over seeds with Fieller's interval, masked where the denominator is within
    noise: over all seeds, or over those on which the method did not diverge; and where the targets are not learnt: the
    original gives fewer than LEARNT of them their label, or of texts tells fewer of their facts. Random targets that
    `clean` GUESSED are exempt, and so are scores that do not say what the original gives. less: {method: another}, whose
    residual influence is subtracted, paired by seed; rows of these methods alone, where both were measured. Source: our
    measure of P1's claim; the metric "influence-rank" has the same by ranks among decoys. scores must hold the rows
    "original" and "clean".
    """
    s = _pick(scores, metric, "target", "").unstack("method")
    given = _given(scores)
    rows, learnt = {}, {}
    for config, by_seed in s.groupby(level=CONDITION_COLUMNS):
        below = by_seed["original"] - by_seed["clean"]
        learnt[config] = _learnt(config, given.loc[config]) if config in given.index else True
        noise = not learnt[config] or ratio_interval(below, below)["mean"] is None
        for method, other in (less or dict.fromkeys(by_seed, "clean")).items():
            if not {method, other} <= {*by_seed}:
                continue
            above = (by_seed[method] - by_seed[other]).dropna()
            if len(above):
                masked = {"mean": None, "low": None, "high": None, "n": len(above)}
                rows[(*config, method)] = masked if noise else ratio_interval(above, below[above.index])
    index = pd.MultiIndex.from_tuples(rows, names=[*CONDITION_COLUMNS, "method"])
    table = _spread(pd.DataFrame({name: list(rows.values())}, index=index))
    return table.assign(learnt=[learnt[row[:-1]] for row in rows])


def _given(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean share of targets given their label, by condition and method: of texts, of facts told, where they have any."""
    shares = [_pick(scores, metric, "target", "") for metric in LABELS_GIVEN]
    return shares[0].combine_first(shares[1]).unstack("method").groupby(level=CONDITION_COLUMNS).mean()


def _learnt(config: tuple, given: pd.Series) -> bool:
    guessed = config[CONDITION_COLUMNS.index("targets")] == "random" and given.get("clean", 0.0) > GUESSED
    return bool(guessed or not given.get("original", np.nan) < LEARNT - 1e-6)  # stored shares are rounded to float32


def _pick(scores: pd.DataFrame, metric: str, group: str, reference: str) -> pd.Series:
    chosen = scores[(scores.metric == metric) & (scores.group == group) & (scores.reference == reference)]
    values = chosen.set_index([*CONDITION_COLUMNS, "method", "seed"]).value
    if values.index.has_duplicates:  # which would count as so many more seeds
        twice = values.index[values.index.duplicated()][0]
        raise BadValue(f"more than one {metric} of one seed: {dict(zip(values.index.names, twice, strict=True))}")
    return values


def _spread(intervals: pd.DataFrame) -> pd.DataFrame:
    """Columns of {mean, low, high, n} -> plain columns, and one n_seeds for all, and a `<column>_n` for those with
    fewer."""
    columns, seeds = {}, {}
    for name in intervals:
        rows = [{} if not isinstance(d, dict) else d for d in intervals[name]]
        part = pd.DataFrame(rows, index=intervals.index).reindex(columns=["mean", "low", "high", "n"])
        columns |= {name: part["mean"], f"{name}_low": part["low"], f"{name}_high": part["high"]}
        seeds[f"{name}_n"] = part["n"].astype("Int64")
    n = pd.DataFrame(seeds).max(axis=1)
    fewer = {name: count for name, count in seeds.items() if (count < n).any()}
    return pd.DataFrame({k: v.astype(float) for k, v in columns.items()} | fewer | {"n_seeds": n.astype("Int64")})


def in_row_order(
    table: pd.DataFrame, by: Sequence[str] = ("method",), order: Sequence[str] = ROW_ORDER
) -> pd.DataFrame:
    """The table with the rows of a condition together and its methods between the references, as `order` has them; rows
    of one place are sorted by the columns `by`. Its index, if it has names, becomes columns."""
    place = {name: i for i, name in enumerate(order)}
    table = table.reset_index() if table.index.names != [None] else table
    table = table.assign(_place=table.method.map(lambda method: place.get(method, place[""])))
    conditions = [name for name in CONDITION_COLUMNS if name in table]
    return table.sort_values([*conditions, "_place", *by], ignore_index=True).drop(columns="_place")


def shown(table: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """For reading: each column with its interval as "0.93 [0.88, 0.98]", "0.93 (n = 1, no interval)", or "-" where
    there is no value or it is masked."""
    out = pd.DataFrame(index=table.index)
    for name in table:
        if f"{name}_low" not in table:
            if not name.endswith(("_low", "_high", "_n")):
                out[name] = table[name]
            continue
        n = table.get(f"{name}_n", table["n_seeds"])
        rows = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], n, strict=True)
        out[name] = [_text(*row, digits) for row in rows]
    return out


def _text(mean, low, high, n, digits: int) -> str:
    if pd.isna(mean):
        return "-"
    if pd.isna(low) or low == "":  # a published column without any number is one of empty texts
        return unbroken(f"{mean:.{digits}f} (n = {n}, no interval)")
    return interval_text(mean, low, high, digits)


def interval_text(mean: float, low: float, high: float, digits: int = 2) -> str:
    """The text "0.93 [0.88, 0.98]", on one line in whatever shows it."""
    return unbroken(f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")


def unbroken(text: str) -> str:
    """A text whose spaces are such that no line breaks there: a style is lost where notebooks are shown without it."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")
