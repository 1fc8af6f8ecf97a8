"""What reconstruction says of each model, over seeds: SSIM on targets beside its floor on decoys, and never alone."""

import pandas as pd

from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval

COLUMNS = (
    "ssim",
    "ssim_decoy",
    "above_decoy",
    "kept",
    "residual",
    "kkt",
    "loss",
    "FA",
    "multiplier",
    "multiplier_decoy",
)


def summary(data: pd.DataFrame) -> pd.DataFrame:
    """One row per config, attack and model, in the order of `data`: means over seeds with 95% t intervals, and n seeds.

    data: of `reconstructions`. ssim, ssim_decoy: of the best candidate, mean over targets, over decoys; above_decoy: their
    difference, paired by seed; kept: of the image nearest to a target that stays in training; FA: accuracy on targets;
    residual, kkt, loss, multiplier: see there; converged: in how many seeds the KKT conditions hold, without which the rest
    says little.
    """
    of = [*CONDITION_COLUMNS, "attack", "model"]
    rows = []
    for key, part in data.groupby(of, sort=False):
        by = part.pivot_table(index="seed", columns="group", values=["ssim", "kept", "multiplier", "correct"])
        one = part.groupby("seed")[["residual", "kkt", "loss", "converged"]].first()
        values = one.drop(columns="converged").assign(
            ssim=by["ssim", "target"], ssim_decoy=by["ssim", "decoy"], kept=by["kept", "target"],
            FA=by["correct", "target"],
            multiplier=by["multiplier", "target"], multiplier_decoy=by["multiplier", "decoy"],
        )  # fmt: skip
        values["above_decoy"] = values.ssim - values.ssim_decoy
        row = dict(zip(of, key, strict=True)) | {"n": len(values), "converged": int(one.converged.sum())}
        for name in COLUMNS:
            found = mean_interval(values[name])
            row |= {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        rows.append(row)
    return pd.DataFrame(rows)
