"""Every row of a grid under every yardstick, and its true distance to retraining: see unlearnkit.analysis.metric_distances."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from torch import Tensor

from unlearnkit import metrics as metrics_module
from unlearnkit import study
from unlearnkit.analysis import distributions as shadows
from unlearnkit.analysis.distributions import drop_diverged
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec, Store
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.tasks import load_task
from unlearnkit.methods import applies
from unlearnkit.metrics import relearn_time as relearn_module
from unlearnkit.metrics.ensembles import histogram_kl, lira_accuracy
from unlearnkit.study.model_outputs import relearn_cost
from unlearnkit.study.reference_models import Trained

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
    "rho": ("phi", "target", "predictions"),  # within a config, |rho - retrain's| is |phi - retrain's| to a constant
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
ENSEMBLE_METRICS = {
    "U-LiRA": "ensembles",
    "half of KLoM": "ensembles",
}  # what else can be had where there are ensembles
ENSEMBLE_DISTANCES = {"KLoM on targets": ("target",), "KLoM on all": ("target", "filler", "test")}  # a mean over groups


def metric_distances(seen: Outputs, references: Mapping[str, Outputs]) -> pd.DataFrame:
    """YARDSTICKS of one model: columns yardstick, family, value, reference_value, distance, seconds; those that have no
    value, or for which the retrained model has none, are left out. references: of `retrain` and `initial`."""
    rows, known = [], {}
    for yardstick, (metric, group, family) in CANDIDATE_METRICS.items():
        entry = metrics_module.metrics[metric]
        compares = "retrain" in entry.info["references"]
        other = references["retrain" if compares else "initial"]
        if metric not in known:
            start = perf_counter()
            mine = entry(replace(seen), other)
            took = perf_counter() - start
            theirs = dict.fromkeys(mine, entry.info["best"]) if compares else entry(references["retrain"], other)
            known[metric] = mine, theirs, took
        mine, theirs, took = known[metric]
        if group in mine and group in theirs:
            values = {"value": mine[group], "reference_value": theirs[group]}
            far = abs(mine[group] - theirs[group])
            rows.append({"yardstick": yardstick, "family": family, **values, "distance": far, "seconds": took})
    return pd.DataFrame(rows)


def ensemble_distances(models: Tensor, retrained: Tensor, rows: Mapping[str, Tensor]) -> pd.DataFrame:
    """TRUTHS, each also by every other draw alone and by the rest ("first half of ...", "second half of ..."), and the
    yardsticks of ensembles; columns yardstick, distance, models (how many of each kind).

    models, retrained: margins (draws, samples), NaN for a draw that diverged, which is left out of both; rows: of each
    group. Half of KLoM is the first half on targets, whose truth is then the second half (see `agreement`).
    Raises BadValue where fewer than 4 draws stay.
    """
    models, retrained = drop_diverged(models, retrained)
    found = []
    for half, part in (
        ("", slice(None)),
        ("first half of ", slice(0, None, 2)),
        ("second half of ", slice(1, None, 2)),
    ):
        klom = {g: histogram_kl(models[part][:, r], retrained[part][:, r]).mean().item() for g, r in rows.items()}
        for name, groups in ENSEMBLE_DISTANCES.items():
            found.append((f"{half}{name}", float(np.mean([klom[g] for g in groups]))))
    at = rows["target"]
    found.append(("U-LiRA", abs(lira_accuracy(models[:, at], retrained[:, at]).mean().item() - 0.5)))
    return pd.DataFrame(found, columns=["yardstick", "distance"]).assign(models=len(models))


def distance_table(
    configs: Sequence[Config], names: Sequence[str], n_models: int = 0, *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """One row per config, row and yardstick: value, reference_value (the retrained model's, where it has one), distance,
    seconds (that computing it took, beyond a pass of the model and the models that it needs), family, making (seconds that
    the method took), run.

    names: methods, `original`, `initial`; `retrain` is retraining from other seeds. n_models: of each kind, for KLoM and
    the other yardsticks of ensembles; none of these where it is 0. A method is left out of configs in which it has no
    meaning; one that diverged has one row, of yardstick "diverged". Raises what unlearnkit.analysis.distributions.members raises.
    """
    rows = [(c, n) for c in configs for n in names if n in (*study.BASELINES, study.INITIAL) or applies(n, c.targets)]
    study.references(configs, device=device)
    frames = []
    with Progress("yardsticks", len(rows)) as bar:
        for config, name in rows:
            model = study.model(config, name, tuned=tuned, device=device)
            if "diverged" in model.artefact.info:
                found = [pd.DataFrame([{"yardstick": "diverged", "distance": 1.0, "run": model.key}])]
            else:
                found = [_judged(config, name, model, device)]
                found += [_truth(config, name, n_models, tuned, device)] if n_models else []
            of = {**config.columns(), "method": name, "making": model.artefact.info.get("seconds")}
            frames += [table.assign(**of) for table in found]
            bar.step()
    return pd.concat(frames, ignore_index=True)


def _judged(config: Config, name: str, model: Trained, device: str) -> pd.DataFrame:
    (refs,) = study.references([config], device=device)
    refs |= {study.INITIAL: study.untrained(config)}
    wanted = sorted({metric for metric, _, _ in CANDIDATE_METRICS.values()})
    registered = [metrics_module.metrics[m] for m in wanted]
    parents = [model.key, refs["retrain"].key, refs["original"].key, refs[study.INITIAL].key]
    params = {"yardsticks": {k: list(v) for k, v in CANDIDATE_METRICS.items()}, "name": name}
    spec = Spec("judged", params, (metric_distances, relearn_module, outputs_module, *registered), parents)

    def make(folder: Path) -> None:
        seen = {r: _seen(refs[r], device) for r in ("retrain", study.INITIAL)}
        table = metric_distances(_seen(model, device), seen)
        table.loc[table.yardstick == "relearn", "seconds"] = relearn_cost(model, device=device)["seconds"]
        table.to_parquet(folder / "judged.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "judged.parquet").assign(run=artefact.key)


def _seen(model: Trained, device: str) -> Outputs:
    found = study.outputs(model, features=True, device=device)[1]
    return replace(found, relearn_steps=relearn_cost(model, device=device)["steps"])


def _truth(config: Config, name: str, n: int, tuned: bool, device: str) -> pd.DataFrame:
    mine = shadows.members(config, name, n, tuned=tuned, device=device)
    theirs = shadows.members(config, "retrain", n, reference=True, device=device)
    keys = ["diverged" if m is None else m.key for m in (*mine, *theirs)]
    spec = Spec("truth", {"n_models": n}, (ensemble_distances, outputs_module), keys)

    def make(folder: Path) -> None:
        start = perf_counter()
        rows = {g: load_task(config).index(g) for g in {g for groups in ENSEMBLE_DISTANCES.values() for g in groups}}
        table = ensemble_distances(shadows.margins(mine, device), shadows.margins(theirs, device), rows)
        table.assign(family="ensembles", seconds=perf_counter() - start).to_parquet(folder / "truth.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "truth.parquet").assign(run=artefact.key)
