"""Does the choice of a method depend on the reference it is compared with (T9, F14)? From the scores of single targets.

Everything is by unlearnkit.study.target_scores, arm by arm. What is compared is drawn together: seeds, then their
targets, 2,000 times (unlearnkit.core.bootstrap), so that ranks and correlations have intervals over both.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from data_builders.texts.arms import PARAPHRASE
from unlearnkit.analysis.influence import ARM, CONDITION, NEGATIVE_CONTROLS, residual_influences
from unlearnkit.analysis.matched_controls import is_matched_control
from unlearnkit.core import bootstrap
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import interval_columns
from unlearnkit.study import REFERENCE_ROWS

RANKED_AGAINST = ("retrain", "clean")  # the usual gold standard, and the model without any influence
ACCURACIES = {
    "FA": "label_given",
    "RA": "RA",
    "TA": "TA",
    "MIA": "rank",
}  # metric: column; RA is of other retained samples
GAP = "avg-gap"  # mean of their four distances
INFLUENCE = "influence"  # by the standardised margin
METRICS = (*ACCURACIES, GAP, INFLUENCE)
UNRANKED = ("original", *NEGATIVE_CONTROLS)  # beside matched controls, and what moved nothing
FEWEST = 2  # methods that make an order
Distances = dict[
    tuple[str, str], np.ndarray
]  # (metric, reference): (1 + draws, methods); the first row is of all targets


def ranking_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Every usable method, and `original`, to do nothing, by its distance to retrain and to clean: a row per arm and method.
    What is not counted (`original`, controls, and methods that moved nothing) has no rank.

    gap_retrain, gap_clean: mean absolute difference over FA, RA, TA and MIA, the AUC of targets over decoys; rank_*: the
    place by it, 1 for the nearest; rank_change: rank_clean - rank_retrain, above 0 for one that looks better against
    retrain than it is against clean; residual_influence and verdict: of unlearnkit.analysis.influence. All with 95%
    intervals over seeds and targets. Methods that are not usable are in no order and not here. Raises BadValue without
    the references.
    """
    measured = residual_influences(scores).set_index([*CONDITION, *ARM, "method"])
    rows = []
    for place, names, ranked, distances, counts in _by_arm(scores, measured):
        gaps = {f"gap_{r}": distances[GAP, r] for r in RANKED_AGAINST}
        ranks = {f"rank_{r}": rankdata(distances[GAP, r][:, ranked], axis=1) for r in RANKED_AGAINST}
        ranks["rank_change"] = ranks["rank_clean"] - ranks["rank_retrain"]
        for i, name in enumerate(names):
            row = place | {"method": name} | counts
            for column, values in gaps.items():
                row |= _interval(column, values[:, i])
            for column, values in ranks.items():
                row |= _interval(column, values[:, ranked.index(i)]) if i in ranked else interval_columns(column, {})
            kept = measured.loc[(*place.values(), name)]
            row |= {c: kept[c] for c in ("verdict", *interval_columns("residual_influence", {}), "TA")}
            rows.append(row)
    table = pd.DataFrame(rows)
    return table.sort_values([*CONDITION, *ARM, "rank_clean", "method"], ignore_index=True)


def orders_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How alike the orders of the methods are by their distance to retrain and to clean: a row per arm and metric. Of
    methods that are usable and moved the model alone, without `original` and controls; arms with fewer than FEWEST are
    left out. Raises BadValue if all are.

    tau: Kendall's tau-b with a 95% interval over seeds and targets; 1 = the choice of the reference does not matter.
    nearest_retrain, nearest_clean: the method that is nearest.
    """
    rows = []
    for place, names, ranked, distances, counts in _orders(scores):
        for metric in METRICS:
            by = [distances[metric, r][:, ranked] for r in RANKED_AGAINST]
            row = place | {"metric": metric} | _interval("tau", _taus(*by))
            row |= {f"nearest_{r}": names[ranked[int(d[0].argmin())]] for r, d in zip(RANKED_AGAINST, by)}
            rows.append(row | {"n_methods": len(ranked)} | counts)
    return pd.DataFrame(rows)


def between_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau-b between the orders of the methods by two metrics, of images and of texts: the data of F14.

    Columns domain, metric_a, metric_b, reference, n_conditions, n_seeds, tau, tau_low, tau_high; where metric_a is
    metric_b, reference is "both", and tau that between its orders against retrain and against clean. Means over arms,
    with 95% intervals over seeds and targets.
    """
    pairs = [(a, b, r) for r in RANKED_AGAINST for i, a in enumerate(METRICS) for b in METRICS[i + 1 :]]
    pairs += [(name, name, "both") for name in METRICS]
    found: dict[tuple, list] = {}
    for place, _, ranked, distances, counts in _orders(scores):
        domain = "texts" if place["perturbation"].startswith(PARAPHRASE) else "images"
        for a, b, reference in pairs:
            first, second = RANKED_AGAINST if reference == "both" else (reference, reference)
            taus = _taus(distances[a, first][:, ranked], distances[b, second][:, ranked])
            found.setdefault((domain, a, b, reference), []).append((taus, counts["n_seeds"]))
    names = ["domain", "metric_a", "metric_b", "reference"]
    return pd.DataFrame(
        dict(zip(names, key, strict=True))
        | {"n_conditions": len(taus), "n_seeds": max(n for _, n in taus)}
        | _interval("tau", np.mean([tau for tau, _ in taus], axis=0))
        for key, taus in found.items()
    )


def _orders(scores: pd.DataFrame):
    """`_by_arm`, where there is an order. Raises BadValue if there is none."""
    found = [arm for arm in _by_arm(scores) if len(arm[2]) >= FEWEST]
    if not found:
        raise BadValue(
            f"no arm has {FEWEST} methods that are usable and moved the model, so none has an order: ask for more"
        )
    return found


def _by_arm(scores: pd.DataFrame, measured: pd.DataFrame | None = None):
    """(columns that name it, methods in order, the places of those that are ranked, Distances, {n_seeds, n_targets}) of each
    arm. measured: `residual_influences` by row, if they are known."""
    if missing := {*RANKED_AGAINST, "original"} - set(scores.method):
        raise BadValue(f"the scores have no row {', '.join(sorted(missing))}, which the others are compared with")
    if measured is None:
        measured = residual_influences(scores).set_index([*CONDITION, *ARM, "method"])
    left_out = {*REFERENCE_ROWS} - {"original"}
    for index, part in scores.groupby([*CONDITION, *ARM], sort=False):
        of_arm = measured.loc[index]
        names = [m for m in dict.fromkeys(part.method) if m not in left_out and (of_arm.usable[m] or m == "original")]
        ranked = [i for i, m in enumerate(names) if of_arm.moved[m] and m not in UNRANKED and not is_matched_control(m)]
        counts = {"n_seeds": part.seed.nunique(), "n_targets": part.groupby("method").size().max()}
        yield dict(zip([*CONDITION, *ARM], index, strict=True)), names, ranked, _distances(part, names, index), counts


def _distances(part: pd.DataFrame, names: list[str], arm: tuple) -> Distances:
    columns: Mapping[str, str] = ACCURACIES | {INFLUENCE: "score"}
    wide = part.pivot(index=["seed", "target"], columns="method", values=[*columns.values()])
    drawn = bootstrap.weights(wide.index.get_level_values("seed"), arm=str(arm))
    weights = np.concatenate([np.ones((1, len(wide))), drawn])
    distances: Distances = {}
    for metric, column in columns.items():
        means = {m: bootstrap.means(wide[column, m].to_numpy(float), weights) for m in (*names, *RANKED_AGAINST)}
        for reference in RANKED_AGAINST:
            distances[metric, reference] = np.abs(np.stack([means[m] - means[reference] for m in names], axis=1))
    distances = {key: values.round(12) for key, values in distances.items()}  # or rounding would break ties
    for reference in RANKED_AGAINST:
        distances[GAP, reference] = np.mean([distances[metric, reference] for metric in ACCURACIES], axis=0).round(12)
    return distances


def _taus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of the two orders in each row, (1 + draws,); 0 where one of them orders nothing. a, b: (1 + draws,
    methods)."""
    first, second = (np.nan_to_num(np.sign(v[:, :, None] - v[:, None, :])).astype(np.float32) for v in (a, b))
    same, square = (first * second).sum((1, 2)), (first**2).sum((1, 2)) * (second**2).sum((1, 2))
    return np.where(square > 0, same / np.sqrt(np.where(square > 0, square, 1)), 0.0)


def _interval(name: str, values: np.ndarray) -> dict:
    """Columns of an estimate, the first value, and the interval of its draws, all others."""
    return interval_columns(name, bootstrap.interval(values[0], values[1:]))
