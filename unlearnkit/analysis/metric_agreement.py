"""Which yardstick orders methods as their true distance to retraining does, and which tells the negative controls?

Both read the table of unlearnkit.analysis.metric_distances.distance_table. Source: ours, of P2's claim that established metrics are flawed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from unlearnkit.analysis.metric_distances import CANDIDATE_METRICS, ENSEMBLE_DISTANCES, ENSEMBLE_METRICS
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS, LEVEL, mean_interval

INITIAL = "initial"
CONTROLS = ("classifier_only", INITIAL, "original")  # what a good metric must tell from a retrained model
NOISE_FLOOR_ROW = "retrain"  # from other seeds
N_BOOTSTRAP = 1000  # of seeds and methods, for bootstrap intervals


def rankable(names: Sequence[str]) -> list[str]:
    """Those that are put in order: methods, and `original`, to do nothing; not what is retrained, nor never trained."""
    return [name for name in names if name not in (NOISE_FLOOR_ROW, INITIAL)]


# --- agreement -------------------------------------------------------------------------------------------------------


def metric_agreement(found: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How well the order of methods by each yardstick is that by each truth: one row per condition (configs that differ in
    their seed alone), truth and yardstick.

    tau: Kendall's tau-b over pairs of methods, spearman: rank correlation; means over seeds, each with a 95% interval
    from DRAWS draws of seeds and of methods together. n: seeds; methods: how many are ordered; diverged: how many times
    one was not, for having diverged. trained: models that it needs trained from scratch beyond the one judged; cost:
    seconds for all of them, the unlearning of further ones, and computing it, medians over methods and seeds.
    "half of KLoM" is the agreement of the two halves of the ensembles: about what can be reached, the truth being as
    uncertain as it is. found: of `distances` with models and the row `retrain`. Raises BadValue without a truth.
    """
    scratch = found[found.method == NOISE_FLOOR_ROW].making.median()
    found = found[found.method.isin(rankable(found.method.unique()))]
    if not found.yardstick.isin(ENSEMBLE_DISTANCES).any():
        raise BadValue("no KLoM among the distances: give critique.distances a number of models, n_models")
    rows = []
    for index, part in found.groupby(CONDITION_COLUMNS, sort=False):
        wide = part[part.yardstick != "diverged"].pivot(
            index="method", columns=["yardstick", "seed"], values="distance"
        )
        lost = int((part.yardstick == "diverged").sum())
        seeds = part.seed.unique()
        for name in ENSEMBLE_DISTANCES:
            pairs = {y: (wide[y], wide[name]) for y in [*CANDIDATE_METRICS, "U-LiRA"] if y in wide}
            pairs["half of KLoM"] = wide[f"first half of {name}"], wide[f"second half of {name}"]
            for yardstick, (mine, true) in pairs.items():
                rng = np.random.default_rng(seed)  # the same draws for all: yardsticks can be compared
                of = dict(zip(CONDITION_COLUMNS, index, strict=True)) | {"truth": name, "yardstick": yardstick}
                of |= {
                    "family": CANDIDATE_METRICS[yardstick][2]
                    if yardstick in CANDIDATE_METRICS
                    else ENSEMBLE_METRICS[yardstick]
                }
                of |= _agree(mine[seeds].to_numpy().T, true[seeds].to_numpy().T, rng)
                at = part[part.yardstick == ("U-LiRA" if yardstick in ENSEMBLE_METRICS else yardstick)]
                share = {"half of KLoM": 0.5, "U-LiRA": 1.0}.get(yardstick, 0.0)
                more = share * at.models.median() - 1 if share else 0.0  # of each of three kinds
                of |= {"trained": 1 + 2 * more, "n": len(seeds), "methods": len(wide), "diverged": lost}
                of["cost"] = of["trained"] * scratch + more * at.making.median() + at.seconds.median()
                rows.append(of | {"run": " ".join(sorted(at.run.unique()))})
    return pd.DataFrame(rows)


def _agree(mine: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """{tau, tau_low, tau_high, spearman, ...} of distances, (seeds, methods), NaN where there is none."""
    seeds, methods = mine.shape
    which = rng.integers(seeds, size=(N_BOOTSTRAP, seeds))
    weights = rng.multinomial(methods, np.full(methods, 1 / methods), size=N_BOOTSTRAP)
    out = {}
    for name, measure in (("tau", kendall), ("spearman", spearman)):
        once = np.array([measure(a, b, np.ones((1, methods)))[0] for a, b in zip(mine, true)])
        drawn = np.array([measure(a, b, weights) for a, b in zip(mine, true)])  # (seeds, draws)
        means = np.take_along_axis(drawn, which.T, 0).mean(0)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if seeds > 1 else (None, None)
        out |= {name: once.mean(), f"{name}_low": low, f"{name}_high": high}
    return out


def kendall(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of a and b, (n,), under each row of weights, (draws, n): how often each is drawn. (draws,); one
    drawn twice is no pair with itself, and a pair with a NaN is none. 0 where all pairs of one of the two are tied: what is
    tied orders nothing."""
    signs = [np.nan_to_num(np.sign(v[:, None] - v)) for v in (_common(a, b), _common(b, a))]
    over = lambda m: np.einsum("di,ij,dj->d", weights, m, weights)  # noqa: E731
    return _ratio(over(signs[0] * signs[1]), over(signs[0] ** 2) * over(signs[1] ** 2))


def spearman(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank correlation as `kendall`; the ranks are those among all, and their correlation is weighted."""
    there = np.isfinite(a) & np.isfinite(b)
    ranks = np.array([rankdata(v[there]) for v in (a, b)])
    w = weights[:, there] / weights[:, there].sum(1, keepdims=True)
    apart = ranks[None] - np.einsum("di,ki->dk", w, ranks)[:, :, None]  # (draws, 2, n)
    cov = np.einsum("di,dki,dli->dkl", w, apart, apart)
    return _ratio(cov[:, 0, 1], cov[:, 0, 0] * cov[:, 1, 1])


def _ratio(above: np.ndarray, square: np.ndarray) -> np.ndarray:
    there = square > 1e-12
    return np.where(there, above / np.sqrt(np.where(there, square, 1.0)), 0.0)


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(b), a, np.nan)


# --- negative controls -----------------------------------------------------------------------------------------------


def control_detection(found: pd.DataFrame) -> pd.DataFrame:
    """Does each yardstick tell the negative controls from a retrained model? One row per condition, control and yardstick.

    distance and floor (retraining from other seeds), their difference paired by seed, each with a 95% t interval over n
    seeds; flagged: that interval lies above 0, None with one seed. rank: the control's place among the methods, 1 for the
    nearest to retrain, mean over the seeds on which all were measured, of `methods`; ties share a place.
    found: of `distances`, which must hold the row `retrain`. Raises BadValue if it does not.
    """
    if NOISE_FLOOR_ROW not in set(found.method):
        raise BadValue(
            f"no row {NOISE_FLOOR_ROW!r} among the distances: without it there is no noise floor to tell a control from"
        )
    found = found[~found.yardstick.str.contains("half of|diverged")]
    ranks = found[found.method.isin(rankable(found.method.unique()))]
    ranks = ranks.assign(rank=ranks.groupby([*CONDITION_COLUMNS, "seed", "yardstick"]).distance.rank())
    most = ranks.groupby([*CONDITION_COLUMNS, "seed", "yardstick"]).method.transform("size")
    ranks = ranks.assign(methods=most)[most == most.groupby([ranks[c] for c in CONDITION_COLUMNS]).transform("max")]
    rows = []
    for index, part in found.groupby([*CONDITION_COLUMNS, "yardstick"], sort=False):
        wide = part.pivot(index="method", columns="seed", values="distance")
        at = ranks[(ranks[[*CONDITION_COLUMNS, "yardstick"]] == list(index)).all(axis=1)]
        for control in (c for c in CONTROLS if c in wide.index):
            pair = wide.loc[[control, NOISE_FLOOR_ROW]].dropna(axis=1)
            row = dict(zip([*CONDITION_COLUMNS, "yardstick"], index, strict=True)) | {"control": control}
            for name, values in (("distance", pair.loc[control]), ("floor", pair.loc[NOISE_FLOOR_ROW])):
                row |= named(name, mean_interval(values))
            beyond = mean_interval(pair.loc[control] - pair.loc[NOISE_FLOOR_ROW])
            row |= named("beyond", beyond) | {"flagged": None if beyond["low"] is None else beyond["low"] > 0}
            mine = at[at.method == control]
            row |= {"rank": mine["rank"].mean(), "methods": mine.methods.max(), "n": beyond["n"]}
            rows.append(row | {"run": " ".join(part[part.method.isin([control, NOISE_FLOOR_ROW])].run)})
    return pd.DataFrame(rows)


def named(name: str, interval: Mapping) -> dict:
    """An interval (unlearnkit.core.statistics.mean_interval) as columns."""
    return {name: interval["mean"], f"{name}_low": interval["low"], f"{name}_high": interval["high"]}
