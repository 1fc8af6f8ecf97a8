"""What a stored model says of its task, found once and stored: its outputs, and how soon it learns the targets anew."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file, save_file

from unlearnkit import relearn as relearn_module
from unlearnkit.compute import derive, resolve_device, threads
from unlearnkit.domain import DOMAINS, domain
from unlearnkit.evidence import Evidence
from unlearnkit.references import Trained, references
from unlearnkit.store import Spec, Store


def evidence(
    trained: Trained, *, features: bool = False, cost: Mapping | None = None, device: str = "auto"
) -> tuple[str, Evidence]:
    """(key, evidence) of a stored model on its cell's task; the model is run once, ever.

    features: with those, which are stored beside the logits; only a model whose logits were stored before anyone asked
    for its features is run a second time.
    """
    cell = trained.cell
    of = domain(cell)
    task = of.task_artefact(cell)
    kinds = ["evidence", "features"] if features else ["evidence"]
    specs = [Spec(kind, {}, of.seen_by(cell), [trained.key, task.key]) for kind in kinds]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        wanted = any(kinds[i] == "features" for i, _ in missing)
        taken = of.take(trained.load(), cell, features=wanted, device=device)
        for i, folder in missing:
            save_file(taken[kinds[i]], folder / f"{kinds[i]}.safetensors")
            publish(i, {})

    found = Store().get_many(specs, make)
    folders = tuple(str(artefact.folder) for artefact in found)
    return found[0].key, _read_evidence(of.name, folders, task.folder.as_posix(), tuple((cost or {}).items()))


@lru_cache(maxsize=64)
def _read_evidence(name: str, folders: tuple[str, ...], task_folder: str, cost: tuple) -> Evidence:
    of, read = DOMAINS[name], {}
    for folder in folders:
        (file,) = Path(folder).glob("*.safetensors")
        read |= load_file(file)
    return of.evidence(read, of.read_task(task_folder), dict(cost))


def relearn(trained: Trained, *, device: str = "auto") -> int:
    """Steps until a stored model knows the targets as well as its cell's original again: see unlearnkit.relearn."""
    cell = trained.cell
    (refs,) = references([cell], ["original"], device=device)
    params = {"seed": derive(cell.seed, "relearn"), "device": resolve_device(device).type}
    of = domain(cell)
    parents = [trained.key, refs["original"].key, of.task_artefact(cell).key]
    spec = Spec("relearn", params, (relearn_module, of.model_code(cell)[0]), parents)

    def make(folder: Path) -> dict:
        request = of.request(cell)
        with threads(1):
            on = resolve_device(device)
            goal = relearn_module.forget_loss(refs["original"].load().to(on), request.to(str(on)))
            return {
                "steps": relearn_module.relearn_steps(trained.load(), request, goal, seed=params["seed"], device=device)
            }

    return Store().get(spec, make).info["steps"]
