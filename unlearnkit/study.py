"""The one way through: cells -> tasks -> reference models -> methods -> evidence -> scores, each step cached.

Notebooks, batch jobs and tests all call these functions; whoever comes first computes, the others read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlearnkit import evidence as evidence_module
from unlearnkit import metrics as metrics_module
from unlearnkit.cell import Cell
from unlearnkit.compute import derive, measured, resolve_device, threads
from unlearnkit.evidence import Evidence
from unlearnkit.inference import predict
from unlearnkit.methods import methods
from unlearnkit.metrics import metrics
from unlearnkit.models import build, models
from unlearnkit.pretrained import pretrained
from unlearnkit.progress import Progress
from unlearnkit.stack import fit_many
from unlearnkit.store import Artefact, Spec, Store
from unlearnkit.task import TRAINED_ON, Request
from unlearnkit.tasks import load_task, read_task, task_artefact
from unlearnkit.train import fit, minimise

REFERENCES = tuple(TRAINED_ON)  # original, retrain, clean
# rows of every table that are no methods: two references, and clean from other seeds, the noise floor beside it
BASELINES = ("original", "clean", "clean-again")


@dataclass(frozen=True)
class Trained:
    """A stored model: its key, and how to load it."""

    key: str
    cell: Cell
    artefact: Artefact

    def load(self) -> nn.Module:
        task = load_task(self.cell)
        model = build(self.cell.model, tuple(task.x.shape[1:]), task.n_classes, seed=0)
        model.load_state_dict(load_file(self.artefact.folder / "model.safetensors"))
        return model.eval()


# --- reference models ----------------------------------------------------------------------------------------------


def references(
    cells: Sequence[Cell], names: Iterable[str] = REFERENCES, *, repeat: str = "", device: str = "auto"
) -> list[dict[str, Trained]]:
    """{reference name: model} for each cell; the missing ones are trained together.

    retrain and clean start from one seed and differ in their data alone, so without copies they are one model.
    `repeat` names another draw of the seeds, for a noise floor.
    """
    names = list(names)
    wanted = [(cell, name, task_artefact(cell).info) for cell in cells for name in names]
    seeds = [derive(c.seed, "original" if name == "original" else "retrain", repeat) for c, name, _ in wanted]
    on = resolve_device(device).type
    specs = [
        Spec(
            "model",
            {"model": cell.model, "recipe": cell.recipe.as_dict(), "seed": seed, "device": on},
            (models[cell.model], build, fit_many, fit),
            [info[name]],
        )
        for (cell, name, info), seed in zip(wanted, seeds, strict=True)
    ]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        by_recipe: dict = {}
        for i, folder in missing:
            by_recipe.setdefault(wanted[i][0].recipe, []).append((i, folder))
        with Progress("reference models", len(missing)) as bar:
            for recipe, group in by_recipe.items():
                _train(
                    recipe, group, [wanted[i][:2] for i, _ in group], [seeds[i] for i, _ in group], publish, bar, device
                )

    found = Store().get_many(specs, make)
    made = [Trained(a.key, cell, a) for a, (cell, _, _) in zip(found, wanted, strict=True)]
    return [dict(zip(names, made[i : i + len(names)], strict=True)) for i in range(0, len(made), len(names))]


def _train(recipe, group, which, seeds, publish, bar, device) -> None:
    tasks = [load_task(cell) for cell, _ in which]
    nets = [
        build(cell.model, tuple(t.x.shape[1:]), t.n_classes, s)
        for (cell, _), t, s in zip(which, tasks, seeds, strict=True)
    ]
    data = [task.training_set(name) for task, (_, name) in zip(tasks, which, strict=True)]

    def done(j: int, model: nn.Module) -> None:
        i, folder = group[j]
        save_file(model.state_dict(), folder / "model.safetensors")
        publish(i, {"samples": len(data[j]), "steps": recipe.steps(len(data[j]))})
        bar.step()

    fit_many(nets, data, recipe, seeds=seeds, device=device, done=done)


@lru_cache(maxsize=16)
def task_features(cell: Cell, by: str = "original", device: str = "auto") -> Tensor:
    """Features of each sample of the cell's task, (n, width): those of its original model, or of the torchvision
    classifier that `by` names."""
    if by == "original":
        model, precision = references([cell], ["original"], device=device)[0]["original"].load(), cell.recipe.precision
    else:
        model, precision = pretrained(by), "fp32"
    return predict(model, load_task(cell).x, device=device, precision=precision)[1]


def feature_cosine(cell: Cell, a, b, by: str = "original", device: str = "auto") -> np.ndarray:
    """Cosine of the features of the task's samples a and b, row numbers, pair by pair; by: see `task_features`."""
    vectors = task_features(cell, by, device)
    return torch.cosine_similarity(*(vectors[torch.from_numpy(np.array(rows))] for rows in (a, b)), dim=1).numpy()


def measured_pairs(cell: Cell, by: str = "", device: str = "auto") -> pd.DataFrame:
    """The task's pair table; if `by` says whose features to compare (see `task_features`), with `feature_cosine`."""
    pairs = load_task(cell).pairs
    if not by or not len(pairs):
        return pairs
    cosine = feature_cosine(cell, pairs.anchor.to_numpy(), pairs.similar.to_numpy(), by, device)
    return pairs.assign(feature_cosine=cosine)


# --- methods -------------------------------------------------------------------------------------------------------


def unlearn(cell: Cell, method: str, options: Mapping | None = None, *, device: str = "auto") -> Trained:
    """The cell's original model after `method`, with what it cost in `artefact.info`. Seeds differ from the
    references', so that the method `retrain` against the reference `retrain` is the noise floor."""
    entry = methods[method]
    resolved = entry.resolve(options or {})
    (refs,) = references([cell], ["original"], device=device)
    seed = derive(cell.seed, "method", method)
    params = {
        "method": method,
        "options": resolved,
        "recipe": cell.recipe.as_dict(),
        "seed": seed,
        "device": resolve_device(device).type,
    }
    spec = Spec("unlearned", params, (entry,), [refs["original"].key, task_artefact(cell).key])

    def make(folder: Path) -> dict:
        model, request = refs["original"].load(), load_task(cell).request(cell.recipe)
        with threads(1):
            _warm_up(model, request, device)
            with measured() as cost:
                unlearned = entry(model, request, seed=seed, device=device, **resolved)
        save_file(unlearned.state_dict(), folder / "model.safetensors")
        return cost.as_dict()

    artefact = Store().get(spec, make)
    return Trained(artefact.key, cell, artefact)


_warm: set[tuple[str, str]] = set()


def _warm_up(model: nn.Module, request: Request, device: str) -> None:
    """Spend torch's one-off costs before the clock starts, once per process and architecture."""
    if (str(model), device) not in _warm:
        _warm.add((str(model), device))
        batch = request.retain[:8].to(resolve_device(device))
        minimise(model, lambda net: iter([request.losses(net, batch).mean()]), lr=0.0, device=device)


# --- evidence and scores -------------------------------------------------------------------------------------------


def evidence(trained: Trained, *, cost: Mapping | None = None, device: str = "auto") -> tuple[str, Evidence]:
    """(key, evidence) of a stored model on its cell's task; the model is run once, ever."""
    cell = trained.cell
    task_key = task_artefact(cell).key
    spec = Spec("evidence", {}, (evidence_module, models[cell.model]), [trained.key, task_key])

    def make(folder: Path) -> None:
        with threads(1):
            taken = evidence_module.take(
                trained.load(), load_task(cell), device=device, precision=cell.recipe.precision
            )
        save_file({"logits": taken.logits}, folder / "evidence.safetensors")

    artefact = Store().get(spec, make)
    return artefact.key, _read_evidence(
        str(artefact.folder), task_artefact(cell).folder.as_posix(), tuple((cost or {}).items())
    )


@lru_cache(maxsize=64)
def _read_evidence(folder: str, task_folder: str, cost: tuple) -> Evidence:
    task = read_task(task_folder)
    logits = load_file(Path(folder) / "evidence.safetensors")["logits"]
    return Evidence(logits, task.y, task.role, torch.arange(len(task.y)), dict(cost))


def known(cells: Sequence[Cell], *, device: str = "auto") -> pd.DataFrame:
    """What the three reference models know: the tidy score table with accuracy and phi of each group alone."""
    rows = []
    for cell, trio in zip(cells, references(cells, device=device), strict=True):
        for name, model in trio.items():
            key, seen = evidence(model, device=device)
            for metric, group in ((m, g) for m in ("accuracy", "phi") for g in seen.groups):
                value = {"accuracy": seen.correct, "phi": seen.phi}[metric][seen.rows(group)].mean().item()
                of = {"method": name, "metric": metric, "group": group, "reference": ""}
                rows.append(cell.columns() | of | {"value": value, "run": key})
    return pd.DataFrame(rows)


def scores(
    cells: Sequence[Cell],
    names: Sequence[str],
    options: Mapping[str, Mapping] | None = None,
    *,
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy score table: one row per cell, method, metric, reference and group; `run` is the scores' key.

    names: methods, and the rows of BASELINES that are none. options: {method: options} that differ from the defaults.
    """
    for name in names:
        if name not in BASELINES:
            methods[name].resolve((options or {}).get(name, {}))  # fails now, not after an hour
    references(cells, device=device)
    if "clean-again" in names:
        references(cells, ["clean"], repeat="again", device=device)
    frames = []
    with Progress("scores", len(cells) * len(names)) as bar:
        for cell in cells:
            for name in names:
                frames.append(_scores(cell, name, (options or {}).get(name, {}), device))
                bar.step()
    return pd.concat(frames, ignore_index=True)


def _scores(cell: Cell, name: str, options: Mapping, device: str) -> pd.DataFrame:
    (refs,) = references([cell], device=device)
    timed = unlearn(cell, "retrain", device=device)
    if name in REFERENCES and name in BASELINES:
        model, cost = refs[name], None
    elif name == "clean-again":
        model, cost = references([cell], ["clean"], repeat="again", device=device)[0]["clean"], None
    else:
        model = timed if name == "retrain" and not options else unlearn(cell, name, options, device=device)
        cost = model.artefact.info
    params = {"metrics": sorted(metrics), "name": name}
    parents = [model.key, timed.key, *(refs[r].key for r in REFERENCES), task_artefact(cell).key]
    spec = Spec("scores", params, (metrics_module, evidence_module, *(metrics[m] for m in sorted(metrics))), parents)

    def make(folder: Path) -> None:
        taken = {
            r: evidence(refs[r], cost=timed.artefact.info if r == "retrain" else None, device=device)[1]
            for r in REFERENCES
        }
        table = metrics_module.score(evidence(model, cost=cost, device=device)[1], taken)
        table.to_parquet(folder / "scores.parquet")

    artefact = Store().get(spec, make)
    table = pd.read_parquet(artefact.folder / "scores.parquet")
    label = name if not options else f"{name}({', '.join(f'{k}={v}' for k, v in sorted(options.items()))})"
    return table.assign(**cell.columns(), method=label, run=artefact.key)
