"""Which rows may be called unlearned at all: those whose model still works."""

import pandas as pd

from unlearnkit.analysis.influence import USABLE
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.study import BASELINES, INITIAL, REFERENCE_ROWS

# to judge the others by: they are no attempts to unlearn
REFERENCES = {*BASELINES, *REFERENCE_ROWS, "retrain", INITIAL}
UTILITY = ("model_utility", "TA")  # the first that a table has
GATES = ("usable", "moved")  # columns of a table that keeps them itself
FURTHER = (
    "profile",
    "augment",
    "control",
    "protocol",
    "depth",
    "layer",
)  # columns beside a condition's by which rows are told apart


def unusable(rows: pd.DataFrame, utility: pd.Series) -> pd.Series:
    """True for each row whose `utility` is more than USABLE below that of `retrain` in the same condition, (n,).

    rows: columns method and those of conditions; utility: (n,), same index. False where either number is not there.
    """
    names = [c for c in (*FURTHER[:1], *CONDITION_COLUMNS, *FURTHER[1:]) if c in rows and c != "method"]
    condition = rows[names].astype(str).agg("\t".join, axis=1) if names else pd.Series("", index=rows.index)
    of_retrain = utility[rows.method == "retrain"].groupby(condition).mean()
    return (utility - condition.map(of_retrain)) < -USABLE


def apart(table: pd.DataFrame) -> list[bool]:
    """For each row of a published table whether it stands apart: by its own columns GATES, or else by `unusable`."""
    own = [c for c in GATES if c in table]
    if own:
        failed = table[own].map(str).isin(["False", "0"]).any(axis=1)
        return (failed & ~table.method.isin(REFERENCES)).tolist() if "method" in table else failed.tolist()
    names = [c for c in UTILITY if c in table]
    if "method" not in table or not names:
        return [False] * len(table)
    return unusable(table, pd.to_numeric(table[names[0]], errors="coerce")).tolist()
