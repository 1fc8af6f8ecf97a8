"""What others published, beside ours: a sanity check, never a target to tune to. Two papers of one group differ tenfold on
one config, so only shapes and orders of magnitude should be read from it.

The figures stand in published.csv, beside this file, each with its source, and whether two sources agree on it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from unlearnkit.core.statistics import mean_interval

UNITS: Mapping[str, float] = {
    "percent": 100,
    "minutes": 1 / 60,
    "p-value": 1,
    "score": 1,
}  # of ours: fractions, seconds
WHOLE = {"cifar10": 45000}  # training images from which on a set counts as whole: 5,000 are decoys and validation
NOT_RUN = "not run"
DIFFERENCES = {  # source: what is another in ours, where it is run
    "Fan et al. 2024 (SalUn), arXiv 2310.12508": "epochs and augmentation of training; options: defaults, untuned, no "
    "weight decay but SalUn's (theirs: 5e-4); MIA: fitted on filler, not on all that stays; minutes: of another GPU",
    "NeurIPS 2023 unlearning challenge, starting kit": "epochs and augmentation of training (theirs reaches 88% on test "
    "images); forget set: a random tenth; RA: of what stays, theirs of all training images; options: defaults",
    "TOFU leaderboards, Llama-3.2-1B": "needs pretrained weights",
}
_WHERE = ("dataset", "architecture", "protocol", "method")
_WHAT = ("metric", "group", "reference")


@cache
def figures() -> pd.DataFrame:
    """The published figures, one a row; metric, group and reference are called as in the tidy score table."""
    return pd.read_csv(Path(__file__).with_suffix(".csv"), keep_default_na=False).astype({"published": float})


def published_beside_ours(scores: pd.DataFrame) -> pd.DataFrame:
    """Every published figure with ours, in their unit: the mean over n seeds with its 95% interval; "not run" where these
    scores have none of the same data set (the whole of it), architecture, protocol and method.

    scores: the tidy table with a column `protocol`, as notebook 41 makes it.
    """
    ours = comparable(scores).groupby([*_WHERE, *_WHAT]).value
    known = {key: mean_interval(values) for key, values in ours}
    rows = []
    for row in figures().to_dict("records"):
        told = known.get(tuple(row[c] for c in (*_WHERE, *_WHAT)), {})
        found = {k: None if told.get(k) is None else told[k] * UNITS[row["unit"]] for k in ("mean", "low", "high")}
        row |= {"ours": NOT_RUN if found["mean"] is None else float(f"{found['mean']:.6g}")}
        row |= {"ours_low": found["low"], "ours_high": found["high"], "n": told.get("n", 0)}
        rows.append(row | {"differences": DIFFERENCES[row["source"]]})
    return pd.DataFrame(rows).astype({"ours": object, "ours_low": float, "ours_high": float})


def comparable(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores that stand in `beside`."""
    whole = scores.train_size >= scores.dataset.map(WHOLE).fillna(float("inf"))
    wanted = set(figures()[[*_WHERE, *_WHAT]].itertuples(index=False, name=None))
    named = scores[[*_WHERE, *_WHAT]].itertuples(index=False, name=None)
    return scores[whole & pd.Series([key in wanted for key in named], index=scores.index, dtype=bool)]
