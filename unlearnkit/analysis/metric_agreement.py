"""Which metric orders methods as their ensemble distance to retraining does, and which detects the negative controls?

Both read the table of unlearnkit.analysis.metric_distances.distance_table. Source: ours, of P2's claim that established
metrics are flawed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from unlearnkit.analysis.metric_distances import CANDIDATE_METRICS, ENSEMBLE_DISTANCES, ENSEMBLE_METRICS
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS, LEVEL, interval_columns, mean_interval
from unlearnkit.study import INITIAL

CONTROLS = ("classifier_only", INITIAL, "original")  # what a good metric must tell from a retrained model
NOISE_FLOOR_ROW = "retrain"  # from other seeds
N_BOOTSTRAP = 1000  # of seeds and methods, for bootstrap intervals
HALF = "half of KLoM"


def rankable(names: Sequence[str]) -> list[str]:
    """The rows that are put in order: methods, and `original`, to do nothing; not the retrained or the untrained
    model."""
    return [name for name in names if name not in (NOISE_FLOOR_ROW, INITIAL)]


# --- agreement -------------------------------------------------------------------------------------------------------


def metric_agreement(distances: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How well the order of methods by each metric agrees with that by each ensemble distance: one row per condition
    (configs that differ in their seed alone), ensemble_distance and metric.

    tau: Kendall's tau-b over pairs of methods, spearman: rank correlation; means over seeds, each with a 95% interval
    from N_BOOTSTRAP draws of seeds and of methods together. n_seeds: seeds; n_methods: how many are ordered;
    n_diverged: how many times one was not, for having diverged. n_models_trained: models that the metric needs trained
    from scratch beyond the one judged; cost_seconds: for all of them, the unlearning of further ones, and computing it,
    medians over methods and seeds. "half of KLoM" is the agreement of the two halves of the ensembles: about what can
    be reached, the ensemble distance being as uncertain as it is. distances: of `distance_table` with n_models and the
    row `retrain`. Raises BadValue without an ensemble distance.
    """
    scratch = distances[distances.method == NOISE_FLOOR_ROW].method_seconds.median()
    distances = distances[distances.method.isin(rankable(distances.method.unique()))]
    if not distances.metric.isin(ENSEMBLE_DISTANCES).any():
        raise BadValue("no KLoM among the distances: give distance_table a number of models, n_models")
    rows = []
    for index, part in distances.groupby(CONDITION_COLUMNS, sort=False):
        diverged = part.metric == "diverged"
        wide = part[~diverged].pivot(index="method", columns=["metric", "seed"], values="distance")
        seeds = part.seed.unique()
        for target in ENSEMBLE_DISTANCES:
            pairs = {name: (wide[name], wide[target]) for name in [*CANDIDATE_METRICS, "U-LiRA"] if name in wide}
            pairs[HALF] = wide[f"first half of {target}"], wide[f"second half of {target}"]
            for metric, (own, true) in pairs.items():
                rng = np.random.default_rng(seed)  # the same draws for all: metrics can be compared
                family = ENSEMBLE_METRICS[metric] if metric in ENSEMBLE_METRICS else CANDIDATE_METRICS[metric][2]
                row = dict(zip(CONDITION_COLUMNS, index, strict=True))
                row |= {"ensemble_distance": target, "metric": metric, "metric_family": family}
                row |= _agreement(own[seeds].to_numpy().T, true[seeds].to_numpy().T, rng)
                own_rows = part[part.metric == ("U-LiRA" if metric in ENSEMBLE_METRICS else metric)]
                share = {HALF: 0.5, "U-LiRA": 1.0}.get(metric, 0.0)
                more = share * own_rows.n_models.median() - 1 if share else 0.0  # of each of three kinds
                row |= {"n_models_trained": 1 + 2 * more, "n_seeds": len(seeds), "n_methods": len(wide)}
                seconds = row["n_models_trained"] * scratch + more * own_rows.method_seconds.median()
                row |= {"n_diverged": int(diverged.sum()), "cost_seconds": seconds + own_rows.seconds.median()}
                rows.append(row | {"run": " ".join(sorted(own_rows.run.unique()))})
    return pd.DataFrame(rows)


def _agreement(own: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> dict[str, float | None]:
    """{tau, tau_low, tau_high, spearman, ...} of distances, (seeds, methods), NaN where there is none."""
    seeds, methods = own.shape
    which = rng.integers(seeds, size=(N_BOOTSTRAP, seeds))
    weights = rng.multinomial(methods, np.full(methods, 1 / methods), size=N_BOOTSTRAP)
    columns: dict = {}
    for name, measure in (("tau", kendall), ("spearman", spearman)):
        once = np.array([measure(a, b, np.ones((1, methods)))[0] for a, b in zip(own, true)])
        drawn = np.array([measure(a, b, weights) for a, b in zip(own, true)])  # (seeds, draws)
        means = np.take_along_axis(drawn, which.T, 0).mean(0)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if seeds > 1 else (None, None)
        columns |= interval_columns(name, {"mean": once.mean(), "low": low, "high": high})
    return columns


def kendall(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of a and b, (n,), under each row of weights, (draws, n): how often each is drawn. (draws,); one
    drawn twice is no pair with itself, and a pair with a NaN is none. 0 where all pairs of one of the two are tied:
    what is tied orders nothing."""
    signs = [np.nan_to_num(np.sign(v[:, None] - v)) for v in (_common(a, b), _common(b, a))]
    over = lambda m: np.einsum("di,ij,dj->d", weights, m, weights)  # noqa: E731
    return _ratio(over(signs[0] * signs[1]), over(signs[0] ** 2) * over(signs[1] ** 2))


def spearman(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank correlation as `kendall`; the ranks are those among all, and their correlation is weighted."""
    there = np.isfinite(a) & np.isfinite(b)
    ranks = np.array([rankdata(v[there]) for v in (a, b)])
    w = weights[:, there] / weights[:, there].sum(1, keepdims=True)
    centred = ranks[None] - np.einsum("di,ki->dk", w, ranks)[:, :, None]  # (draws, 2, n)
    cov = np.einsum("di,dki,dli->dkl", w, centred, centred)
    return _ratio(cov[:, 0, 1], cov[:, 0, 0] * cov[:, 1, 1])


def _ratio(above: np.ndarray, square: np.ndarray) -> np.ndarray:
    there = square > 1e-12
    return np.where(there, above / np.sqrt(np.where(there, square, 1.0)), 0.0)


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(b), a, np.nan)


# --- negative controls -----------------------------------------------------------------------------------------------


def control_detection(distances: pd.DataFrame) -> pd.DataFrame:
    """Does each metric tell the negative controls from a retrained model? One row per condition, control and metric.

    distance and noise_floor (retraining from other seeds), excess_over_noise_floor, their difference paired by seed,
    each with a 95% t interval over n_seeds seeds; detected: that interval lies above 0, None with one seed. rank: the
    control's place among the methods, 1 for the nearest to retrain, mean over the seeds on which all were measured, of
    `n_methods`; ties share a place. distances: of `distance_table`, which must hold the row `retrain`. Raises BadValue
    if it does not.
    """
    if NOISE_FLOOR_ROW not in set(distances.method):
        raise BadValue(
            f"no row {NOISE_FLOOR_ROW!r} among the distances: without it there is no noise floor to tell a control from"
        )
    distances = distances[~distances.metric.str.contains("half of|diverged")]
    ranks = distances[distances.method.isin(rankable(distances.method.unique()))]
    ranks = ranks.assign(rank=ranks.groupby([*CONDITION_COLUMNS, "seed", "metric"]).distance.rank())
    most = ranks.groupby([*CONDITION_COLUMNS, "seed", "metric"]).method.transform("size")
    ranks = ranks.assign(n_methods=most)[most == most.groupby([ranks[c] for c in CONDITION_COLUMNS]).transform("max")]
    rows, keys = [], [*CONDITION_COLUMNS, "metric"]
    for index, part in distances.groupby(keys, sort=False):
        wide = part.pivot(index="method", columns="seed", values="distance")
        ranked = ranks[(ranks[keys] == list(index)).all(axis=1)]
        for control in (c for c in CONTROLS if c in wide.index):
            pair = wide.loc[[control, NOISE_FLOOR_ROW]].dropna(axis=1)
            row = dict(zip(keys, index, strict=True)) | {"control": control}
            excess = mean_interval(pair.loc[control] - pair.loc[NOISE_FLOOR_ROW])
            row |= interval_columns("distance", pair.loc[control])
            row |= interval_columns("noise_floor", pair.loc[NOISE_FLOOR_ROW])
            row |= interval_columns("excess_over_noise_floor", excess)
            row["detected"] = None if excess["low"] is None else excess["low"] > 0
            own = ranked[ranked.method == control]
            row |= {"rank": own["rank"].mean(), "n_methods": own.n_methods.max(), "n_seeds": excess["n"]}
            rows.append(row | {"run": " ".join(part[part.method.isin([control, NOISE_FLOOR_ROW])].run)})
    return pd.DataFrame(rows)
