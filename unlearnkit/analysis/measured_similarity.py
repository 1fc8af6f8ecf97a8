"""Does influence follow measured similarity, whatever kind of similarity it is?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

from unlearnkit import study
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS, LEVEL, residual_influence
from unlearnkit.images.config import Config
from unlearnkit.study.reference_models import measured_pairs

SIMILARITY_MEASURES = ("ssim", "pixel_cosine", "feature_cosine")
N_BOOTSTRAP = 300  # of seeds, for bootstrap intervals


def buildable(configs: Sequence[Config]) -> tuple[list[Config], pd.DataFrame]:
    """The configs whose tasks can be built for all of their seeds, and one row for each condition that cannot: a kind may
    not reach a degree that is asked for, or a set may have too few neighbours. Columns: dataset, kind, degree, why.
    """
    lost: dict[tuple, str] = {}
    for config in configs:
        try:
            study.task_artefact(config)
        except BadValue as error:
            lost.setdefault(_condition(config), str(error))
    rows = [
        (c["dataset"], c["perturbation"], c["similarity_level"], why)
        for c, why in ((dict(k), w) for k, w in lost.items())
    ]
    kept = [config for config in configs if _condition(config) not in lost]
    return kept, pd.DataFrame(rows, columns=["dataset", "perturbation", "similarity_level", "why"])


def _condition(config: Config) -> tuple:
    return tuple((k, v) for k, v in config.columns().items() if k != "seed")


def influence_by_similarity(configs: Sequence[Config], scores: pd.DataFrame, by: str = "original") -> pd.DataFrame:
    """One row per condition (configs that differ in their seed alone) and method: rho with its interval, and each of RULERS,
    the mean over all target-similar pairs of all seeds.

    scores: the tidy table of these configs (study.known or study.scores); by: whose features are compared.
    """
    rows = []
    for config in configs:
        pairs = measured_pairs(config, by)
        mine = pairs[pairs.anchor.isin(study.load_task(config).index("target").tolist())]
        rows.append(config.columns() | {ruler: mine[ruler].mean() for ruler in SIMILARITY_MEASURES})
    measured = pd.DataFrame(rows).groupby(CONDITION_COLUMNS)[[*SIMILARITY_MEASURES]].mean()
    return residual_influence(scores).join(measured, on=CONDITION_COLUMNS).reset_index()


def variance_explained(scores: pd.DataFrame, responses: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much of rho each ruler tells, one row per data set, method and ruler.

    spearman: rank correlation over conditions; alone: share of the variance of rho that a rising curve over the ruler
    explains; other_kinds: the same for each kind from the curve of the *other* kinds (at most 1; 0 is as good as their
    mean; below 0, worse). If similarity as measured were all that counts, the last two would be alike. Intervals are of
    resampled seeds (95%); conditions with a masked rho are left out. n: conditions, n_seeds: seeds. Raises BadValue for
    fewer than 4 conditions or 2 kinds.
    """
    rng = np.random.default_rng(seed)
    s = scores[(scores.metric == "phi") & (scores.group == "target")]
    rows = []
    for (dataset, method), table in responses.dropna(subset="rho").groupby(["dataset", "method"]):
        conditions = table.set_index(CONDITION_COLUMNS)
        wide = s[s.method.isin(["original", "clean", method])].pivot_table(
            index=CONDITION_COLUMNS, columns=["method", "seed"], values="value"
        )
        wide = wide.loc[conditions.index]
        seeds = wide["original"].columns.to_numpy()
        kinds = conditions.index.get_level_values("perturbation").to_numpy()
        if len(conditions) < 4 or len(set(kinds)) < 2:
            raise BadValue(
                f"{dataset}: {len(conditions)} conditions of {len(set(kinds))} kinds with a rho that is not masked; at "
                "least 4 of 2 kinds are needed: ask for more degrees, kinds or seeds"
            )
        draws = [seeds, *(rng.choice(seeds, len(seeds)) for _ in range(N_BOOTSTRAP))]
        values = [_rho_of(wide, method, drawn) for drawn in draws]
        for ruler in SIMILARITY_MEASURES:
            x = conditions[ruler].to_numpy()
            found = np.array([isotonic_r2(x, y, kinds) for y in values])
            low, high = np.nanquantile(found[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
            row = {"dataset": dataset, "method": method, "ruler": ruler}
            for i, name in enumerate(("spearman", "alone", "other_kinds")):
                row |= {name: found[0, i], f"{name}_low": low[i], f"{name}_high": high[i]}
            rows.append(row | {"n": len(conditions), "n_seeds": len(seeds)})
    return pd.DataFrame(rows)


def _rho_of(wide: pd.DataFrame, method: str, seeds) -> np.ndarray:
    mean = {name: wide[name][seeds].mean(axis=1).to_numpy() for name in ("original", "clean", method)}
    return (mean[method] - mean["clean"]) / (mean["original"] - mean["clean"])


def isotonic_r2(x: np.ndarray, y: np.ndarray, kinds: np.ndarray) -> tuple[float, float, float]:
    """(Spearman's correlation, R2 of a rising curve, R2 of the curve of the other kinds), kinds of each condition given."""
    alone = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(x)
    other, mean = np.empty_like(y), np.empty_like(y)
    for kind in np.unique(kinds):
        mine = kinds == kind
        curve = IsotonicRegression(out_of_bounds="clip").fit(x[~mine], y[~mine])
        other[mine], mean[mine] = curve.predict(x[mine]), y[~mine].mean()
    squares = [((y - at) ** 2).sum() for at in (alone, y.mean(), other, mean)]
    return spearmanr(x, y).statistic, 1 - squares[0] / squares[1], 1 - squares[2] / squares[3]
