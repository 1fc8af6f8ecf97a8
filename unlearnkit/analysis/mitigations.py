"""Mitigations where near-duplicates stay (T4): influence removed against accuracy lost on the near-duplicates; and how
many near-duplicates are found without being named. Of mixed tasks: unlearnkit.analysis.mitigations_per_target."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from data_builders.arms import arm_columns
from unlearnkit import study
from unlearnkit.analysis.matched_controls import matched_control, split
from unlearnkit.analysis.tables import with_scores
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import (
    CONDITION_COLUMNS,
    in_row_order,
    interval_columns,
    residual_influence,
    summarise,
)
from unlearnkit.images.config import Config
from unlearnkit.images.tasks import load_pool, load_task
from unlearnkit.methods import methods
from unlearnkit.study.domains import domain
from unlearnkit.study.ensembles import models_of_rows
from unlearnkit.study.reference_models import references
from unlearnkit.study.rows import applicable_rows
from unlearnkit.wrappers.neighbours import find, parse

METRICS = ("influence", "influence-rank", "accuracy", "TA", "neighbour-cost", "RTE", "steps")  # all that T4 needs
TRUE = "true-accuracy"  # accuracy on the labels that the raw images came with: a canary was trained on another one
COLUMNS = {  # column: metric, group, reference; left out where there is no such metric
    "neighbour_cost": ("neighbour-cost", "similar", "original"),
    "near_duplicate_true_label_accuracy": (TRUE, "similar", ""),
    "TA": ("TA", "test", ""),
    "FA": ("accuracy", "target", ""),
    "RTE": ("RTE", "all", "retrain"),
}


# --- are near-duplicates found? --------------------------------------------------------------------------------------


def neighbour_recall(configs: Sequence[Config], searches: Sequence[str], *, device: str = "auto") -> pd.DataFrame:
    """How well each neighbour search (see unlearnkit.wrappers.neighbours.parse) finds the near-duplicates by each
    config's original model: one row per condition and search, means over n_seeds seeds with 95% intervals.

    precision: share of the samples found that are near-duplicates of a target, over the seeds on which any is found; in
    a mixed task those of all arms, and none that is a copy of something else;
    recall: share of the near-duplicates that are found; n_found: number of samples found; precision_of_chance: share of
    near-duplicates in the retain set, the precision of a random draw. A search for more samples than there are fails as
    the wrapper does.
    """
    for search in searches:
        parse(search)  # fails now, and not after training
    rows = []
    originals = references(configs, ["original"], device=device)
    with Progress("neighbours", len(configs)) as bar:
        for config, refs in zip(configs, originals, strict=True):
            task, model = study.load_task(config), refs["original"].load()
            request, kept = domain(config).request(config), task.index("similar", "filler")
            linked = torch.isin(kept, near_duplicates(task))
            for search in searches:
                columns = {**config.columns(), "neighbour_search": search, "run": refs["original"].key}
                index = find(model, request, search, device=device).index
                rows.append(columns | precision_recall(index, linked))
            bar.step()
    table, keys, parts = pd.DataFrame(rows), [*CONDITION_COLUMNS, "neighbour_search"], []
    for index, part in table.groupby(keys, sort=False):
        row = dict(zip(keys, index, strict=True))
        row |= {"precision_of_chance": part.precision_of_chance.mean(), "n_seeds": len(part)}
        for name in ("precision", "recall", "n_found"):
            row |= interval_columns(name, part[name])
        parts.append(row | {"run": " ".join(part.run)})
    return pd.DataFrame(parts)


def near_duplicates(task) -> torch.Tensor:
    """Row numbers of the samples that the pair table links to a target, and not to a decoy, and that are near-duplicates of
    it: in the control arms of a mixed task they are those of others."""
    targets = task.index("target")
    if task.arm is not None:
        own = torch.tensor([not arm_columns(arm)["control"] for arm in task.facts["arms"]])
        targets = targets[own[task.arm[targets].long()]]
    return torch.tensor(task.pairs.similar[task.pairs.anchor.isin(targets.tolist())].unique())


def precision_recall(index: torch.Tensor, linked: torch.Tensor) -> dict[str, float]:
    """{precision, recall, n_found, precision_of_chance} of the rows `index` that a search found, where `linked`, (n,)
    bool, says which are right; NaN for a share of nothing."""
    hits = int(linked[index].sum())
    return {
        "precision": hits / len(index) if len(index) else float("nan"),
        "recall": hits / int(linked.sum()) if linked.any() else float("nan"),
        "n_found": len(index),
        "precision_of_chance": linked.double().mean().item(),
    }


# --- do they help? ---------------------------------------------------------------------------------------------------


def wrapped_methods(
    bases: Sequence[str], wrapper_names: Sequence[str], extra: Sequence[Mapping] = ()
) -> list[tuple[str, dict]]:
    """(method, options) of each base bare, then in each wrapper, then in those of `extra`, each a wrapper and its
    options: {"wrapper": "expand", "near": "feature top 25"}, around `bases` of its own if it names them. Raises
    UnknownName, and BadValue for options that do not fit."""
    pairs: list[tuple[str, dict]] = [(base, {}) for base in bases]
    for chosen in [*({"wrapper": name} for name in wrapper_names), *extra]:
        options = {k: v for k, v in chosen.items() if k not in ("wrapper", "bases")}
        pairs += [(f"{chosen['wrapper']}({base})", options) for base in chosen.get("bases", bases)]
    for method, options in pairs:
        methods[method].resolve(options)
        if "near" in options:
            parse(options["near"])
    return pairs


def mitigation_scores(
    configs: Sequence[Config],
    methods_with_options: Sequence[tuple[str, Mapping]],
    *,
    tuned: bool = True,
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy score table that T4 is made from: the baselines and all `methods_with_options` (see `wrapped_methods`)
    on each config of images, with `true-accuracy` beside the registered metrics."""
    names = [*study.BASELINES, *methods_with_options]
    scores = study.scores(configs, names, tuned=tuned, metrics=METRICS, device=device)
    true = {config: true_labels(config) for config in configs}
    more = []
    for row, model in models_of_rows(applicable_rows(configs, names, tuned=tuned), device=device):
        if model is None:
            continue
        key, outputs = study.outputs(model, device=device)
        right = (outputs.logits.argmax(1) == true[row.config]).double()
        columns = row.config.columns() | {"method": row.label, "metric": TRUE, "reference": "", "run": key}
        groups = [group for group in ("target", "similar") if group in outputs.groups]
        more += [columns | {"group": g, "value": right[outputs.rows(g)].mean().item()} for g in groups]
    return pd.concat([scores, pd.DataFrame(more)], ignore_index=True)


def true_labels(config: Config) -> torch.Tensor:
    """The label of the raw image that each sample of the config's task is or was made from, (n,) int64."""
    pool, source = load_pool(config), load_task(config).source
    ids, y = torch.cat([pool.ids, pool.test_ids]), torch.cat([pool.y, pool.test_y])
    order = ids.argsort()
    return y[order[torch.searchsorted(ids[order], source)]]


def mitigations_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Mitigations: one row per config, base and wrapper, means over n_seeds seeds with 95% intervals.

    influence_removed = 1 - residual influence, with Fieller's interval, if the original has learnt its targets;
    influence_removed_rank: the same by the rank of targets among decoys; minus_control: residual influence less that of
    `matched_control` of the method, paired by seed: below 0, a search removes more than as many random samples do;
    neighbour_cost: accuracy lost on the near-duplicates, by the labels they were trained with;
    near_duplicate_true_label_accuracy: accuracy on them by the labels of the raw images. pareto_optimal: no other method
    of the config, bare or wrapped, is at least as good in all of three means and better in one: |residual influence| and
    neighbour cost low, test accuracy high. Its absolute value, since to avoid a label more than `clean` does is a trace,
    too; a method that diverged on a seed is not Pareto-optimal. scores: of `mitigation_scores`.
    """
    columns = with_scores(COLUMNS, scores)
    table = summarise(scores, columns)
    controls = {method: control for method in scores.method.unique() if (control := matched_control(method))}
    for name, metric in (("influence_removed", "influence"), ("influence_removed_rank", "influence-rank")):
        left = residual_influence(scores, metric, "left")
        table = table.join(pd.DataFrame(interval_columns(name, {
            "mean": 1 - left.left, "low": 1 - left.left_high, "high": 1 - left.left_low
        })))  # fmt: skip
        minus = f"minus_control{name.removeprefix('influence_removed')}"
        less = residual_influence(scores, metric, minus, controls) if controls else left.iloc[:0]
        paired = less.n_seeds.reindex(table.index)
        table = table.join(less.reindex(columns=[*interval_columns(minus, {})]))
        if (paired < table.n_seeds).any():  # a control that diverged on a seed
            table[f"{minus}_n"] = paired
    learnt = left.learnt.groupby(level=CONDITION_COLUMNS).first()
    table = table.reset_index().merge(learnt.reset_index(), on=CONDITION_COLUMNS)
    table = pd.concat([table, table.method.map(split).apply(pd.Series)], axis=1)
    table["pareto_optimal"] = False
    for _, part in table[~table.method.isin(study.BASELINES)].groupby(CONDITION_COLUMNS):
        goals = pd.DataFrame(
            {"removed": 1 - (1 - part.influence_removed).abs(), "cost": -part.neighbour_cost, "test": part.TA}
        )
        goals = goals.fillna({"cost": 0.0}).where(part.n_diverged == 0)  # the mean over what is left is no fair one
        table.loc[part.index, "pareto_optimal"] = pareto_front(goals.to_numpy())
    counts = ["n_seeds", "n_diverged", "pareto_optimal", "learnt"]
    first = [*CONDITION_COLUMNS, "method", "base", "wrapper", "options", *counts]
    named = ["influence_removed", "influence_removed_rank", "minus_control", "minus_control_rank", *columns]
    table = in_row_order(table, ["base", "wrapper", "options"], ("original", "", "clean", "clean-again"))
    last = [c for name in named for c in (*interval_columns(name, {}), f"{name}_n") if c in table]
    return table[[*first, *last]]


def pareto_front(values: np.ndarray) -> np.ndarray:
    """Which rows are not dominated, (n,) bool; larger is better. values: (n, goals). A row is dominated if another is
    at least as good in all and better in one; one with a NaN is neither on the front nor dominates."""
    v = np.asarray(values, dtype=float)
    better = (v[:, None] >= v[None]).all(2) & (v[:, None] > v[None]).any(2)  # (a, b): a dominates b
    return ~better.any(0) & ~np.isnan(v).any(1)
