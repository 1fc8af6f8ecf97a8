"""The tidy score table: every metric of every model asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearnkit import metrics as metrics_module
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.methods import applies, methods
from unlearnkit.methods.tuned_options import resolve
from unlearnkit.metrics import relearn_time as relearn_module
from unlearnkit.study import generation as said_module
from unlearnkit.study.domains import domain, task_artefact
from unlearnkit.study.generation import answer_similarity, generations
from unlearnkit.study.model_outputs import outputs, relearn_steps
from unlearnkit.study.reference_models import INITIAL, REFERENCES, Trained, references, train_references, untrained
from unlearnkit.study.unlearned_models import label, unlearn

# rows of every table that are no methods: two references, and clean from other seeds, the noise floor beside it
BASELINES = ("original", "clean", "clean-again")


def _rows(
    config: Config, name: str, options: Mapping, tuned: bool, repeats: Sequence[str], device: str
) -> list[Trained]:
    """The models of a row from several draws of the seeds; `name` is a method, one of BASELINES, or INITIAL."""
    if name == INITIAL:
        return [untrained(config, repeat=repeat) for repeat in repeats]
    if name in BASELINES:
        again = "again" if name == "clean-again" else ""
        return train_references([(config, name.removesuffix("-again"), again + repeat) for repeat in repeats], device)
    train_references([(config, "original", repeat) for repeat in repeats], device)  # together
    return [unlearn(config, name, options, tuned=tuned, repeat=repeat, device=device) for repeat in repeats]


def model(
    config: Config, name: str, options: Mapping | None = None, *, tuned: bool = True, device: str = "auto"
) -> Trained:
    """The model of a row: what a method makes, one of BASELINES, or "initial"."""
    return _rows(config, name, options or {}, tuned, [""], device)[0]


def _repeats(n: int) -> list[str]:
    """n draws of the seeds; the first is the one that everything else uses. Raises BadValue for less than one."""
    if n < 1:
        raise BadValue(f"an ensemble has at least one model, got {n}")
    return ["", *map(str, range(1, n))]


def ensemble(
    config: Config,
    name: str,
    n: int,
    options: Mapping | None = None,
    *,
    tuned: bool = True,
    reference: bool = False,
    device: str = "auto",
) -> Tensor:
    """Margins (Outputs.phi) of n models of one kind made from other seeds, on the same task: (n, samples) float64.

    name: a method, one of BASELINES, or "initial"; with reference=True one of the reference models. A method's k-th
    model comes from the k-th original. Raises BadValue for less than one model.
    """
    if reference:
        return _margins(train_references([(config, name, repeat) for repeat in _repeats(n)], device), device)
    return _margins(_rows(config, name, options or {}, tuned, _repeats(n), device), device)


def _margins(members: Sequence[Trained], device: str) -> Tensor:
    return torch.stack([outputs(model, device=device)[1].phi for model in members])


def reference_scores(configs: Sequence[Config], *, device: str = "auto") -> pd.DataFrame:
    """What the three reference models know: the tidy score table with accuracy and phi of each group alone, and of texts
    the loss; accuracy is there the share of an answer's tokens that are the likeliest."""
    rows = []
    for config, trio in zip(configs, references(configs, device=device), strict=True):
        for name, model in trio.items():
            key, seen = outputs(model, device=device)
            found = {"accuracy": seen.correct, "phi": seen.phi} | (
                {"loss": seen.losses} if config.domain == "text" else {}
            )
            for metric, group in ((m, g) for m in found for g in seen.groups):
                value = found[metric][seen.rows(group)].mean().item()
                of = {"method": name, "metric": metric, "group": group, "reference": ""}
                rows.append(config.columns() | of | {"value": value, "run": key})
    return pd.DataFrame(rows)


def scores(
    configs: Sequence[Config],
    names: Sequence[str] | Mapping[Config, Sequence[str]],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    metrics: Sequence[str] | None = None,
    n_models: int = 16,
    options_in_name: bool = True,
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy score table: one row per config, method, metric, reference and group; `run` is the scores' key.

    names: methods, and the rows of BASELINES that are none, and "initial", for all configs or for each; a method is left
    out of configs for which it has no meaning (unlearnkit.methods.applies; or that it refuses as NotApplicable). options:
    {method: options} that are to differ from those that `unlearn` would take, which are the tuned ones unless `tuned` is
    False. metrics: all that need no more than one pass of each model, if not given; any others by name, each in configs of
    the domains that it judges. n_models: how many of each kind are made for the metrics that compare ensembles. labelled:
    given options are part of a method's name in the table; False where each has one set of them, stated elsewhere. A method
    that diverged has one row, of metric "diverged". Raises NotApplicable if no method has a meaning.
    """
    judged = {
        kind: metrics_module.single_pass_metrics(kind)
        if metrics is None
        else metrics_module.judging(kind, sorted(set(metrics)))
        for kind in sorted({domain(config).NAME for config in configs})
    }
    compared = [config for config in configs if "ensemble" in metrics_module.needs_of(judged[domain(config).NAME])]
    rows = [(c, n) for c in configs for n in (names[c] if isinstance(names, Mapping) else names)]
    wanted = [(c, n) for c, n in rows if n in (*BASELINES, INITIAL) or applies(n, c.targets, domain(c).NAME)]
    if not wanted:
        raise NotApplicable(f"no meaning for these targets: {', '.join(sorted({n for _, n in rows}))}")
    for name, *of, kind in sorted({(n, c.dataset, c.model, domain(c).NAME) for c, n in wanted if n in methods}):
        resolve(name, *of, (options or {}).get(name), tuned=tuned, domain=kind)  # fails now, and not after an hour
    references(configs, device=device)
    references([c for c, n in wanted if n == "clean-again"], ["clean"], repeat="again", device=device)
    draws = [(name, repeat) for name in REFERENCES for repeat in _repeats(n_models)]
    train_references(
        [(config, *draw) for config in compared for draw in draws], device
    )  # with what is unlearned from, together
    frames = []
    with Progress("scores", len(wanted)) as bar:
        for config, name in wanted:
            given = (options or {}).get(name, {})
            try:
                table, run = _scores(config, name, given, tuned, judged[domain(config).NAME], n_models, device)
                of = config.columns() | {"method": label(name, given) if options_in_name else name, "run": run}
                frames.append((table, of))
            except NotApplicable as error:  # seen only in the config: say, a class of which nothing stays
                why = error
            bar.step()
    if not frames:
        raise why
    found = pd.concat([table for table, _ in frames], ignore_index=True)
    which = np.repeat(np.arange(len(frames)), [len(table) for table, _ in frames])
    return found.join(pd.DataFrame([of for _, of in frames]).iloc[which].reset_index(drop=True))


def _scores(
    config: Config, name: str, options: Mapping, tuned: bool, metrics: Sequence[str], n: int, device: str
) -> tuple[pd.DataFrame, str]:
    """Metric, reference, group and value; and the key of what they were found in."""
    registered, needs = [metrics_module.metrics[m] for m in metrics], metrics_module.needs_of(metrics)
    (refs,) = references([config], device=device)
    refs |= {INITIAL: untrained(config)}
    timed = unlearn(config, "retrain", device=device)
    (model,) = _rows(config, name, options, tuned, [""], device)
    if "diverged" in model.artefact.info:
        row = {"metric": "diverged", "reference": "", "group": "all", "value": 1.0}
        return pd.DataFrame([row]), model.key
    cost = None if name in (*BASELINES, INITIAL) else model.artefact.info
    compared = [r for r in refs if any(r in entry.info["references"] for entry in registered)]
    parents = [model.key, timed.key, *(refs[r].key for r in (*REFERENCES, INITIAL)), task_artefact(config).key]
    params = {"metrics": list(metrics), "name": name}
    if "ensemble" in needs:
        alike = {"": _rows(config, name, options, tuned, _repeats(n), device)}
        alike |= {r: train_references([(config, r, k) for k in _repeats(n)], device) for r in compared if r != INITIAL}
        parents += [member.key for members in alike.values() for member in members]
        params |= {"n_models": n}
    roots = [
        metrics_module,
        domain(config).outputs_code(config)[0],
        *registered,
        *([relearn_module] if "relearn" in needs else []),
        *([said_module] if needs & {"generation", "embedding"} else []),
    ]
    spec = Spec("scores", params, roots, parents)

    def seen(model: Trained, cost: Mapping | None, role: str) -> Outputs:
        found = outputs(model, features="features" in needs, cost=cost, device=device)[1]
        if "ensemble" in needs and role in alike:
            found = replace(found, margins=_margins(alike[role], device))
        if "relearn" in needs and not role:
            found = replace(found, relearn_steps=relearn_steps(model, device=device))
        if "generation" in needs:
            found = replace(found, generations=generations(model, device=device)[1])  # type: ignore[call-arg]
        if "embedding" in needs:
            found = replace(found, answer_similarity=answer_similarity(model, device=device)[1])  # type: ignore[call-arg]
        return found

    def make(folder: Path) -> None:
        taken = {r: seen(refs[r], timed.artefact.info if r == "retrain" else None, r) for r in compared}
        table = metrics_module.score(seen(model, cost, ""), taken, metrics)
        table.to_parquet(folder / "scores.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "scores.parquet"), artefact.key
