"""The tidy score table: every metric of every row asked for."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from unlearnkit import metrics as metrics_module
from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.progress import Progress, duration
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import relearn_time as relearn_module
from unlearnkit.study import generation as generation_module
from unlearnkit.study.domains import domain, task_artefact
from unlearnkit.study.ensembles import (
    draws,
    drop_diverged,
    margins,
    model_of_row,
    models_of_reference,
    models_of_row,
)
from unlearnkit.study.generation import answer_similarity, generations
from unlearnkit.study.memory import Kept
from unlearnkit.study.model_outputs import outputs, relearn_steps
from unlearnkit.study.reference_models import INITIAL, REFERENCES, Trained, references, train_references, untrained
from unlearnkit.study.rows import Names, Row, applicable_rows, resolve_row
from unlearnkit.study.unlearned_models import unlearn_row

STANDARDISED = ("influence", "influence-rank")  # metrics of the targets, by decoys


def reference_scores(configs: Sequence[Config], *, device: str = "auto") -> pd.DataFrame:
    """What the three reference models know: the tidy score table with accuracy and phi of each group, the metrics
    STANDARDISED of the targets, and of texts the loss; accuracy is there the share of an answer's tokens that are the
    likeliest."""
    rows = []
    for config, refs in zip(configs, references(configs, device=device), strict=True):
        for name, model in refs.items():
            key, model_outputs = outputs(model, device=device)
            values = {"accuracy": model_outputs.correct, "phi": model_outputs.phi}
            if config.domain == "text":
                values["loss"] = model_outputs.losses
            for metric, group in ((m, g) for m in values for g in model_outputs.groups):
                columns = {"method": name, "metric": metric, "group": group, "reference": ""}
                value = values[metric][model_outputs.rows(group)].mean().item()
                rows.append(config.columns() | columns | {"value": value, "run": key})
            table = metrics_module.score(model_outputs, {}, STANDARDISED)
            rows += table.assign(**config.columns(), method=name, run=key).to_dict("records")
    return pd.DataFrame(rows)


def scores(
    configs: Sequence[Config],
    names: Names | Mapping[Config, Names],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    metrics: Sequence[str] | None = None,
    n_models: int = 16,
    options_in_name: bool = True,
    memory: str | Path = "",
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy score table: one row per config, method, metric, reference and group; `run` is the scores' key.

    names: methods, and the rows of BASELINES that are none, and "initial", for all configs or for each; a pair (method,
    options) for one of a method's several sets of options. A method is left out of configs for which it has no meaning
    (unlearnkit.methods.applies; or that it refuses as NotApplicable). options: {method: options} that are to differ
    from those that `unlearn` would take, which are the tuned ones unless `tuned` is False. metrics: all that need no
    more than one pass of each model, if not given; any others by name, each in configs of the domains that it judges.
    n_models: how many of each kind are made for the metrics that compare ensembles. options_in_name: given options are
    part of a method's name in the table; False where each has one set of them, stated elsewhere. memory: a folder of the
    project in which rows are kept as they are made, and looked up first (unlearnkit.study.memory). A method that diverged
    has one row, of metric "diverged". Raises NotApplicable if no method has a meaning.
    """
    wings = sorted({domain(config).NAME for config in configs})
    metrics_of = {
        wing: metrics_module.single_pass_metrics(wing)
        if metrics is None
        else metrics_module.judging(wing, sorted(set(metrics)))
        for wing in wings
    }
    rows = applicable_rows(configs, names, options, tuned=tuned)
    kept = {
        wing: Kept(
            memory, "scores", metrics=names, n_models=n_models if "ensemble" in metrics_module.needs_of(names) else 0
        )
        for wing, names in metrics_of.items()
    }
    missing = [row for row in rows if kept[domain(row.config).NAME][row] is None]
    configs = list(dict.fromkeys(row.config for row in missing))
    compared = [c for c in configs if "ensemble" in metrics_module.needs_of(metrics_of[domain(c).NAME])]
    refs_of = dict(zip(configs, references(configs, device=device), strict=True))  # what is missing is trained together
    references([row.config for row in missing if row.name == "clean-again"], ["clean"], repeat="again", device=device)
    wanted = [(name, draw) for name in REFERENCES for draw in draws(n_models)]
    train_references([(config, *reference) for config in compared for reference in wanted], device)
    tables, columns, refusal = [], [], None
    with Progress("scores", len(rows)) as bar:
        for row in rows:
            names_of_metrics = metrics_of[domain(row.config).NAME]
            memory_of = kept[domain(row.config).NAME]
            try:
                if (table := memory_of[row]) is None:
                    memory_of[row] = table = _score(row, refs_of[row.config], names_of_metrics, n_models, device)
                tables.append(table)
                columns.append(row.config.columns() | {"method": row.label if options_in_name else row.name})
            except NotApplicable as error:  # known only once it runs: say, a class of which nothing stays
                refusal = error
            bar.step()
    if not tables:
        raise refusal or NotApplicable("there are no rows to score")
    which = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return pd.concat(tables, ignore_index=True).join(pd.DataFrame(columns).iloc[which].reset_index(drop=True))


def _score(row: Row, refs: Mapping[str, Trained], metrics: Sequence[str], n: int, device: str) -> pd.DataFrame:
    """Columns metric, reference, group, value, run of one row. refs: the config's reference models."""
    registered, needs = [metrics_module.metrics[m] for m in metrics], metrics_module.needs_of(metrics)
    refs = {**refs, INITIAL: untrained(row.config)}
    retrained = unlearn_row(resolve_row(row.config, "retrain"), refs["original"], device=device)  # for its cost
    model = model_of_row(row, refs["original"], device=device)
    if model.diverged:
        return pd.DataFrame([{"metric": "diverged", "reference": "", "group": "all", "value": 1.0, "run": model.key}])
    compared = [r for r in refs if any(r in entry.info["references"] for entry in registered)]
    parents = [model.key, retrained.key, *(model.key for model in refs.values()), task_artefact(row.config).key]
    params = {"metrics": list(metrics), "name": row.name}
    ensembles: dict[str, list[Trained | None]] = {}
    if "ensemble" in needs:
        ensembles[""] = models_of_row(row, n, device=device)
        ensembles |= {r: models_of_reference(row.config, r, n, device=device) for r in compared if r != INITIAL}
        parents += ["diverged" if m is None else m.key for models in ensembles.values() for m in models]
        params |= {"n_models": n}
    roots = [
        metrics_module,
        domain(row.config).outputs_code(row.config)[0],
        *registered,
        *([relearn_module] if "relearn" in needs else []),
        *([generation_module] if needs & {"generation", "embedding"} else []),
    ]

    def make() -> pd.DataFrame:
        phi = {name: margins(models, device) for name, models in ensembles.items()}
        if any(values.isnan().any() for values in phi.values()):
            phi = dict(zip(phi, drop_diverged(*phi.values())))
        cost = model.artefact.info if row.is_method else None
        own = with_needs(model, needs, cost, phi.get(""), device=device)
        costs, beyond = {"retrain": retrained.artefact.info}, needs - {"relearn"}
        others = {r: with_needs(refs[r], beyond, costs.get(r), phi.get(r), device=device) for r in compared}
        return metrics_module.score(own, others, metrics)

    return stored_table(Spec("scores", params, roots, parents), make)


def with_needs(
    model: Trained,
    needs: Collection[str],
    cost: Mapping | None = None,
    phi: Tensor | None = None,
    *,
    device: str = "auto",
) -> Outputs:
    """A model's outputs, with `needs` beyond one pass (unlearnkit.images.outputs.NEEDS), and the margins `phi` of its
    ensemble, if they are known."""
    more: dict = {} if phi is None else {"margins": phi}
    if "relearn" in needs:
        more["relearn_steps"] = relearn_steps(model, device=device)
    if "generation" in needs:
        more["generations"] = generations(model, device=device)[1]
    if "embedding" in needs:
        more["answer_similarity"] = answer_similarity(model, device=device)[1]
    own = outputs(model, features="features" in needs, cost=cost, device=device)[1]
    return replace(own, **more) if more else own


def scores_within(
    minutes: float,
    configs: Sequence[Config],
    names: Names | Mapping[Config, Names],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    **more,
) -> pd.DataFrame:
    """`scores` of the seeds that are finished within `minutes`, for a machine on loan: row by row and seed by seed, so
    that the first seeds are whole. Nothing beyond the library is needed.

    A row is begun only if rows of the mean duration so far would still end in time. Everything is stored as it is made,
    so the same call goes on where the last one stopped, even if that was killed. Prints one line per row, with the time
    left. more: what else `scores` takes. Returns an empty table if not even one seed was finished.
    """
    rows = sorted(applicable_rows(configs, names, options, tuned=tuned), key=lambda row: row.config.seed)
    start, tables, finished = time.monotonic(), [], 0
    for finished, row in enumerate(rows):
        spent = time.monotonic() - start
        if spent + spent / max(finished, 1) >= 60 * minutes:
            print(f"[{duration(spent)}] no time for row {finished + 1} of {len(rows)}: the same call goes on there")
            break
        try:
            tables.append(scores([row.config], [(row.name, row.options)], tuned=tuned, **more))
        except NotApplicable as error:
            print(f"left out: {error}")
        spent, what = time.monotonic() - start, " ".join(str(value) for value in row.config.columns().values())
        print(f"[{duration(spent)}] {row.label} of {what}, {duration(60 * minutes - spent)} left", flush=True)
    else:
        finished = len(rows)
    whole = {row.config.seed for row in rows} - {row.config.seed for row in rows[finished:]}
    tables = [table for table in tables if table.seed.isin(whole).all()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
