"""Reconstruction over configs of the study: every reference and unlearned model, each searched once and stored."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_builders.similarity import ssim
from data_builders.task import TRAINED_ON, Samples, unit
from unlearnkit.analysis.reconstruction.difference import images_of_difference
from unlearnkit.analysis.reconstruction.kkt import Search, look
from unlearnkit.analysis.reconstruction.layers import stacked
from unlearnkit.analysis.reconstruction.stationary import KKT, LOSS, known_samples, stationarity
from unlearnkit.core.compute import derive, resolve_device, threads
from unlearnkit.core.errors import BadValue
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.images.tasks import load_task, task_artefact
from unlearnkit.study import unlearn
from unlearnkit.study.reference_models import Trained, references

STACK = 16  # nets searched at once


def searched(models: Sequence[Trained], search: Search, *, device: str = "auto") -> list[dict]:
    """For each model what a search found, and what is known beside it, stored: {x (m, pixels), y (m,), known (n,), correct
    (n,), residual, kkt, loss, run}.

    residual: of the weights, at the candidates; kkt: at the samples that the original was trained on; loss: on what the
    model should have been trained on; known, correct: of all that original was trained on, then of the decoys, their
    multipliers at each other's presence, and whether the model gives their label. Raises BadValue for architectures that
    are not understood.
    """
    specs = []
    for model in models:
        m, seed = round(search.per_sample * model.config.train_size), derive(model.config.seed, "reconstruction")
        params = {"search": search.as_dict(), "m": m, "seed": seed, "device": resolve_device(device).type}
        parents = [model.key, task_artefact(model.config).key]
        specs.append(Spec("reconstruction", params | {"of": _of(model, device)}, (look, stationarity), parents))

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        groups: dict[tuple, list[tuple[int, Path]]] = {}
        for i, folder in missing:
            groups.setdefault((models[i].config.model, specs[i].params["m"], _shape(models[i])), []).append((i, folder))
        stacks = [found[i : i + STACK] for found in groups.values() for i in range(0, len(found), STACK)]
        with Progress("reconstruction", len(stacks) * search.steps) as bar, threads(1):
            for stack in stacks:
                nets = [models[i].load() for i, _ in stack]
                seeds = [specs[i].params["seed"] for i, _ in stack]
                m = specs[stack[0][0]].params["m"]
                found = look(stacked(nets), m, search, seeds, device=device, step=bar.step)
                for (i, folder), net, candidates in zip(stack, nets, found, strict=True):
                    task = load_task(models[i].config)
                    sets = [task.training_set(name) for name in ("original", specs[i].params["of"])]
                    known, info = known_samples(net, *sets, task.of("decoy"))  # type: ignore[call-arg]
                    save_file(known | {"x": candidates.x, "y": candidates.y}, folder / "candidates.safetensors")
                    publish(i, info | {"residual": candidates.residual})

    found = Store().get_many(specs, make)
    return [load_file(a.folder / "candidates.safetensors") | dict(a.info) | {"run": a.key} for a in found]


def _of(model: Trained, device: str) -> str:
    """Which training set a stored model should have had: its own, if it is a reference model, else the retain set."""
    found = [name for name, other in references([model.config], device=device)[0].items() if other.key == model.key]
    return found[0] if found else "retrain"


def _shape(model: Trained) -> tuple:
    task = load_task(model.config)
    return (*task.x.shape[1:], task.n_classes)


def reconstructions(
    configs: Sequence[Config],
    methods: Sequence[str],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    search: Search | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """The best candidate for each target and each decoy, in each of original, what `methods` make of it, retrain, and with
    copies clean: one row per (model, attack, sample, seed).

    attack: "kkt", from a model's weights; "difference", from the first layer's difference to original. ssim: of the best
    candidate; candidate: which; kept: of the nearest image that stays in training. residual: at the candidates (kkt), or of
    the difference at the targets (difference); kkt, loss: see `searched`; converged: whether these two are low enough for a
    reconstruction to mean anything; multiplier: of the sample among all known ones, relative to the mean of those trained
    on; correct: whether the model gives its label. A method that diverged has no rows. Raises BadValue for architectures
    that are not understood.
    """
    search, options = search or Search(), options or {}
    rows: list[tuple[Config, str, Trained]] = []
    for config, trio in zip(configs, references(configs, device=device), strict=True):
        made = {n: unlearn(config, n, options.get(n), tuned=tuned, device=device) for n in methods}
        of = {"original": trio["original"], **made, "retrain": trio["retrain"]}
        of |= {"clean": trio["clean"]} if config.copies else {}  # without copies it is retrain
        rows += [(config, name, model) for name, model in of.items() if "diverged" not in model.artefact.info]
    found = searched([model for _, _, model in rows], search, device=device)
    frames = []
    for (config, name, model), seen in zip(rows, found, strict=True):
        frames.append(_scored(config, name, "kkt", seen, seen))
        if name not in ("original", "clean") and (moved := difference(model, device=device)):
            frames.append(_scored(config, name, "difference", seen, moved))
    return pd.concat(frames, ignore_index=True)


def difference(model: Trained, *, device: str = "auto") -> dict | None:
    """What a model's difference to its config's original gives away, stored: {x (m, pixels), residual, run}; None where no
    bias of the first layer has moved. residual: of the difference, at the targets."""
    (refs,) = references([model.config], ["original"], device=device)
    parents = [model.key, refs["original"].key, task_artefact(model.config).key]
    spec = Spec("difference", {}, (images_of_difference, stationarity), parents)

    def make(folder: Path) -> dict:
        before, after = refs["original"].load(), model.load()
        try:
            x, _ = images_of_difference(before, after)
        except BadValue:
            return {"residual": None}
        moved = [a - b for a, b in zip(stacked([before]), stacked([after]), strict=True)]
        save_file({"x": x}, folder / "candidates.safetensors")
        return {"residual": stationarity(before, load_task(model.config).of("target"), explain=moved).residual}

    artefact = Store().get(spec, make)
    if artefact.info["residual"] is None:
        return None
    return load_file(artefact.folder / "candidates.safetensors") | dict(artefact.info) | {"run": artefact.key}


def _scored(config: Config, name: str, attack: str, seen: Mapping, found: Mapping) -> pd.DataFrame:
    task = load_task(config)
    kept, trained_on = task.training_set("retrain"), task.index(*TRAINED_ON["original"])
    place = torch.cat([trained_on, task.index("decoy")]).tolist()  # of the samples whose multipliers are known
    multiplier = seen["known"] / seen["known"][: len(trained_on)].mean()
    of = config.columns() | {"model": name, "attack": attack, "residual": found["residual"]}
    of |= {"kkt": seen["kkt"], "loss": seen["loss"], "converged": seen["loss"] <= LOSS and seen["kkt"] <= KKT}
    rows = []
    for group in ("target", "decoy"):
        samples = task.of(group)
        (value, which), (near, _) = best(samples, found["x"]), best(samples, unit(kept.stored).flatten(1))
        for i, row in enumerate(task.index(group).tolist()):
            one = {"group": group, "sample": row, "label": int(samples.y[i]), "ssim": value[i].item()}
            one |= {"kept": near[i].item(), "multiplier": multiplier[place.index(row)].item()}
            one |= {"correct": bool(seen["correct"][place.index(row)])}
            rows.append(of | one | {"candidate": int(which[i]), "run": found["run"]})
    return pd.DataFrame(rows)


def best(samples: Samples, x: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM of each sample's nearest candidate, and which it is: (n,), (n,). x: (m, pixels), clipped to 0 to 1."""
    images = unit(samples.stored)
    candidates = pictures(x, images.shape[1:])
    n, m = len(images), len(candidates)
    values = ssim(images.repeat_interleave(m, 0), candidates.repeat(n, 1, 1, 1)).view(n, m)
    return values.max(1)


def image_of(row: Mapping) -> Tensor:
    """The best candidate of a row of `reconstructions`, as it was stored: (pixels,)."""
    kind = "reconstruction" if row["attack"] == "kkt" else "difference"
    return load_file(Store().root / kind / row["run"] / "candidates.safetensors")["x"][int(row["candidate"])]


def pictures(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Candidates (m, pixels) as images (m, channels, height, width) in [0, 1]."""
    return x.clamp(0, 1).view(-1, *shape)
