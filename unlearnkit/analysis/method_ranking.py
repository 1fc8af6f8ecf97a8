"""Where the questions meet: does the choice of a method depend on what it is compared with (T9, F14), and what does it cost
(T10)? All from the one tidy score table."""

import numpy as np
import pandas as pd

from unlearnkit.analysis.metric_agreement import kendall, named, rankable
from unlearnkit.analysis.metric_distances import CANDIDATE_METRICS
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval, residual_influence, summarise
from unlearnkit.metrics import metrics
from unlearnkit.study import BASELINES

RANKED_AGAINST = ("retrain", "clean")  # the usual gold standard, and the model without any influence
CONDITION_AND_SEED = ["seed", *CONDITION_COLUMNS]
GAP = "avg-gap"  # what T9 puts methods in order by
INFLUENCE = "rho"  # ... and, beside it, by phi on the targets, which rho is made from


def reference_distances(scores: pd.DataFrame) -> pd.DataFrame:
    """How far each row is from each reference by each yardstick that the scores hold (unlearnkit.analysis.metric_distances): the columns
    of the config, method, yardstick, reference, distance.

    A metric that compares with the reference: |value - its best|; any other: |value - that of the row of this name|, which
    for `retrain` is the method, from a seed of its own. Rows that diverged have none. Raises BadValue for scores without the
    rows `retrain` and `clean`.
    """
    if missing := set(RANKED_AGAINST) - set(scores.method):
        raise BadValue(f"the scores have no row {', '.join(sorted(missing))}, which the others are compared with")
    known = {
        key: part.set_index([*CONDITION_AND_SEED, "method"]).value
        for key, part in scores.groupby(["metric", "group", "reference"])
    }
    found = []
    for yardstick, (metric, group, _) in CANDIDATE_METRICS.items():
        to = metrics[metric].info["references"]  # ZRF's is the untrained model, whomever the methods are held against
        compares = "retrain" in to
        for reference in RANKED_AGAINST:
            key = (metric, group, reference if compares else next(iter(to), ""))
            if key not in known:
                continue
            value = known[key]
            if compares:
                far = (value - metrics[metric].info["best"]).abs()
            else:
                there = value.xs(reference, level="method")
                far = (value - there.reindex(value.index.droplevel("method")).to_numpy()).abs().dropna()
            of = {"yardstick": yardstick, "reference": reference}
            found.append(far.rename("distance").reset_index().assign(**of))
    return pd.concat(found, ignore_index=True)


def orders_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How alike the orders of the methods are by their distance to retrain and to clean: one row per condition, by the
    average gap and by rho.

    tau: Kendall's tau-b, mean over n seeds with a 95% interval; 1 = the choice of the reference does not matter.
    nearest_retrain, nearest_clean: the method (or `original`, to do nothing) that is nearest on average.
    """
    far = _in_order(reference_distances(scores))
    rows = []
    for index, part in far[far.yardstick.isin([GAP, INFLUENCE])].groupby([*CONDITION_COLUMNS, "yardstick"], sort=False):
        mean = part.groupby(["reference", "method"]).distance.mean()
        row = dict(zip([*CONDITION_COLUMNS, "yardstick"], index, strict=True)) | named(
            "tau", mean_interval(_taus(part, "reference", *RANKED_AGAINST))
        )
        row |= {f"nearest_{r}": mean[r].idxmin() for r in RANKED_AGAINST}
        rows.append(row | {"methods": part.method.nunique(), "n": part.seed.nunique()})
    return pd.DataFrame(rows)


def ranking_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Every method by its distance to retrain and to clean: one row per condition and method, means over n seeds with 95%
    intervals.

    gap_retrain, gap_clean: mean absolute difference over UA, RA, TA and MIA; rank_*: the place by it among the methods and
    `original` (to do nothing), 1 for the nearest, mean over seeds; moved: rank_clean - rank_retrain, paired by seed, above 0
    for one that looks better against retrain than it is against clean; rho: see unlearnkit.core.statistics. diverged: seeds on which
    there is no model.
    """
    columns = {f"gap_{r}": (GAP, "all", r) for r in RANKED_AGAINST} | {"TA": ("TA", "test", "")}
    columns |= {"neighbour_cost": ("neighbour-cost", "similar", "original"), "RTE": ("RTE", "all", "retrain")}
    table = summarise(scores, columns).join(residual_influence(scores).drop(columns="n"))
    far = _in_order(reference_distances(scores))
    far = far[far.yardstick == GAP]
    place = (
        far.set_index([*CONDITION_AND_SEED, "method", "reference"])
        .distance.groupby(level=[*CONDITION_AND_SEED, "reference"])
        .rank()
    )
    place = place.unstack("reference")
    place["moved"] = place.clean - place.retrain
    named = {"retrain": "rank_retrain", "clean": "rank_clean", "moved": "moved"}
    for name, column in named.items():
        groups = place[name].dropna().groupby(level=[*CONDITION_COLUMNS, "method"])
        found = pd.DataFrame({i: mean_interval(v) for i, v in groups}).T.reindex(table.index)
        for end, key in (("", "mean"), ("_low", "low"), ("_high", "high")):
            table[column + end] = found[key].astype(float)
    order = {"original": 0, "clean": 2, "clean-again": 3}
    table = table.reset_index().assign(place=lambda t: t.method.map(lambda m: order.get(m, 1)))
    table = table.sort_values([*CONDITION_COLUMNS, "place", "rank_clean", "method"], ignore_index=True).drop(
        columns="place"
    )
    first = [
        *CONDITION_COLUMNS,
        "method",
        "n",
        "diverged",
        *(f"{c}{e}" for c in named.values() for e in ("", "_low", "_high")),
    ]
    return table[[*first, *(c for c in table if c not in first)]]


def domains(scores: pd.DataFrame) -> pd.Series:
    """Whether each row is of "images" or "texts", whose similar samples are paraphrases."""
    return scores.perturbation.str.startswith("paraphrase").map({True: "texts", False: "images"})


def between_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau-b between the orders of the methods by two yardsticks, of images and of texts: the data of F14.

    Columns domain, a, b (yardsticks), reference, tau, tau_low, tau_high, conditions, n; where a is b, reference is "both",
    and tau that between its orders against retrain and against clean. Means over conditions (what differs in more than the
    seed), with 95% intervals over n seeds.
    """
    everything, rows = _in_order(reference_distances(scores)), []
    for domain, far in everything.groupby(domains(everything)):
        names = [y for y in CANDIDATE_METRICS if y in set(far.yardstick)]
        pairs = [(a, b, r) for r in RANKED_AGAINST for i, a in enumerate(names) for b in names[i + 1 :]]
        for a, b, reference in [*pairs, *((y, y, "both") for y in names)]:
            part = far[far.yardstick.isin([a, b]) & far.reference.isin([reference] if a != b else RANKED_AGAINST)]
            by = ("yardstick", a, b) if a != b else ("reference", *RANKED_AGAINST)
            taus = pd.DataFrame(
                {i: _taus(one, *by) for i, one in part.groupby(CONDITION_COLUMNS, sort=False)}
            )  # (seeds, conditions)
            found = mean_interval(taus.mean(axis=1)) | {"conditions": taus.shape[1]}
            of = {"domain": domain, "a": a, "b": b, "reference": reference}
            rows.append(of | {"conditions": found["conditions"], "n": found["n"]} | named("tau", found))
    return pd.DataFrame(rows)


def cost_table(scores: pd.DataFrame) -> pd.DataFrame:
    """What each method costs: one row per data set, architecture and method, means over all of its tasks, with 95% intervals
    over seeds of the means over tasks.

    seconds: wall seconds of one unlearning, on one thread or one GPU; steps: of optimisers; each also as a ratio to
    retraining (seconds_ratio by the metric RTE). Peak memory stands with each run (`peak_mib`) and not here: on the CPU it
    is that of the process, which made other models before.
    """
    key = ["dataset", "train_size", "architecture", "method"]
    wanted = {"seconds": ("seconds", ""), "steps": ("steps", ""), "seconds_ratio": ("RTE", "retrain")}
    table = {}
    for name, (metric, reference) in wanted.items():
        part = scores[(scores.metric == metric) & (scores.reference == reference) & ~scores.method.isin(BASELINES)]
        by_seed = part.groupby([*key, "seed"]).value.mean()
        table[name] = pd.Series({i: mean_interval(v) for i, v in by_seed.groupby(level=key)})
        if name == "steps":
            whole = by_seed.xs("retrain", level="method")
            ratio = by_seed / whole.reindex(by_seed.index.droplevel("method")).to_numpy()
            table["steps_ratio"] = pd.Series({i: mean_interval(v) for i, v in ratio.groupby(level=key)})
    out = {f"{name}{end}": found.map(lambda d, k=k: d[k])
           for name, found in table.items() for end, k in (("", "mean"), ("_low", "low"), ("_high", "high"))}  # fmt: skip
    found = (
        pd.DataFrame(out).astype(float).assign(n=table["seconds"].map(lambda d: d["n"])).rename_axis(key).reset_index()
    )
    return found.sort_values([*key[:3], "seconds"], ignore_index=True)


def _in_order(far: pd.DataFrame) -> pd.DataFrame:
    """Of what is put in order alone: methods, and `original`."""
    out = set(BASELINES) - {"original"}
    return far[far.method.isin(rankable(far.method.unique())) & ~far.method.isin(out)]


def _taus(part: pd.DataFrame, by: str, first: str, second: str) -> pd.Series:
    """Kendall's tau-b of the orders by two values of the column `by`, by seed. part: of one condition."""
    wide = part.pivot(index="method", columns=[by, "seed"], values="distance")
    seeds, once = part.seed.unique(), np.ones((1, len(wide)))
    return pd.Series({s: kendall(wide[first, s].to_numpy(), wide[second, s].to_numpy(), once)[0] for s in seeds})
