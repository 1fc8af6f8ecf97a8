"""Reconstruction by model, over seeds: SSIM on targets always beside its noise floor on decoys."""

import re

import numpy as np
import pandas as pd

from unlearnkit.core import bootstrap
from unlearnkit.core.statistics import CONDITION_COLUMNS, FEWEST, interval_columns, shown

MODEL_COLUMNS = ("reconstruction_residual", "kkt_residual", "training_loss", "margins_violated")  # one value a model
FOR_PEOPLE = {
    "SSIM": "ssim",
    "SSIM of decoys": "ssim_decoy",
    "above decoys": "ssim_minus_decoy",
    "above clean": "over_clean",
    "SSIM of retained": "ssim_nearest_retained",
    "KKT residual": "kkt_residual",
    "residual of the search": "reconstruction_residual",
    "training loss": "training_loss",
    "margins violated": "margins_violated",
    "targets right": "FA",
}

Estimate = tuple[float, np.ndarray]  # a number and its bootstrap draws


def summary(data: pd.DataFrame) -> pd.DataFrame:
    """One row per config, attack and method, in the order of `data`: means over n_targets targets of n_seeds seeds, each
    with _low and _high, 95% intervals by the bootstrap of seeds, then targets (unlearnkit.core.bootstrap).

    data: of `reconstructions`. ssim, ssim_decoy: of the best candidate, mean over targets, over as many decoys;
    ssim_minus_decoy: their difference, with the same seeds drawn for both; over_clean: this difference less that of
    `clean`, which without near-duplicates is `retrain`, on the same targets and decoys; for the attack kkt alone.
    ssim_nearest_retained: of the retained image nearest to a target; FA: accuracy on targets; reconstruction_residual,
    kkt_residual, training_loss, margins_violated, kkt_multiplier: see there; the first four have one value a model, and
    no interval if there are less than three seeds. n_converged: in how many seeds the KKT conditions hold, without which
    the rest says little.
    """
    rows = []
    for condition, part in data.groupby(CONDITION_COLUMNS, sort=False):
        named = dict(zip(CONDITION_COLUMNS, condition, strict=True))
        target, decoy = (_Group(of, group) for group, of in sorted(part.groupby("group"), reverse=True))
        none_seen = ("kkt", "clean" if named["copies"] else "retrain")
        for (attack, method), own in part.groupby(["attack", "method"], sort=False):
            above = _difference(target.mean("ssim", attack, method), decoy.mean("ssim", attack, method))
            row = named | {"attack": attack, "method": method} | _counts(own)
            row |= _columns("ssim", target.mean("ssim", attack, method))
            row |= _columns("ssim_decoy", decoy.mean("ssim", attack, method)) | _columns("ssim_minus_decoy", above)
            clean = None
            if attack == "kkt" and none_seen in target.columns and none_seen != (attack, method):
                floor = _difference(target.mean("ssim", *none_seen), decoy.mean("ssim", *none_seen))
                clean = _difference(above, floor)
            row |= _columns("over_clean", clean)
            row |= _columns("ssim_nearest_retained", target.mean("ssim_nearest_retained", attack, method))
            row |= _by_model(own) | _columns("FA", target.mean("correct", attack, method))
            row |= _columns("kkt_multiplier", target.mean("kkt_multiplier", attack, method))
            row |= _columns("kkt_multiplier_decoy", decoy.mean("kkt_multiplier", attack, method))
            rows.append(row)
    return pd.DataFrame(rows)


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows in 15 columns of text, mean [low, high] in one cell. table: of `summary`, or as it was published.

    converged: in how many seeds the KKT conditions hold; where they do not, SSIM says little.
    """
    texts = shown(table[[name for name in table if name.startswith(("n_", *FOR_PEOPLE.values()))]], 3)
    rows = table.to_dict("records")
    floor = ["is the floor" if row["attack"] == "kkt" else "not compared" for row in rows]
    columns = {
        "data and model": [f"{row['dataset']} ({row['train_size']}), {row['architecture']}" for row in rows],
        "near-duplicates": [
            f"{row['copies']}, {row['perturbation'].replace('_', ' ')} {row['strength']:g}" if row["copies"] else "none"
            for row in rows
        ],
        "attack": [row["attack"] for row in rows],
        "method": [row["method"] for row in rows],
        **{name: [_cell(*pair) for pair in zip(texts[column], floor)] for name, column in FOR_PEOPLE.items()},
        "n": [f"{row['n_seeds']} seeds ({row['n_converged']} converged), {row['n_targets']} targets" for row in rows],
    }
    return pd.DataFrame(columns, index=table.index)


def _cell(text: str, where_none: str) -> str:
    text = re.sub(r"n = \d+, no", "no", text.replace("\N{NO-BREAK SPACE}", " "))
    return where_none if text == "-" else text


class _Group:
    """The targets, or the decoys, of one condition, and how often each is drawn: the same for all models."""

    def __init__(self, rows: pd.DataFrame, name: str):
        self.wide = rows.pivot(index=["seed", "sample"], columns=["attack", "method"])
        self.columns = {*zip(rows.attack, rows.method, strict=True)}
        self.weights = bootstrap.weights(self.wide.index.get_level_values("seed"), arm=name)

    def mean(self, name: str, attack: str, method: str) -> Estimate:
        values = self.wide[name, attack, method].to_numpy(float)
        return float(np.nanmean(values)), bootstrap.means(values, self.weights)


def _difference(a: Estimate, b: Estimate) -> Estimate:
    return a[0] - b[0], a[1] - b[1]


def _columns(name: str, estimate: Estimate | None) -> dict:
    return interval_columns(name, {} if estimate is None else bootstrap.interval(*estimate))


def _counts(own: pd.DataFrame) -> dict[str, int]:
    converged = own.groupby("seed").converged.first()
    n_targets = int((own.group == "target").sum())
    return {"n_seeds": len(converged), "n_targets": n_targets, "n_converged": int(converged.sum())}


def _by_model(own: pd.DataFrame) -> dict:
    row = {}
    for name, values in own.groupby("seed")[[*MODEL_COLUMNS]].first().items():
        alone = {"mean": values.mean()}
        row |= interval_columns(name, bootstrap.mean(values, values.index) if len(values) >= FEWEST else alone)
    return row
