"""What a stored model says of its task, found once and stored: its outputs, the features of its layers, and how soon it
learns the targets anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from unlearnkit import evidence as evidence_module
from unlearnkit import layers as layers_module
from unlearnkit import relearn as relearn_module
from unlearnkit.compute import derive, measured, resolve_device, threads
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
    known = evidence_module.known_of(task)
    return Evidence(read["logits"], task.y, task.role, ids, dict(cost), read.get("features"), extra=known)


def by_layer(trained: Trained, layers: Sequence[str] = (), *, device: str = "auto") -> dict[str, tuple[str, Evidence]]:
    """{layer: (key, evidence)} of a stored model, with that layer's features (unlearnkit.layers) in place of what the head
    is fed: every metric of features then reads that layer. Those not stored yet come from one pass of the model.

    layers: by name; those that feed the next one if not given. Raises what unlearnkit.layers.features raises.
    """
    cell, (_, seen) = trained.cell, evidence(trained, device=device)
    layers = list(dict.fromkeys(layers or layers_module.stages(trained.load())))
    parents, roots = [trained.key, task_artefact(cell).key], (layers_module, models[cell.model])
    specs = [Spec("layer", {"layer": name, "width": layers_module.WIDTH}, roots, parents) for name in layers]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        how = {"precision": cell.recipe.precision, "device": device}
        with threads(1):
            found = layers_module.features(trained.load(), load_task(cell).x, [layers[i] for i, _ in missing], **how)
        for i, folder in missing:
            save_file({"features": found[layers[i]]}, folder / "layer.safetensors")
            publish(i, {"width": found[layers[i]].shape[1]})

    found = dict(zip(layers, Store().get_many(specs, make), strict=True))
    of = {name: load_file(a.folder / "layer.safetensors")["features"] for name, a in found.items()}
    return {name: (found[name].key, replace(seen, features=of[name], _memo={})) for name in layers}


def relearn(trained: Trained, *, device: str = "auto") -> int:
    """Steps until a stored model knows the targets as well as its cell's original again: see unlearnkit.relearn."""
    return relearned(trained, device=device)["steps"]


def relearned(trained: Trained, *, device: str = "auto") -> Mapping:
    """{steps, seconds}: those of `relearn`, and the wall seconds that counting them took."""
    cell = trained.cell
    (refs,) = references([cell], ["original"], device=device)
    params = {"seed": derive(cell.seed, "relearn"), "device": resolve_device(device).type}
    parents = [trained.key, refs["original"].key, task_artefact(cell).key]
    spec = Spec("relearn", params, (relearn_module, models[cell.model]), parents)

    def make(folder: Path) -> dict:
        request = load_task(cell).request(cell.recipe)
        with threads(1), measured() as cost:
            on = resolve_device(device)
            goal = relearn_module.forget_loss(refs["original"].load().to(on), request.to(str(on)))
            steps = relearn_module.relearn_steps(trained.load(), request, goal, seed=params["seed"], device=device)
        return {"steps": steps, "seconds": cost.seconds}

    return Store().get(spec, make).info
