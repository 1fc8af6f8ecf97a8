"""The distance of every row of a grid to retraining by each candidate metric, and by ensembles of models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import pandas as pd
from torch import Tensor

from unlearnkit import metrics as metrics_module
from unlearnkit import study
from unlearnkit.analysis.distributions import check_models, models_beside_references
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.tasks import load_task
from unlearnkit.metrics import relearn_time as relearn_module
from unlearnkit.metrics.ensembles import histogram_kl, lira_accuracy
from unlearnkit.study.ensembles import drop_diverged, margins, model_of_row, models_of_reference
from unlearnkit.study.memory import Kept
from unlearnkit.study.model_outputs import relearn_cost
from unlearnkit.study.reference_models import Trained
from unlearnkit.study.rows import Row, applicable_rows

CANDIDATE_METRICS = {  # name: metric, group, what it looks at
    "UA": ("UA", "target", "accuracy"),
    "RA": ("RA", "retain", "accuracy"),
    "TA": ("TA", "test", "accuracy"),
    "avg-gap": ("avg-gap", "all", "accuracy"),
    "ToW": ("ToW", "all", "accuracy"),
    "ToW-MIA": ("ToW-MIA", "all", "accuracy"),
    "MIA": ("MIA", "target", "attack"),
    "MIA-loss": ("MIA-loss", "target", "attack"),
    "MIA-mentr": ("MIA-mentr", "target", "attack"),
    # within a config, its difference to retrain's is that of the standardised margin to a constant
    "residual influence": ("influence", "target", "predictions"),
    "JS": ("JS", "target", "predictions"),
    "JS (test)": ("JS", "test", "predictions"),
    "KL": ("KL", "target", "predictions"),
    "ZRF": ("ZRF", "target", "predictions"),
    "DA": ("DA", "target", "features"),
    "LP": ("LP", "unseen", "features"),
    "NMI": ("NMI", "test", "features"),
    "F1": ("F1", "test", "features"),
    "CKA": ("CKA", "test", "features"),  # where a class goes, none of its images is a test image
    "CKA (targets)": ("CKA", "target", "features"),
    "k-NN": ("k-NN", "unseen", "features"),
    "ES": ("ES", "target", "features"),
    "relearn": ("relearn", "target", "relearning"),
}
ENSEMBLE_METRICS = {"U-LiRA": "ensembles", "half of KLoM": "ensembles"}  # further candidates, where there are ensembles
ENSEMBLE_DISTANCES = {"KLoM on targets": ("target",), "KLoM on all": ("target", "filler", "test")}  # a mean over groups
MEASURED = [  # columns of what is measured on one row, kept or not
    "metric",
    "metric_family",
    "value",
    "reference_value",
    "distance",
    "seconds",
    "n_models",
    "method_seconds",
    "run",
]


def metric_distances(outputs: Outputs, references: Mapping[str, Outputs]) -> pd.DataFrame:
    """CANDIDATE_METRICS of one model: columns metric, metric_family, value, reference_value, distance, seconds; metrics
    that have no value, or for which the retrained model has none, are left out. references: of `retrain` and
    `initial`."""
    rows, known = [], {}
    for name, (metric, group, family) in CANDIDATE_METRICS.items():
        entry = metrics_module.metrics[metric]
        compares = "retrain" in entry.info["references"]
        other = references["retrain" if compares else "initial"]
        if metric not in known:
            start = perf_counter()
            own = entry(replace(outputs), other)  # a copy that has computed nothing yet
            seconds = perf_counter() - start
            retrained = dict.fromkeys(own, entry.info["best"]) if compares else entry(references["retrain"], other)
            known[metric] = own, retrained, seconds
        own, retrained, seconds = known[metric]
        if group in own and group in retrained:
            values = {"value": own[group], "reference_value": retrained[group]}
            distance = abs(own[group] - retrained[group])
            rows.append({"metric": name, "metric_family": family, **values, "distance": distance, "seconds": seconds})
    return pd.DataFrame(rows)


def ensemble_distances(models: Tensor, retrained: Tensor, rows: Mapping[str, Tensor]) -> pd.DataFrame:
    """ENSEMBLE_DISTANCES, each also by every other draw alone and by the rest ("first half of ...", "second half of
    ..."), and the candidates that need ensembles; columns metric, distance, n_models (how many of each kind).

    models, retrained: margins (draws, samples), NaN for a draw that diverged, which is left out of both; rows: of each
    group. "half of KLoM" is the first half on targets, compared with the second half (see
    unlearnkit.analysis.metric_agreement). Raises BadValue where fewer than 4 draws stay.
    """
    models, retrained = drop_diverged(models, retrained)
    distances = []
    for half, part in (
        ("", slice(None)),
        ("first half of ", slice(0, None, 2)),
        ("second half of ", slice(1, None, 2)),
    ):
        klom = {g: histogram_kl(models[part][:, r], retrained[part][:, r]).mean().item() for g, r in rows.items()}
        for name, groups in ENSEMBLE_DISTANCES.items():
            distances.append((f"{half}{name}", float(np.mean([klom[g] for g in groups]))))
    targets = rows["target"]
    accuracy = lira_accuracy(models[:, targets], retrained[:, targets]).mean().item()
    distances.append(("U-LiRA", abs(accuracy - 0.5)))
    return pd.DataFrame(distances, columns=["metric", "distance"]).assign(n_models=len(models))


def distance_table(
    configs: Sequence[Config],
    names: Sequence[str],
    n_models: int = 0,
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """One row per config, row and metric: value, reference_value (the retrained model's, where it has one), distance,
    seconds (that computing it took, beyond a pass of the model and the models that it needs), metric_family,
    method_seconds (that the method took), run.

    names: methods, `original`, `initial`; `retrain` is retraining from other seeds. n_models: of each kind, for KLoM
    and U-LiRA; there are none of these where it is 0. options: {method: options} that are to differ from the tuned
    ones. A method is left out of configs in which it has no meaning; one that diverged has one row, of metric
    "diverged". memory: see unlearnkit.study.memory.Kept. Raises what unlearnkit.analysis.distributions.check_models
    raises.
    """
    if n_models:
        check_models(n_models)
    rows = applicable_rows(configs, names, options, tuned=tuned)
    kept = Kept(memory, "distances", metrics=list(CANDIDATE_METRICS), n_models=n_models)
    missing = list(dict.fromkeys(row.config for row in kept.missing(rows)))
    refs_of = dict(zip(missing, study.references(missing, device=device), strict=True))
    tables = []
    with Progress("distances", len(rows)) as bar:
        for row in rows:
            table = kept.get(row, lambda row=row: _distances(row, n_models, refs_of[row.config], device))
            tables.append(table.assign(**row.config.columns() | {"method": row.name}))
            bar.step()
    return pd.concat(tables, ignore_index=True)


def _distances(row: Row, n_models: int, refs: Mapping[str, Trained], device: str) -> pd.DataFrame:
    """MEASURED of one row, by all metrics. refs: the config's reference models."""
    model = model_of_row(row, refs["original"], device=device)
    if model.diverged:
        own = [pd.DataFrame([{"metric": "diverged", "distance": 1.0, "run": model.key}])]
    else:
        own = [_by_metrics(row, model, refs, device)]
        own += [_by_ensembles(row, n_models, device)] if n_models else []
    table = pd.concat(own, ignore_index=True).reindex(columns=MEASURED)
    return table.assign(method_seconds=float(model.artefact.info.get("seconds", "nan")))


def _by_metrics(row: Row, model: Trained, refs: Mapping[str, Trained], device: str) -> pd.DataFrame:
    refs = {**refs, study.INITIAL: study.untrained(row.config)}
    wanted = sorted({metric for metric, _, _ in CANDIDATE_METRICS.values()})
    registered = [metrics_module.metrics[m] for m in wanted]
    parents = [model.key, *(refs[r].key for r in ("retrain", "original", study.INITIAL))]
    params = {"metrics": {k: list(v) for k, v in CANDIDATE_METRICS.items()}, "name": row.name}
    spec = Spec("distances", params, (metric_distances, relearn_module, outputs_module, *registered), parents)

    def make() -> pd.DataFrame:
        references = {r: _outputs(refs[r], device) for r in ("retrain", study.INITIAL)}
        table = metric_distances(_outputs(model, device), references)
        table.loc[table.metric == "relearn", "seconds"] = relearn_cost(model, device=device)["seconds"]
        return table

    return stored_table(spec, make)


def _outputs(model: Trained, device: str) -> Outputs:
    steps = relearn_cost(model, device=device)["steps"]
    return replace(study.outputs(model, features=True, device=device)[1], relearn_steps=steps)


def _by_ensembles(row: Row, n: int, device: str) -> pd.DataFrame:
    models = models_beside_references(row, n, device=device)
    retrained = models_of_reference(row.config, "retrain", n, device=device)
    keys = ["diverged" if m is None else m.key for m in (*models, *retrained)]
    spec = Spec("ensemble-distances", {"n_models": n}, (ensemble_distances, outputs_module), keys)

    def make() -> pd.DataFrame:
        start = perf_counter()
        task = load_task(row.config)
        rows = {group: task.index(group) for groups in ENSEMBLE_DISTANCES.values() for group in groups}
        table = ensemble_distances(margins(models, device), margins(retrained, device), rows)
        return table.assign(metric_family="ensembles", seconds=perf_counter() - start)

    return stored_table(spec, make)
