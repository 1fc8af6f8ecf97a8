"""Reconstruction over configs of the study: every reference and unlearned model, each searched once and stored."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_builders.similarity import ssim
from data_builders.task import TRAINED_ON, Samples, unit
from unlearnkit.analysis.reconstruction.difference import images_of_difference
from unlearnkit.analysis.reconstruction.kkt import Search, find_candidates
from unlearnkit.analysis.reconstruction.layers import stacked
from unlearnkit.analysis.reconstruction.stationary import KKT, LOSS, known_samples, stationarity
from unlearnkit.core.compute import derive, resolve_device, threads
from unlearnkit.core.errors import BadValue, StoreError
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.images.tasks import load_task, task_artefact
from unlearnkit.images.train_many import LIGHT
from unlearnkit.study.reference_models import Trained, references
from unlearnkit.study.rows import applicable_rows
from unlearnkit.study.unlearned_models import unlearn_row

STACK = 16  # nets searched at once, if they are small: of others each is stored as soon as it is done


def searched(models: Sequence[Trained], search: Search, *, device: str = "auto") -> list[dict]:
    """For each model the candidates of a search, and what is known beside them, stored: {x (m, pixels), y (m,), known
    (n,), correct (n,), residual, kkt, loss, run}.

    residual: of the weights, at the candidates; kkt: at the samples that original was trained on, and of `clean` also at
    those that take the near-duplicates' place; loss: on what the model should have been trained on, of which the share
    violated has no positive margin; known, correct: of all that original was trained on, then of as many decoys as targets,
    then of what `clean` alone was trained on, their multipliers at each other's presence, and whether the model gives
    their label. Raises BadValue for architectures that are not supported.
    """
    specs = []
    for model in models:
        m, seed = round(search.per_sample * model.config.train_size), derive(model.config.seed, "reconstruction")
        params = {"search": search.as_dict(), "m": m, "seed": seed, "device": resolve_device(device).type}
        params["of"] = _training_set(model, device)
        parents = [
            model.key,
            task_artefact(model.config).info["digest"],
        ]  # by content: not each change of a builder counts
        specs.append(Spec("reconstruction", params, (find_candidates, stationarity), parents))

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        groups: dict[tuple, list[tuple[int, Path]]] = {}
        for i, folder in missing:
            groups.setdefault((models[i].config.model, specs[i].params["m"], _shape(models[i])), []).append((i, folder))
        stacks = [part for group in groups.values() for part in _stacks(group, models[group[0][0]].load())]
        with Progress("reconstruction", len(stacks) * search.steps) as bar, threads(1):
            for stack in stacks:
                nets = [models[i].load() for i, _ in stack]
                seeds = [specs[i].params["seed"] for i, _ in stack]
                m = specs[stack[0][0]].params["m"]
                results = find_candidates(stacked(nets), m, search, seeds, device=device, step=bar.step)
                for (i, folder), net, candidates in zip(stack, nets, results, strict=True):
                    task = load_task(models[i].config)
                    sets = [task.training_set(name) for name in ("original", specs[i].params["of"])]
                    decoys = task.of("decoy")[: len(task.index("target"))]
                    refill = task.of("refill")[: None if specs[i].params["of"] == "clean" else 0]
                    known, info = known_samples(net, *sets, decoys, refill)  # type: ignore[call-arg]
                    save_file(known | {"x": candidates.x, "y": candidates.y}, folder / "candidates.safetensors")
                    publish(i, info | {"residual": candidates.residual})

    artefacts = Store().get_many(specs, make)
    return [load_file(a.folder / "candidates.safetensors") | dict(a.info) | {"run": a.key} for a in artefacts]


def _training_set(model: Trained, device: str) -> str:
    """The training set that a stored model should have had: its own, if it is a reference model, else the retain
    set."""
    (refs,) = references([model.config], device=device)
    return next((name for name, other in refs.items() if other.key == model.key), "retrain")


def _stacks(group: list, net: nn.Module) -> list[list]:
    """The group in parts that are searched at once."""
    size = STACK if sum(p.numel() for p in net.parameters()) <= LIGHT else 1
    return [group[i : i + size] for i in range(0, len(group), size)]


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
    """The best candidate for each target and as many decoys, in each of original, its models after `methods`, retrain, and
    with near-duplicates clean: one row per (method, attack, sample, seed).

    attack: "kkt", from a model's weights; "difference", from the first layer's difference to original. ssim: of the
    best candidate; candidate_index: which; ssim_nearest_retained: of the nearest image that stays in training.
    reconstruction_residual: at the candidates (kkt), or of the difference at the targets (difference); kkt_residual,
    training_loss, margins_violated: kkt, loss and violated of `searched`; converged: whether the first two are low enough
    for a reconstruction to mean anything; kkt_multiplier: of the sample among all known ones, relative to the mean of
    those that the model should have been trained on; correct: whether the model gives its label. A method that has no
    meaning in a config, or diverged, has no rows. Raises BadValue for architectures that are not supported.
    """
    search = search or Search()
    rows = applicable_rows(configs, methods, options, tuned=tuned)
    models: list[tuple[Config, str, Trained]] = []
    for config, refs in zip(configs, references(configs, device=device), strict=True):
        own = [row for row in rows if row.config == config]
        unlearned = {row.name: unlearn_row(row, refs["original"], device=device) for row in own}
        by_name = {"original": refs["original"], **unlearned, "retrain": refs["retrain"]}
        by_name |= {"clean": refs["clean"]} if config.copies else {}  # without near-duplicates it is retrain
        models += [(config, name, model) for name, model in by_name.items() if not model.diverged]
    stored = searched([model for _, _, model in models], search, device=device)
    tables = []
    for (config, name, model), by_kkt in zip(models, stored, strict=True):
        tables.append(_scored(config, name, "kkt", by_kkt, by_kkt))
        if name not in ("original", "clean") and (by_difference := difference(model, device=device)):
            tables.append(_scored(config, name, "difference", by_kkt, by_difference))
    return pd.concat(tables, ignore_index=True)


def difference(model: Trained, *, device: str = "auto") -> dict | None:
    """What a model's difference to its config's original reveals, stored: {x (m, pixels), residual, run}; None where no
    bias of the first layer has moved. residual: of the difference, at the targets."""
    (refs,) = references([model.config], ["original"], device=device)
    parents = [model.key, refs["original"].key, task_artefact(model.config).info["digest"]]
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


def _scored(config: Config, name: str, attack: str, by_kkt: Mapping, candidates: Mapping) -> pd.DataFrame:
    """One row per target and decoy. by_kkt: of `searched`; candidates: those of this attack."""
    task = load_task(config)
    kept, trained_on = task.training_set("retrain"), task.index(*TRAINED_ON["original"])
    compared = {
        group: task.index(group)[: len(task.index("target"))] for group in ("target", "decoy")
    }  # as many of both
    known = torch.cat([trained_on, compared["decoy"], task.index("refill")])[: len(by_kkt["known"])]
    own = task.index(*TRAINED_ON[name if name in TRAINED_ON else "retrain"])
    multiplier, place = by_kkt["known"] / by_kkt["known"][torch.isin(known, own)].mean(), known.tolist()
    columns = config.columns() | {"method": name, "attack": attack, "reconstruction_residual": candidates["residual"]}
    columns |= {"kkt_residual": by_kkt["kkt"], "training_loss": by_kkt["loss"]}
    columns |= {"margins_violated": by_kkt["violated"]}
    columns |= {"converged": by_kkt["loss"] <= LOSS and by_kkt["kkt"] <= KKT}
    rows = []
    for group, index in compared.items():
        samples = task.of(group)[: len(index)]
        (value, which), (near, _) = best(samples, candidates["x"]), best(samples, unit(kept.stored).flatten(1))
        for i, row in enumerate(index.tolist()):
            sample = {"group": group, "sample": row, "label": int(samples.y[i]), "ssim": value[i].item()}
            sample |= {"ssim_nearest_retained": near[i].item(), "kkt_multiplier": multiplier[place.index(row)].item()}
            sample |= {"correct": bool(by_kkt["correct"][place.index(row)]), "candidate_index": int(which[i])}
            rows.append(columns | sample | {"run": candidates["run"]})
    return pd.DataFrame(rows)


def best(samples: Samples, x: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM of each sample's nearest candidate, and which it is: (n,), (n,). x: (m, pixels), clipped to 0 to 1."""
    images = unit(samples.stored)
    candidates = pictures(x, images.shape[1:])
    n, m = len(images), len(candidates)
    values = ssim(images.repeat_interleave(m, 0), candidates.repeat(n, 1, 1, 1)).view(n, m)
    return values.max(1)


def image_of(row: Mapping) -> Tensor:
    """The best candidate of a row of `reconstructions`, (pixels,). Raises StoreError if it is not stored any more."""
    kind = "reconstruction" if row["attack"] == "kkt" else "difference"
    artefact = Store().find(kind, row["run"])
    if artefact is None:
        raise StoreError(f"the candidates of run {row['run']} are not in the cache: run the reconstruction again")
    return load_file(artefact.folder / "candidates.safetensors")["x"][int(row["candidate_index"])]


def pictures(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Candidates (m, pixels) as images (m, channels, height, width) in [0, 1]."""
    return x.clamp(0, 1).view(-1, *shape)
