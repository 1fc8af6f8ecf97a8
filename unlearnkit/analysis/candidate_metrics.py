"""Yardsticks of unlearning, and the true distance that they stand for.

The true distance to retraining is KLoM (unlearnkit.metrics.ensembles): many models of a method against as many retrained
ones, sample by sample. A yardstick is a metric of one unlearned model beside one retrained one, as it is used; its distance
is |value - the retrained model's value|, or where the metric compares with that model itself, |value - what it gives it|.
"""

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np
import pandas as pd
from torch import Tensor

from unlearnkit import metrics as metrics_module
from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics.ensembles import histogram_kl, lira_accuracy
from unlearnkit.analysis.reference_assignment import alive

YARDSTICKS = {  # name: metric, group, what it looks at
    "UA": ("UA", "target", "accuracy"),
    "RA": ("RA", "retain", "accuracy"),
    "TA": ("TA", "test", "accuracy"),
    "avg-gap": ("avg-gap", "all", "accuracy"),
    "ToW": ("ToW", "all", "accuracy"),
    "ToW-MIA": ("ToW-MIA", "all", "accuracy"),
    "MIA": ("MIA", "target", "attack"),
    "MIA-loss": ("MIA-loss", "target", "attack"),
    "MIA-mentr": ("MIA-mentr", "target", "attack"),
    "rho": ("phi", "target", "predictions"),  # within a cell, |rho - retrain's| is |phi - retrain's| to a constant
    "JS": ("JS", "target", "predictions"),
    "JS (test)": ("JS", "test", "predictions"),
    "KL": ("KL", "target", "predictions"),
    "ZRF": ("ZRF", "target", "predictions"),
    "DA": ("DA", "target", "features"),
    "LP": ("LP", "unseen", "features"),
    "NMI": ("NMI", "test", "features"),
    "F1": ("F1", "test", "features"),
    "CKA": ("CKA", "test", "features"),  # where a class goes, none of its images is a test image
    "CKA (targets)": ("CKA", "target", "features"),
    "k-NN": ("k-NN", "unseen", "features"),
    "ES": ("ES", "target", "features"),
    "relearn": ("relearn", "target", "relearning"),
}
DEAR = {"U-LiRA": "ensembles", "half of KLoM": "ensembles"}  # what else can be had where there are ensembles
TRUTHS = {"KLoM on targets": ("target",), "KLoM on all": ("target", "filler", "test")}  # a mean over groups


def judge(seen: Evidence, references: Mapping[str, Evidence]) -> pd.DataFrame:
    """YARDSTICKS of one model: columns yardstick, family, value, reference_value, distance, seconds; those that have no
    value, or for which the retrained model has none, are left out. references: of `retrain` and `initial`."""
    rows, known = [], {}
    for yardstick, (metric, group, family) in YARDSTICKS.items():
        entry = metrics_module.metrics[metric]
        compares = "retrain" in entry.info["references"]
        other = references["retrain" if compares else "initial"]
        if metric not in known:
            start = perf_counter()
            mine = entry(replace(seen, _memo={}), other)
            took = perf_counter() - start
            theirs = dict.fromkeys(mine, entry.info["best"]) if compares else entry(references["retrain"], other)
            known[metric] = mine, theirs, took
        mine, theirs, took = known[metric]
        if group in mine and group in theirs:
            values = {"value": mine[group], "reference_value": theirs[group]}
            far = abs(mine[group] - theirs[group])
            rows.append({"yardstick": yardstick, "family": family, **values, "distance": far, "seconds": took})
    return pd.DataFrame(rows)


def truth(models: Tensor, retrained: Tensor, rows: Mapping[str, Tensor]) -> pd.DataFrame:
    """TRUTHS, each also by every other draw alone and by the rest ("first half of ...", "second half of ..."), and the
    yardsticks of ensembles; columns yardstick, distance, models (how many of each kind).

    models, retrained: margins (draws, samples), NaN for a draw that diverged, which is left out of both; rows: of each
    group. Half of KLoM is the first half on targets, whose truth is then the second half (see `agreement`).
    Raises BadValue where fewer than 4 draws stay.
    """
    models, retrained = alive(models, retrained)
    found = []
    for half, part in (
        ("", slice(None)),
        ("first half of ", slice(0, None, 2)),
        ("second half of ", slice(1, None, 2)),
    ):
        klom = {g: histogram_kl(models[part][:, r], retrained[part][:, r]).mean().item() for g, r in rows.items()}
        for name, groups in TRUTHS.items():
            found.append((f"{half}{name}", float(np.mean([klom[g] for g in groups]))))
    at = rows["target"]
    found.append(("U-LiRA", abs(lira_accuracy(models[:, at], retrained[:, at]).mean().item() - 0.5)))
    return pd.DataFrame(found, columns=["yardstick", "distance"]).assign(models=len(models))
