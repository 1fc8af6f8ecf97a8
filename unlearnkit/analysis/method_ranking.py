"""Does the choice of a method depend on the reference it is compared with (T9, F14), and what does it cost (T10)? All
from the one tidy score table."""

import numpy as np
import pandas as pd

from unlearnkit.analysis.metric_agreement import kendall, rankable
from unlearnkit.analysis.metric_distances import CANDIDATE_METRICS
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import (
    CONDITION_COLUMNS,
    in_row_order,
    interval_columns,
    mean_interval,
    residual_influence,
    summarise,
)
from unlearnkit.metrics import metrics
from unlearnkit.study import BASELINES

RANKED_AGAINST = ("retrain", "clean")  # the usual gold standard, and the model without any influence
CONDITION_AND_SEED = ["seed", *CONDITION_COLUMNS]
GAP = "avg-gap"  # the metric that T9 puts methods in order by
INFLUENCE = "residual influence"  # ... and, beside it, phi on the targets, which residual influence is made from


def reference_distances(scores: pd.DataFrame) -> pd.DataFrame:
    """The distance of each row to each reference by each candidate metric that the scores hold
    (unlearnkit.analysis.metric_distances): the columns of the config, method, metric, reference, distance.

    A metric that compares with the reference: |value - its best|; any other: |value - that of the row of this name|,
    which for `retrain` is the method, from a seed of its own. Rows that diverged have none. Raises BadValue for scores
    without the rows `retrain` and `clean`.
    """
    if missing := set(RANKED_AGAINST) - set(scores.method):
        raise BadValue(f"the scores have no row {', '.join(sorted(missing))}, which the others are compared with")
    known = {
        key: part.set_index([*CONDITION_AND_SEED, "method"]).value
        for key, part in scores.groupby(["metric", "group", "reference"])
    }
    tables = []
    for name, (metric, group, _) in CANDIDATE_METRICS.items():
        own = metrics[metric].info["references"]  # ZRF's is the untrained model, whomever the methods are held against
        compares = "retrain" in own
        for reference in RANKED_AGAINST:
            key = (metric, group, reference if compares else next(iter(own), ""))
            if key not in known:
                continue
            value = known[key]
            if compares:
                distance = (value - metrics[metric].info["best"]).abs()
            else:
                there = value.xs(reference, level="method")
                distance = (value - there.reindex(value.index.droplevel("method")).to_numpy()).abs().dropna()
            tables.append(distance.rename("distance").reset_index().assign(metric=name, reference=reference))
    return pd.concat(tables, ignore_index=True)


def orders_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How alike the orders of the methods are by their distance to retrain and to clean: one row per condition, by the
    average gap and by residual influence.

    tau: Kendall's tau-b, mean over n_seeds seeds with a 95% interval; 1 = the choice of the reference does not matter.
    nearest_retrain, nearest_clean: the method (or `original`, to do nothing) that is nearest on average.
    """
    distances = _ranked(reference_distances(scores))
    rows, keys = [], [*CONDITION_COLUMNS, "metric"]
    for index, part in distances[distances.metric.isin([GAP, INFLUENCE])].groupby(keys, sort=False):
        mean = part.groupby(["reference", "method"]).distance.mean()
        row = dict(zip(keys, index, strict=True))
        row |= interval_columns("tau", mean_interval(_taus(part, "reference", *RANKED_AGAINST)))
        row |= {f"nearest_{r}": mean[r].idxmin() for r in RANKED_AGAINST}
        rows.append(row | {"n_methods": part.method.nunique(), "n_seeds": part.seed.nunique()})
    return pd.DataFrame(rows)


def ranking_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Every method by its distance to retrain and to clean: one row per condition and method, means over n_seeds seeds
    with 95% intervals.

    gap_retrain, gap_clean: mean absolute difference over UA, RA, TA and MIA; rank_*: the place by it among the methods
    and `original` (to do nothing), 1 for the nearest, mean over seeds; rank_change: rank_clean - rank_retrain, paired
    by seed, above 0 for one that looks better against retrain than it is against clean; residual_influence: see
    unlearnkit.core.statistics. n_diverged: seeds on which there is no model.
    """
    columns = {f"gap_{r}": (GAP, "all", r) for r in RANKED_AGAINST} | {"TA": ("TA", "test", "")}
    columns |= {"neighbour_cost": ("neighbour-cost", "similar", "original"), "RTE": ("RTE", "all", "retrain")}
    table = summarise(scores, columns).join(residual_influence(scores).drop(columns="n_seeds"))
    distances = _ranked(reference_distances(scores))
    gaps = distances[distances.metric == GAP].set_index([*CONDITION_AND_SEED, "method", "reference"]).distance
    place = gaps.groupby(level=[*CONDITION_AND_SEED, "reference"]).rank().unstack("reference")
    ranks = {"rank_retrain": place.retrain, "rank_clean": place.clean, "rank_change": place.clean - place.retrain}
    for name, values in ranks.items():
        groups = values.dropna().groupby(level=[*CONDITION_COLUMNS, "method"])
        rows = pd.DataFrame({index: interval_columns(name, of_row) for index, of_row in groups}).T
        table = table.join(rows.reindex(table.index).astype(float))
    first = [*CONDITION_COLUMNS, "method", "n_seeds", "n_diverged"]
    first += [column for name in ranks for column in interval_columns(name, {})]
    table = in_row_order(table, ["rank_clean", "method"])
    return table[[*first, *(c for c in table if c not in first)]]


def domains(scores: pd.DataFrame) -> pd.Series:
    """Whether each row is of "images" or "texts", whose near-duplicates are paraphrases."""
    return scores.perturbation.str.startswith("paraphrase").map({True: "texts", False: "images"})


def between_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau-b between the orders of the methods by two metrics, of images and of texts: the data of F14.

    Columns domain, metric_a, metric_b, reference, n_conditions, n_seeds, tau, tau_low, tau_high; where metric_a is
    metric_b, reference is "both", and tau that between its orders against retrain and against clean. Means over
    conditions (what differs in more than the seed), with 95% intervals over n_seeds seeds.
    """
    everything, rows = _ranked(reference_distances(scores)), []
    for domain, distances in everything.groupby(domains(everything)):
        names = [name for name in CANDIDATE_METRICS if name in set(distances.metric)]
        pairs = [(a, b, r) for r in RANKED_AGAINST for i, a in enumerate(names) for b in names[i + 1 :]]
        for a, b, reference in [*pairs, *((name, name, "both") for name in names)]:
            compared = [reference] if a != b else RANKED_AGAINST
            part = distances[distances.metric.isin([a, b]) & distances.reference.isin(compared)]
            by = ("metric", a, b) if a != b else ("reference", *RANKED_AGAINST)
            taus = pd.DataFrame(
                {index: _taus(condition, *by) for index, condition in part.groupby(CONDITION_COLUMNS, sort=False)}
            )  # (seeds, conditions)
            interval = mean_interval(taus.mean(axis=1))
            row = {"domain": domain, "metric_a": a, "metric_b": b, "reference": reference}
            row |= {"n_conditions": taus.shape[1], "n_seeds": interval["n"]}
            rows.append(row | interval_columns("tau", interval))
    return pd.DataFrame(rows)


def cost_table(scores: pd.DataFrame) -> pd.DataFrame:
    """What each method costs: one row per data set, architecture and method, means over all of its tasks, with 95%
    intervals over n_seeds seeds of the means over tasks.

    seconds: wall seconds of one unlearning, on one thread or one GPU; steps: of optimisers; each also as a ratio to
    retraining (seconds_ratio by the metric RTE). Peak memory stands with each run (`peak_mib`) and not here: on the CPU
    it is that of the process, which made other models before.
    """
    key = ["dataset", "train_size", "architecture", "method"]
    methods = scores[~scores.method.isin(BASELINES)]

    def by_seed(metric: str, reference: str) -> pd.Series:
        part = methods[(methods.metric == metric) & (methods.reference == reference)]
        return part.groupby([*key, "seed"]).value.mean()

    steps = by_seed("steps", "")
    retrain = steps.xs("retrain", level="method")
    columns = {
        "seconds": by_seed("seconds", ""),
        "steps": steps,
        "steps_ratio": steps / retrain.reindex(steps.index.droplevel("method")).to_numpy(),
        "seconds_ratio": by_seed("RTE", "retrain"),
    }
    parts = []
    for name, values in columns.items():
        groups = values.groupby(level=key)
        parts.append(pd.DataFrame({i: interval_columns(name, mean_interval(v)) for i, v in groups}).T.astype(float))
    table = pd.concat(parts, axis=1).assign(n_seeds=columns["seconds"].groupby(level=key).size())
    return table.rename_axis(key).reset_index().sort_values([*key[:3], "seconds"], ignore_index=True)


def _ranked(distances: pd.DataFrame) -> pd.DataFrame:
    """The rows that are put in order alone: methods, and `original`."""
    left_out = set(BASELINES) - {"original"}
    return distances[distances.method.isin(rankable(distances.method.unique())) & ~distances.method.isin(left_out)]


def _taus(part: pd.DataFrame, by: str, first: str, second: str) -> pd.Series:
    """Kendall's tau-b of the orders by two values of the column `by`, by seed. part: of one condition."""
    wide = part.pivot(index="method", columns=[by, "seed"], values="distance")
    seeds, once = part.seed.unique(), np.ones((1, len(wide)))
    return pd.Series({s: kendall(wide[first, s].to_numpy(), wide[second, s].to_numpy(), once)[0] for s in seeds})
