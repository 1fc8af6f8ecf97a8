"""What a stored model says of its task, found once and stored: its outputs, and how soon it learns the targets anew."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from unlearnkit import evidence as evidence_module
from unlearnkit import relearn as relearn_module
from unlearnkit.compute import derive, resolve_device, threads
from unlearnkit.evidence import Evidence
from unlearnkit.models import models
from unlearnkit.references import Trained, references
from unlearnkit.store import Spec, Store
from unlearnkit.tasks import load_task, read_task, task_artefact


def evidence(
    trained: Trained, *, features: bool = False, cost: Mapping | None = None, device: str = "auto"
) -> tuple[str, Evidence]:
    """(key, evidence) of a stored model on its cell's task; the model is run once, ever.

    features: with those, which are stored beside the logits; only a model whose logits were stored before anyone asked
    for its features is run a second time.
    """
    cell = trained.cell
    parents = [trained.key, task_artefact(cell).key]
    kinds = ["evidence", "features"] if features else ["evidence"]
    specs = [Spec(kind, {}, (evidence_module, models[cell.model]), parents) for kind in kinds]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        wanted = any(kinds[i] == "features" for i, _ in missing)
        with threads(1):
            how = {"features": wanted, "precision": cell.recipe.precision, "device": device}
            taken = evidence_module.take(trained.load(), load_task(cell), **how)
        for i, folder in missing:
            content = {"logits": taken.logits} if kinds[i] == "evidence" else {"features": taken.features}
            save_file(content, folder / f"{kinds[i]}.safetensors")
            publish(i, {})

    found = Store().get_many(specs, make)
    folders = tuple(str(artefact.folder) for artefact in found)
    return found[0].key, _read_evidence(folders, task_artefact(cell).folder.as_posix(), tuple((cost or {}).items()))


@lru_cache(maxsize=64)
def _read_evidence(folders: tuple[str, ...], task_folder: str, cost: tuple) -> Evidence:
    task = read_task(task_folder)
    read = {}
    for folder in folders:
        (file,) = Path(folder).glob("*.safetensors")
        read |= load_file(file)
    ids = torch.arange(len(task.y))
    return Evidence(read["logits"], task.y, task.role, ids, dict(cost), read.get("features"))


def relearn(trained: Trained, *, device: str = "auto") -> int:
    """Steps until a stored model knows the targets as well as its cell's original again: see unlearnkit.relearn."""
    cell = trained.cell
    (refs,) = references([cell], ["original"], device=device)
    params = {"seed": derive(cell.seed, "relearn"), "device": resolve_device(device).type}
    parents = [trained.key, refs["original"].key, task_artefact(cell).key]
    spec = Spec("relearn", params, (relearn_module, models[cell.model]), parents)

    def make(folder: Path) -> dict:
        request = load_task(cell).request(cell.recipe)
        with threads(1):
            on = resolve_device(device)
            goal = relearn_module.forget_loss(refs["original"].load().to(on), request.to(str(on)))
            return {
                "steps": relearn_module.relearn_steps(trained.load(), request, goal, seed=params["seed"], device=device)
            }

    return Store().get(spec, make).info["steps"]
