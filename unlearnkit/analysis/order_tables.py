"""From scores of orders of forgetting to T8: means, differences to one-shot, contrasts between orders and their families."""

import pandas as pd
from scipy.special import stdtr

from unlearnkit.analysis.forgetting_order import ONE_SHOT, ORDERS, STRATA
from unlearnkit.core.bootstrap import holm
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.methods import methods

PRIMARY = {"contrast": "descending - ascending", "metrics": ("ToW_MIA", "phi_gap")}  # named before any run
ROW = ["base", "order", "batches"]
COLUMNS = {  # column: metric, stratum
    "ToW": ("ToW", "all"),
    "ToW_MIA": ("ToW-MIA", "all"),
    "LiRA_gap": ("LiRA-gap", "all"),
    "phi_gap": ("phi-gap", "all"),
    **{f"{name.lower()}_gap_{s}_risk": (f"{name}-gap", s) for name in ("FA", "phi") for s in STRATA},
    "FA": ("FA", "all"),
    "RA": ("RA", "all"),
    "TA": ("TA", "all"),
    "steps": ("steps", "all"),
    "seconds": ("seconds", "all"),
}
COUNTS = {"n_refused": "refused", "n_diverged": "diverged"}  # column: metric
PAIRED = ("ToW", "ToW_MIA", "LiRA_gap", "phi_gap", "TA", "seconds")  # whose difference to one-shot is shown, too


def order_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per config, base, order and number of batches: means over n_seeds seeds with 95% intervals, and
    `..._minus_one_shot`, the difference to one-shot of the same base and seed. n_refused, n_diverged: on how many
    seeds, which are in no mean. scores: of unlearnkit.analysis.forgetting_order.order_scores.
    """
    values = _wide(scores)
    one_shot = values.xs(ONE_SHOT, level="order").droplevel("batches")
    keys = [*CONDITION_COLUMNS, *ROW]
    runs = scores.groupby(keys, sort=False).run.agg(lambda run: " ".join(sorted(set(run))))
    rows = []
    for index, run in runs.items():
        key = dict(zip(keys, index, strict=True))
        own = values.loc[index]  # (seeds, (metric, stratum))
        row = key | {"n_seeds": int(own["ToW", "all"].count())}
        for name, column in COLUMNS.items():
            row |= interval_columns(name, own[column])
            if name in PAIRED and key["order"] in ORDERS:
                paired = one_shot.loc[(*index[: len(CONDITION_COLUMNS)], key["base"])][column]
                row |= interval_columns(f"{name.lower()}_minus_one_shot", own[column] - paired)
        rows.append(row | {name: int(own[metric, "all"].count()) for name, metric in COUNTS.items()} | {"run": run})
    return pd.DataFrame(rows)


def order_contrasts(scores: pd.DataFrame, first: str = "descending", second: str = "ascending") -> pd.DataFrame:
    """One row per config, number of batches, base and metric of PAIRED: the mean over n_seeds seeds of `first` less
    `second`, paired, with its interval and p, of a two-sided t test; base "all" is the mean over the bases that have both on
    a seed and read the forget set."""
    values, rows, keys = _wide(scores), [], [*CONDITION_COLUMNS, "batches"]
    differences = values.xs(first, level="order") - values.xs(second, level="order")
    for index, part in differences.groupby(level=keys):
        run = " ".join(sorted(scores[scores.order.isin([first, second]) & (scores.batches == index[-1])].run.unique()))
        for name in PAIRED:
            by_base = part[COLUMNS[name]].droplevel(keys).unstack("base")  # (seeds, bases)
            reading = [base for base in by_base if methods[base].info["reads_forget_set"]]
            by_base = by_base.assign(all=by_base[reading].mean(axis=1)).dropna(axis=1, how="all")
            for base, difference in by_base.items():
                row = dict(zip(keys, index, strict=True)) | {"base": base, "metric": name}
                row |= interval_columns("difference", difference) | {"p": _p_of_no_difference(difference.dropna())}
                rows.append(row | {"n_seeds": int(difference.count()), "run": run})
    return pd.DataFrame(rows)


def _p_of_no_difference(values: pd.Series) -> float | None:
    """Two-sided p-value of a t test that the mean is 0; None with fewer than two values, or if all are the same."""
    if len(values) < 2 or not values.std():
        return None
    return float(2 * stdtr(len(values) - 1, -abs(values.mean()) / values.sem()))


def in_families(contrasts: pd.DataFrame) -> pd.DataFrame:
    """The contrasts, with a column `contrast`, with their family, "primary" (those of PRIMARY, over all bases) or
    "exploratory", and p_adjusted, Holm's within the family."""
    named = (
        contrasts.contrast.eq(PRIMARY["contrast"])
        & contrasts.metric.isin(PRIMARY["metrics"])
        & contrasts.base.eq("all")
    )
    table = contrasts.reset_index(drop=True).assign(
        family=named.map({True: "primary", False: "exploratory"}).to_numpy()
    )
    tested = table[table.p.notna()]
    adjusted = [pd.Series(holm(dict(part.p)), dtype=float) for _, part in tested.groupby("family")]
    return table.assign(p_adjusted=pd.concat(adjusted) if adjusted else None)


def _wide(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows: config, base, order, batches, seed; columns: (metric, stratum), all that tables are made from."""
    index = [*CONDITION_COLUMNS, *ROW, "seed", "metric", "stratum"]
    wide = scores.set_index(index).value.unstack(["metric", "stratum"])
    wanted = [*COLUMNS.values(), *((metric, "all") for metric in COUNTS.values())]
    return wide.reindex(columns=pd.MultiIndex.from_tuples(dict.fromkeys(wanted))).sort_index()
