"""Published numbers beside ours: a sanity check, never a target to tune to. Two papers of one group differ tenfold on
one config, so only shapes and orders of magnitude should be read from it.

The published numbers stand in literature.csv, beside this file, each with its source, and whether two sources agree on
it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from unlearnkit.core.statistics import interval_columns, mean_interval

UNITS: Mapping[str, float] = {"percent": 100, "minutes": 1 / 60, "p-value": 1, "score": 1}  # ours: fractions, seconds
WHOLE = {"cifar10": 45000}  # training images from which on a set counts as whole: 5,000 are decoys and validation
NOT_RUN = "not run"
DIFFERENCES = {  # source: what differs in ours, where it is run
    "Fan et al. 2024 (SalUn), arXiv 2310.12508": "epochs and augmentation of training; options: defaults, untuned, no "
    "weight decay but SalUn's (theirs: 5e-4); MIA: fitted on other retained samples, not on the whole retain set; "
    "minutes: of another GPU",
    "NeurIPS 2023 unlearning challenge, starting kit": "epochs and augmentation of training (theirs reaches 88% on "
    "test images); forget set: a random tenth; RA: of the retain set, theirs of all training images; options: defaults",
    "TOFU leaderboards, Llama-3.2-1B": "needs pretrained weights",
}
_WHERE = ("dataset", "architecture", "protocol", "method")
_WHAT = ("metric", "group", "reference")


@cache
def published_numbers() -> pd.DataFrame:
    """The published numbers, one a row; metric, group and reference are called as in the tidy score table."""
    return pd.read_csv(Path(__file__).with_suffix(".csv"), keep_default_na=False).astype({"published": float})


def published_beside_ours(scores: pd.DataFrame) -> pd.DataFrame:
    """Every published number with ours, in its unit: the mean over n_seeds seeds with its 95% interval; "not run" where
    these scores have none of the same data set (the whole of it), architecture, protocol and method.

    scores: the tidy table with a column `protocol`, as notebook 41 makes it.
    """
    ours = comparable(scores).groupby([*_WHERE, *_WHAT]).value
    known = {key: mean_interval(values) for key, values in ours}
    rows = []
    for row in published_numbers().to_dict("records"):
        interval = known.get(tuple(row[c] for c in (*_WHERE, *_WHAT)), {})
        scale = UNITS[row["unit"]]
        scaled = {k: None if interval.get(k) is None else interval[k] * scale for k in ("mean", "low", "high")}
        row |= interval_columns("ours", scaled)
        row["ours"] = NOT_RUN if scaled["mean"] is None else float(f"{scaled['mean']:.6g}")
        row |= {"n_seeds": interval.get("n", 0), "differences": DIFFERENCES[row["source"]]}
        rows.append(row)
    return pd.DataFrame(rows).astype({"ours": object, "ours_low": float, "ours_high": float})


def comparable(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores that stand in `published_beside_ours`."""
    whole = scores.train_size >= scores.dataset.map(WHOLE).fillna(float("inf"))
    wanted = set(published_numbers()[[*_WHERE, *_WHAT]].itertuples(index=False, name=None))
    named = scores[[*_WHERE, *_WHAT]].itertuples(index=False, name=None)
    return scores[whole & pd.Series([key in wanted for key in named], index=scores.index, dtype=bool)]
