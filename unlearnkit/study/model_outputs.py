"""The outputs of a stored model on its task, taken once and stored; the features of its layers; and how soon it learns
the forget set again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file, save_file

from unlearnkit.core.compute import derive, measure_cost, resolve_device, threads
from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.store import Files, Spec, Store
from unlearnkit.images import layers as layers_module
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import relearn_time as relearn_module
from unlearnkit.study.domains import DOMAINS, domain
from unlearnkit.study.reference_models import Trained, references


def outputs(
    trained: Trained, *, features: bool = False, cost: Mapping | None = None, device: str = "auto"
) -> tuple[str, Outputs]:
    """(key, outputs) of a stored model on its config's task; the model is run once, ever.

    features: with those, which are stored beside the logits; only a model whose logits were stored before anyone asked
    for its features is run a second time.
    """
    config = trained.config
    wing = domain(config)
    task = wing.task_artefact(config)
    kinds = ["outputs", "features"] if features else ["outputs"]
    specs = [Spec(kind, {}, wing.outputs_code(config), [trained.key, task.key]) for kind in kinds]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        wanted = any(kinds[i] == "features" for i, _ in missing)
        tensors = wing.forward(trained.load(), config, features=wanted, device=device)
        for i, folder in missing:
            save_file(tensors[kinds[i]], folder / f"{kinds[i]}.safetensors")
            publish(i, {})

    artefacts = Store().get_many(specs, make)
    folders = tuple(artefact.folder for artefact in artefacts)
    return artefacts[0].key, _read_outputs(wing.NAME, folders, task.folder, tuple((cost or {}).items()))


@lru_cache(maxsize=16)  # each with features may take 0.2 GB
def _read_outputs(name: str, folders: tuple[Files, ...], task_folder: Files, cost: tuple) -> Outputs:
    wing, tensors = DOMAINS[name], {}
    for folder in folders:
        (name,) = folder.names
        tensors |= load_file(folder / name)
    return wing.outputs(tensors, wing.read_task(task_folder), dict(cost))


def by_layer(trained: Trained, layers: Sequence[str] = (), *, device: str = "auto") -> dict[str, tuple[str, Outputs]]:
    """{layer: (key, outputs)} of a stored model, with that layer's features (unlearnkit.images.layers) in place of what
    the head is fed: every metric of features then reads that layer. Those not stored yet come from one pass of the
    model.

    layers: by name; those that feed the next one if not given. Raises what unlearnkit.images.layers.features raises,
    and NotApplicable for texts.
    """
    config, (_, last) = trained.config, outputs(trained, device=device)
    if (wing := domain(config)).NAME != "image":
        raise NotApplicable("features layer by layer are of image classifiers; a language model gives its last ones")
    layers = list(dict.fromkeys(layers or layers_module.stages(trained.load())))
    parents, roots = [trained.key, wing.task_artefact(config).key], (layers_module, wing.model_code(config)[0])
    specs = [Spec("layer", {"layer": name, "width": layers_module.WIDTH}, roots, parents) for name in layers]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        names = [layers[i] for i, _ in missing]
        kwargs = {"precision": config.recipe.precision, "device": device}
        with threads(1):
            features = layers_module.features(trained.load(), wing.load_task(config).x, names, **kwargs)
        for i, folder in missing:
            save_file({"features": features[layers[i]]}, folder / "layer.safetensors")
            publish(i, {"width": features[layers[i]].shape[1]})

    artefacts = Store().get_many(specs, make)
    stored = {name: load_file(a.folder / "layer.safetensors")["features"] for name, a in zip(layers, artefacts)}
    return {name: (a.key, replace(last, features=stored[name])) for name, a in zip(layers, artefacts)}


def relearn_steps(trained: Trained, *, device: str = "auto") -> int:
    """Steps until a stored model knows the targets as well as its config's original again: see
    unlearnkit.metrics.relearn_time."""
    return relearn_cost(trained, device=device)["steps"]


def relearn_cost(trained: Trained, *, device: str = "auto") -> Mapping:
    """{steps, seconds}: those of `relearn_steps`, and the wall seconds that counting them took."""
    config = trained.config
    (refs,) = references([config], ["original"], device=device)
    params = {"seed": derive(config.seed, "relearn"), "device": resolve_device(device).type}
    wing = domain(config)
    parents = [trained.key, refs["original"].key, wing.task_artefact(config).key]
    spec = Spec("relearn", params, (relearn_module, wing.model_code(config)[0]), parents)

    def make(folder: Path) -> dict:
        request = wing.request(config)
        with threads(1), measure_cost() as cost:
            resolved = resolve_device(device)
            goal = relearn_module.forget_loss(refs["original"].load().to(resolved), request.to(str(resolved)))
            steps = relearn_module.relearn_steps(trained.load(), request, goal, seed=params["seed"], device=device)
        return {"steps": steps, "seconds": cost.seconds}

    return Store().get(spec, make).info
