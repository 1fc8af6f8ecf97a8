"""Is a variant of a method as good as the method? Two one-sided tests of the difference of their gaps to retraining."""

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from unlearnkit.core.statistics import FEWEST, interval_columns

MARGIN = 0.1  # of the scale from retraining, a gap of 0, to the model before unlearning; stated beforehand
LEVEL = 0.05  # of each of the two tests, so that the interval beside them is one of 90%
COLUMNS = ("gap_over_full", "equivalence_margin", "p_equivalence")


def two_one_sided(differences: np.ndarray, margin: float) -> dict[str, float | None]:
    """{mean, low, high, p} of paired differences, (n,): the t interval of 90% and the p-value of two one-sided t tests that
    the mean is within +-margin; p below LEVEL is where the interval lies within the margin. Of fewer than FEWEST
    differences only the mean. Source: Schuirmann 1987.
    """
    n, mean = len(differences), float(np.mean(differences)) if len(differences) else None
    if n < FEWEST:
        return {"mean": mean, "low": None, "high": None, "p": None}
    assert mean is not None
    error = float(np.std(differences, ddof=1) / np.sqrt(n))
    half = float(stdtrit(n - 1, 1 - LEVEL)) * error
    if error == 0:
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        p = float(max(stdtr(n - 1, (mean - margin) / error), stdtr(n - 1, -(mean + margin) / error)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "p": p}


def with_equivalence(table: pd.DataFrame, scores: pd.DataFrame, full: str = "muda") -> pd.DataFrame:
    """The table of unlearnkit.analysis.tables.features_table with, for each row but references: gap_over_full with its 90%
    interval, the gap to retraining less that of the method `full` of the same seed; equivalence_margin, MARGIN of the
    original's gap; p_equivalence, of `two_one_sided`. scores: the tidy table that the table was made from."""
    gaps = scores[(scores.metric == "avg-gap") & (scores.reference == "retrain")]
    keys = ["dataset", "architecture", "protocol", "method"]
    by_seed = gaps.set_index([*keys, "seed"]).value.unstack("seed")
    rows = []
    for index in table.set_index(keys).index:
        row = dict.fromkeys((*interval_columns(COLUMNS[0], {}), *COLUMNS[1:]))
        whole, original = (*index[:-1], full), (*index[:-1], "original")
        if all(key in by_seed.index for key in (index, whole, original)) and index != whole:
            margin = MARGIN * by_seed.loc[original].mean()
            difference = (by_seed.loc[index] - by_seed.loc[whole]).dropna().to_numpy()
            test = two_one_sided(difference, margin)
            row |= interval_columns(COLUMNS[0], test) | {"equivalence_margin": margin, "p_equivalence": test["p"]}
        rows.append(row)
    return table.join(pd.DataFrame(rows, index=table.index).astype(float))
