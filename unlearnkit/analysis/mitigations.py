"""What helps when similar samples stay: T4, and how many of them are found without being told."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from unlearnkit import study
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval, residual_influence, summarise
from unlearnkit.images.config import Config
from unlearnkit.images.tasks import load_pool, load_task
from unlearnkit.methods import methods
from unlearnkit.study.domains import domain
from unlearnkit.study.reference_models import Trained, references
from unlearnkit.study.unlearned_models import label
from unlearnkit.wrappers import wrappers
from unlearnkit.wrappers.neighbours import find, parse

# all that T4 needs; fact-accuracy is of texts alone
METRICS = ("phi", "phi-decoy", "accuracy", "fact-accuracy", "TA", "neighbour-cost", "RTE", "steps")
TRUE = "true-accuracy"  # accuracy on the labels that the raw images came with: a canary was trained on another one
COLUMNS = {  # column: metric, group, reference; left out where there is no such metric
    "neighbour_cost": ("neighbour-cost", "similar", "original"),
    "similar_true": (TRUE, "similar", ""),
    "similar_fact": ("fact-accuracy", "similar", ""),
    "TA": ("TA", "test", ""),
    "FA": ("accuracy", "target", ""),
    "fact": ("fact-accuracy", "target", ""),
    "RTE": ("RTE", "all", "retrain"),
}


# --- are they found? -----------------------------------------------------------------------------------------------


def neighbour_recall(configs: Sequence[Config], ways: Sequence[str], *, device: str = "auto") -> pd.DataFrame:
    """How well each way of finding neighbours (see unlearnkit.wrappers.neighbours.parse) finds the linked samples by each config's
    original model: one row per condition and way, means over seeds with 95% intervals.

    precision: share of what is found that is linked to a target, over the seeds on which something is found; recall: share
    of the linked samples that are found; found: how many are; chance: share of the retain set that is linked, the precision
    of a draw. A way that asks for more than there are fails as a wrapper does.
    """
    for way in ways:
        parse(way)  # fails now, and not after training
    rows = []
    originals = references(configs, ["original"], device=device)
    with Progress("neighbours", len(configs)) as bar:
        for config, refs in zip(configs, originals, strict=True):
            task, model = study.load_task(config), refs["original"].load()
            request, kept = domain(config).request(config), task.index("similar", "filler")
            linked = torch.isin(kept, _linked(task))
            for way in ways:
                of = {**config.columns(), "way": way, "run": refs["original"].key}
                rows.append(of | precision_recall(find(model, request, way, device=device).index, linked))
            bar.step()
    table, parts = pd.DataFrame(rows), []
    for index, part in table.groupby([*CONDITION_COLUMNS, "way"], sort=False):
        row = dict(zip([*CONDITION_COLUMNS, "way"], index, strict=True)) | {
            "chance": part.chance.mean(),
            "n": len(part),
        }
        for name in ("precision", "recall", "found"):
            values = part[name].dropna()
            seen = mean_interval(values) if len(values) else dict.fromkeys(("mean", "low", "high"))
            row |= {name: seen["mean"], f"{name}_low": seen["low"], f"{name}_high": seen["high"]}
        parts.append(row | {"run": " ".join(part.run)})
    return pd.DataFrame(parts)


def _linked(task) -> torch.Tensor:
    """Row numbers of the samples that the pair table links to a target, and not to a decoy."""
    of_target = task.pairs.anchor.isin(task.index("target").tolist())
    return torch.tensor(task.pairs.similar[of_target].unique())


def precision_recall(found: torch.Tensor, linked: torch.Tensor) -> dict[str, float]:
    """{precision, recall, found, chance} of rows `found`, where `linked`, (n,) bool, says which are right; NaN for a share
    of nothing."""
    hits = int(linked[found].sum())
    return {
        "precision": hits / len(found) if len(found) else float("nan"),
        "recall": hits / int(linked.sum()) if linked.any() else float("nan"),
        "found": len(found),
        "chance": linked.double().mean().item(),
    }


# --- does it help? -------------------------------------------------------------------------------------------------


def rows(bases: Sequence[str], around: Sequence[str], also: Sequence[Mapping] = ()) -> list[tuple[str, dict]]:
    """(method, options) of each base bare, then in each wrapper, then in those of `also`, each a wrapper and its options:
    {"wrapper": "expand", "near": "feature top 25"}. Raises UnknownName, and BadValue for options that do not fit."""
    made = [(base, {}) for base in bases]
    for extra in [*({"wrapper": name} for name in around), *also]:
        options = {k: v for k, v in extra.items() if k != "wrapper"}
        made += [(f"{extra['wrapper']}({base})", options) for base in bases]
    for method, options in made:
        methods[method].resolve(options)
        if "near" in options:
            parse(options["near"])
    return made


def mitigation_scores(
    configs: Sequence[Config], wanted: Sequence[tuple[str, Mapping]], *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """The tidy score table that T4 is made from: the baselines and all that is wanted (see `rows`) on each
    config, with `true-accuracy` of images beside the registered metrics."""
    rounds: list[dict] = [{name: {} for name in study.BASELINES}]  # a method has one set of options in each
    for name, options in wanted:
        if all(name in taken for taken in rounds):
            rounds.append({})
        next(taken for taken in rounds if name not in taken)[name] = options
    how = {"tuned": tuned, "metrics": METRICS, "device": device}
    scores = pd.concat([study.scores(configs, list(taken), taken, **how) for taken in rounds], ignore_index=True)
    asked = {label(name, options): (name, options) for name, options in [*((b, {}) for b in study.BASELINES), *wanted]}
    seen = (
        scores[(scores.metric == "phi") & (scores.group == "target")]
        .groupby(["method", *CONDITION_COLUMNS, "seed"])
        .size()
    )
    truth = []
    for config in (c for c in configs if c.domain == "image"):
        true = true_labels(config)
        for name, (method, options) in asked.items():
            if (name, *config.columns().values()) not in seen.index:
                continue  # diverged, or without a meaning here
            key, outputs = study.outputs(_model(config, method, options, tuned, device), device=device)
            right = (outputs.logits.argmax(1) == true).double()
            truth += [
                config.columns() | {"method": name, "metric": TRUE, "reference": "", "group": g, "run": key}
                | {"value": right[outputs.rows(g)].mean().item()}
                for g in ("target", "similar") if g in outputs.groups
            ]  # fmt: skip
    return pd.concat([scores, pd.DataFrame(truth)], ignore_index=True) if truth else scores


def _model(config: Config, method: str, options: Mapping, tuned: bool, device: str) -> Trained:
    if method in study.BASELINES:
        name, again = method.removesuffix("-again"), "again" if method.endswith("-again") else ""
        return references([config], [name], repeat=again, device=device)[0][name]
    return study.unlearn(config, method, options, tuned=tuned, device=device)


def true_labels(config: Config) -> torch.Tensor:
    """The label of the raw image that each sample of the config's task is or was made from, (n,) int64."""
    pool, source = load_pool(config), load_task(config).source
    ids, y = torch.cat([pool.ids, pool.test_ids]), torch.cat([pool.y, pool.test_y])
    order = ids.argsort()
    return y[order[torch.searchsorted(ids[order], source)]]


def mitigations_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Potential solutions: one row per config, base and wrapper, means over seeds with 95% intervals.

    removed = 1 - rho, with Fieller's interval; removed_net: the same net of what the model knows of decoys, which tells less
    influence from less confidence in all; neighbour_cost: accuracy lost on the similar samples, by the labels they were
    trained with; similar_true: accuracy on them by the labels of the raw images; fact, similar_fact: of texts, the share of
    what is said of targets and similar samples that holds its fact. front: no other method of the config, bare or
    wrapped, is at least as good in all of three means and better in one: |rho| and neighbour cost low, test accuracy high.
    |rho|, since to avoid a label more than `clean` does is a trace, too; a method that diverged on a seed is not on it.
    scores: `measured`.
    """
    columns = {name: key for name, key in COLUMNS.items() if key[0] in set(scores.metric)}
    table = summarise(scores, columns)
    for name, metric in (("removed", "phi"), ("removed_net", "phi-decoy")):
        found = residual_influence(scores, metric)
        ends = {name: 1 - found.rho, f"{name}_low": 1 - found.rho_high, f"{name}_high": 1 - found.rho_low}
        table = table.join(pd.DataFrame(ends))
    table = table.reset_index()
    table = pd.concat([table, table.method.map(split).apply(pd.Series)], axis=1)
    table["front"] = False
    for _, part in table[~table.method.isin(study.BASELINES)].groupby(CONDITION_COLUMNS):
        goals = pd.DataFrame({"removed": 1 - (1 - part.removed).abs(), "cost": -part.neighbour_cost, "test": part.TA})
        goals = goals.fillna({"cost": 0.0}).where(part.diverged == 0)  # the mean over what is left is no fair one
        table.loc[part.index, "front"] = pareto_front(goals.to_numpy())
    first = [*CONDITION_COLUMNS, "method", "base", "wrapper", "options", "n", "diverged", "front"]
    named = ["removed", "removed_net", *columns]
    return _ordered(table)[[*first, *(c for name in named for c in (name, f"{name}_low", f"{name}_high"))]]


def split(method: str) -> dict[str, str]:
    """{base, wrapper, options} of a method as the score table calls it; wrapper "" for a bare one."""
    parts = re.fullmatch(r"(\w+)\(([\w-]+)\)(?:\((.*)\))?", method)
    if parts and parts[1] in wrappers:
        return {"base": parts[2], "wrapper": parts[1], "options": parts[3] or ""}
    bare = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", method)
    return {"base": bare[1] if bare else method, "wrapper": "", "options": (bare and bare[2]) or ""}


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Original first, then base by base, bare before wrapped, then clean and its noise floor."""
    place = {"original": 0, "clean": 2, "clean-again": 3}
    table = table.assign(place=table.method.map(lambda m: place.get(m, 1)))
    return table.sort_values([*CONDITION_COLUMNS, "place", "base", "wrapper", "options"], ignore_index=True).drop(
        columns="place"
    )


def pareto_front(values: np.ndarray) -> np.ndarray:
    """Which rows are not dominated, (n,) bool; larger is better. values: (n, goals). A row is dominated if another is at
    least as good in all and better in one; one with a NaN is neither on the front nor dominates."""
    v = np.asarray(values, dtype=float)
    better = (v[:, None] >= v[None]).all(2) & (v[:, None] > v[None]).any(2)  # (a, b): a dominates b
    return ~better.any(0) & ~np.isnan(v).any(1)
