"""Reconstruction by model, over seeds: SSIM on targets always beside its noise floor on decoys."""

import pandas as pd

from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns

COLUMNS = (
    "ssim",
    "ssim_decoy",
    "ssim_minus_decoy",
    "ssim_nearest_retained",
    "reconstruction_residual",
    "kkt_residual",
    "training_loss",
    "FA",
    "kkt_multiplier",
    "kkt_multiplier_decoy",
)


def summary(data: pd.DataFrame) -> pd.DataFrame:
    """One row per config, attack and method, in the order of `data`: means over n_seeds seeds with 95% t intervals.

    data: of `reconstructions`. ssim, ssim_decoy: of the best candidate, mean over targets, over decoys;
    ssim_minus_decoy: their difference, paired by seed; ssim_nearest_retained: of the retained image nearest to a
    target; FA: accuracy on targets; reconstruction_residual, kkt_residual, training_loss, kkt_multiplier: see there;
    n_converged: in how many seeds the KKT conditions hold, without which the rest says little.
    """
    keys = [*CONDITION_COLUMNS, "attack", "method"]
    per_seed = ["reconstruction_residual", "kkt_residual", "training_loss", "converged"]
    rows = []
    for key, part in data.groupby(keys, sort=False):
        by_group = part.pivot_table(
            index="seed", columns="group", values=["ssim", "ssim_nearest_retained", "kkt_multiplier", "correct"]
        )
        values = part.groupby("seed")[per_seed].first().assign(
            ssim=by_group["ssim", "target"], ssim_decoy=by_group["ssim", "decoy"], FA=by_group["correct", "target"],
            ssim_nearest_retained=by_group["ssim_nearest_retained", "target"],
            kkt_multiplier=by_group["kkt_multiplier", "target"],
            kkt_multiplier_decoy=by_group["kkt_multiplier", "decoy"],
        )  # fmt: skip
        values["ssim_minus_decoy"] = values.ssim - values.ssim_decoy
        row = dict(zip(keys, key, strict=True))
        row |= {"n_seeds": len(values), "n_converged": int(values.converged.sum())}
        for name in COLUMNS:
            row |= interval_columns(name, values[name])
        rows.append(row)
    return pd.DataFrame(rows)
