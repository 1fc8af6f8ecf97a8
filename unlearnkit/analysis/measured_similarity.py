"""Does residual influence follow measured similarity, whatever the perturbation?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

from unlearnkit import study
from unlearnkit.analysis.dataset_cards import target_pairs
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS, LEVEL, interval_columns, residual_influence
from unlearnkit.images.config import Config

SIMILARITY_MEASURES = ("ssim", "pixel_cosine", "feature_cosine")
N_BOOTSTRAP = 300  # of seeds, for bootstrap intervals


def buildable(configs: Sequence[Config]) -> tuple[list[Config], pd.DataFrame]:
    """The configs whose tasks can be built for all of their seeds, and one row for each condition whose tasks cannot: a
    perturbation may not reach the similarity level that is asked for, or a set may have too few neighbours. Columns:
    dataset, perturbation, similarity_level, why.
    """
    reasons: dict[tuple, str] = {}
    for config in configs:
        try:
            study.task_artefact(config)
        except BadValue as error:
            reasons.setdefault(_condition(config), str(error))
    names = ["dataset", "perturbation", "similarity_level"]
    rows = [{name: dict(condition)[name] for name in names} | {"why": why} for condition, why in reasons.items()]
    kept = [config for config in configs if _condition(config) not in reasons]
    return kept, pd.DataFrame(rows, columns=[*names, "why"])


def _condition(config: Config) -> tuple:
    return tuple((k, v) for k, v in config.columns().items() if k != "seed")


def influence_by_similarity(
    configs: Sequence[Config], scores: pd.DataFrame, features_from: str = "original"
) -> pd.DataFrame:
    """One row per condition (configs that differ in their seed alone) and method: residual influence with its interval,
    and each of SIMILARITY_MEASURES, the mean over all pairs of a target and a near-duplicate of all seeds.

    scores: the tidy table of these configs (study.reference_scores or study.scores); features_from: whose features are
    compared.
    """
    rows = []
    for config in configs:
        pairs = target_pairs(config, features_from)
        rows.append(config.columns() | {name: pairs[name].mean() for name in SIMILARITY_MEASURES})
    measured = pd.DataFrame(rows).groupby(CONDITION_COLUMNS)[[*SIMILARITY_MEASURES]].mean()
    return residual_influence(scores).join(measured, on=CONDITION_COLUMNS).reset_index()


def variance_explained(scores: pd.DataFrame, responses: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much of the residual influence each similarity measure explains: one row per data set, method and measure.

    spearman: rank correlation over conditions; r2: share of the variance of residual influence that a rising curve over
    the measure explains; r2_leave_kind_out: the same for each perturbation from the curve of the *other* perturbations
    (at most 1; 0 is as good as their mean; below 0, worse). If measured similarity were all that counts, the last two
    would be alike. Intervals are of resampled seeds (95%); conditions whose residual influence is masked are left out.
    Columns n_conditions and n_seeds count. Raises BadValue for fewer than 4 conditions or 2 perturbations.
    """
    rng = np.random.default_rng(seed)
    known = scores[(scores.metric == "influence") & (scores.group == "target")]
    rows = []
    for (dataset, method), table in responses.dropna(subset="residual_influence").groupby(["dataset", "method"]):
        conditions = table.set_index(CONDITION_COLUMNS)
        wide = known[known.method.isin(["original", "clean", method])].pivot_table(
            index=CONDITION_COLUMNS, columns=["method", "seed"], values="value"
        )
        wide = wide.loc[conditions.index]
        seeds = wide["original"].columns.to_numpy()
        kinds = conditions.index.get_level_values("perturbation").to_numpy()
        if len(conditions) < 4 or len(set(kinds)) < 2:
            raise BadValue(
                f"{dataset}: {len(conditions)} conditions of {len(set(kinds))} perturbations with a residual influence "
                "that is not masked; at least 4 of 2 are needed: ask for more similarity levels, perturbations or seeds"
            )
        samples = [seeds, *(rng.choice(seeds, len(seeds)) for _ in range(N_BOOTSTRAP))]
        influences = [_influence(wide, method, drawn) for drawn in samples]
        for measure in SIMILARITY_MEASURES:
            x = conditions[measure].to_numpy()
            values = np.array([isotonic_r2(x, y, kinds) for y in influences])
            low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
            row = {"dataset": dataset, "method": method, "similarity_measure": measure}
            for i, name in enumerate(("spearman", "r2", "r2_leave_kind_out")):
                row |= interval_columns(name, {"mean": values[0, i], "low": low[i], "high": high[i]})
            rows.append(row | {"n_conditions": len(conditions), "n_seeds": len(seeds)})
    return pd.DataFrame(rows)


def _influence(wide: pd.DataFrame, method: str, seeds) -> np.ndarray:
    """The residual influence of each condition as a ratio of means over these seeds."""
    mean = {name: wide[name][seeds].mean(axis=1).to_numpy() for name in ("original", "clean", method)}
    return (mean[method] - mean["clean"]) / (mean["original"] - mean["clean"])


def isotonic_r2(x: np.ndarray, y: np.ndarray, kinds: np.ndarray) -> tuple[float, float, float]:
    """(Spearman's correlation, R2 of a rising curve, R2 of the curve of the other kinds), kinds of each condition
    given."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(x)
    other, mean = np.empty_like(y), np.empty_like(y)
    for kind in np.unique(kinds):
        held = kinds == kind
        curve = IsotonicRegression(out_of_bounds="clip").fit(x[~held], y[~held])
        other[held], mean[held] = curve.predict(x[held]), y[~held].mean()
    squares = [((y - prediction) ** 2).sum() for prediction in (fitted, y.mean(), other, mean)]
    return spearmanr(x, y).statistic, 1 - squares[0] / squares[1], 1 - squares[2] / squares[3]
