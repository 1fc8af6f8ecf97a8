"""Configs -> stored tasks: the images of a dataset, and the samples drawn from them."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from data_builders import TEST, TRAIN, RawImages, Source, find
from data_builders.build_mixed_task import build_mixed_task
from data_builders.build_task import build_task
from data_builders.perturbations import perturbations
from data_builders.task import TRAINED_ON, Samples, SimilarityTask
from unlearnkit.core import paths
from unlearnkit.core.compute import derive
from unlearnkit.core.store import Artefact, Files, Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.images.half_data import HalfData, memorisation_artefact
from unlearnkit.images.models import build, models
from unlearnkit.images.predict import predict
from unlearnkit.images.train import Recipe
from unlearnkit.images.train_many import fit_many

POOL = ("dataset", "max_pool_images", "test_size")  # what says which images a task is drawn from
FOLDS = 5  # of `held_out_loss`


def load_task(config: Config) -> SimilarityTask:
    """The task of a config; built at the first call."""
    return read_task(task_artefact(config).folder)


def task_artefact(config: Config) -> Artefact:
    """The stored task of a config. `info` holds its digest, and that of each reference's training set."""
    source = find(config.dataset)  # a task depends on it, too, and it may change while a notebook is open
    used = {arm["perturbation"] for arm in config.arms} or {config.perturbation}
    code = (*(perturbations[name].function for name in sorted(used)), getattr(source.code, "function", source.code))
    return _task_artefact(config, code, tuple(source.fingerprint().items()), paths.cache())


@lru_cache(maxsize=2**14)
def _task_artefact(config: Config, *state) -> Artefact:
    params = config.task_params() | {"max_pool_images": 0 if config.targets == "ids" else config.max_pool_images}
    perturbation = perturbations[config.perturbation]
    params["perturbation_options"] = perturbation.resolve(params["perturbation_options"])
    builder: Callable[..., SimilarityTask] = build_task
    pool, inputs = pool_artefact(config), {}
    if config.arms:
        builder = build_mixed_task
        params = {k: params[k] for k in (*POOL, "arms", "n_decoys", "train_size", "seed")}
        if any(arm["targets"] == "memorised" for arm in config.arms):
            inputs["memorisation"] = _memorisation(config)
    if config.targets == "hard":
        inputs["difficulty"] = difficulty_artefact(config)
    if config.perturbation == "feature_neighbours":
        inputs["features"] = features_artefact(config)
    source = {k: params.pop(k) for k in POOL}
    params["facts"] = pool.info["facts"]  # a task depends on the pool's content, whichever way it was read
    parents = [pool.info["digest"], *(artefact.info.get("digest", artefact.key) for artefact in inputs.values())]

    def make(folder: Path) -> dict:
        per_image = {k: load_file(artefact.folder / f"{k}.safetensors")[k] for k, artefact in inputs.items()}
        options = {k: v for k, v in params.items() if k != "facts"}
        task = builder(_read_pool(pool.folder), **options, **per_image)
        tensors = {"x": task.x, "y": task.y, "role": task.role, "source": task.source}
        if task.arm is not None:
            tensors["arm"] = task.arm
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "task.safetensors")
        task.pairs.to_parquet(folder / "pairs.parquet")
        info = {"n_classes": task.n_classes, "facts": dict(task.facts), "digest": task.digest()}
        (folder / "task.json").write_text(json.dumps(info), encoding="utf-8")
        return info | source | {r: task.training_set(r).digest() for r in TRAINED_ON}

    return Store().get(Spec("task", params, (builder, perturbation), parents), make)


@lru_cache(maxsize=64)
def read_task(folder: Files) -> SimilarityTask:
    """The task of a stored artefact."""
    info = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    pairs = pd.read_parquet(folder / "pairs.parquet")
    return SimilarityTask(
        **load_file(folder / "task.safetensors"), pairs=pairs, n_classes=info["n_classes"], facts=info["facts"]
    )


def pool_artefact(config: Config) -> Artefact:
    """The stored pool of a config: its dataset without exact duplicates, cut down to at most so many images."""
    source = find(config.dataset)
    size = 0 if config.targets == "ids" else config.max_pool_images
    params = {"dataset": source.name, "files": source.fingerprint(), "pool": size, "test_size": config.test_size}

    def make(folder: Path) -> dict:
        raw = source.load()
        distinct = raw.distinct()
        pool = distinct.limited_to(size, config.test_size)
        save_file({n: getattr(pool, n).clone() for n in (*TRAIN, *TEST)}, folder / "pool.safetensors")
        facts = _facts(source, raw, distinct) | dict(raw.facts)
        (folder / "pool.json").write_text(json.dumps({"n_classes": pool.n_classes, "facts": facts}), encoding="utf-8")
        return {"digest": pool.digest(), "facts": facts}

    return Store().get(Spec("pool", params, (source.code, RawImages)), make)


def _facts(source: Source, raw: RawImages, distinct: RawImages) -> dict:
    return {
        "dataset": source.name,
        "licence": source.licence,
        "source": source.source,
        "raw_train": len(raw.x),
        "raw_test": len(raw.test_x),
        "raw_digest": raw.digest(),
        "exact_duplicates_dropped": len(raw.x) - len(distinct.x),
    }


def load_pool(config: Config) -> RawImages:
    """The images that a config's task is drawn from."""
    return _read_pool(pool_artefact(config).folder)


@lru_cache(maxsize=4)
def _read_pool(folder: Files) -> RawImages:
    info = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
    return RawImages(**load_file(folder / "pool.safetensors"), n_classes=info["n_classes"], facts=info["facts"])


def difficulty_artefact(config: Config) -> Artefact:
    """The stored `held_out_loss` of every image of the config's pool."""

    def make(folder: Path) -> None:
        raw = load_pool(config)
        loss = held_out_loss(raw.x, raw.y, raw.n_classes, config.model, config.recipe)
        save_file({"difficulty": loss}, folder / "difficulty.safetensors")

    return Store().get(_pool_spec("difficulty", config, held_out_loss), make)


def held_out_loss(x: Tensor, y: Tensor, n_classes: int, model: str, recipe: Recipe) -> Tensor:
    """Cross-entropy of each image, (n,), in nats, under the one of FOLDS models that was not trained on its fold.

    x: (n, channels, height, width) uint8; y: (n,).
    """
    fold = torch.arange(len(x)) % FOLDS
    parts = [Samples(x[fold != f], y[fold != f]) for f in range(FOLDS)]
    seeds = [derive(0, "difficulty", f) for f in range(FOLDS)]
    nets = [build(model, tuple(x.shape[1:]), n_classes, seed) for seed in seeds]
    trained = fit_many(nets, parts, recipe, seeds=seeds)
    loss = torch.empty(len(x))
    for f, net in enumerate(trained):
        logits, _ = predict(net, x[fold == f], precision=recipe.precision)
        loss[fold == f] = cross_entropy(logits, y[fold == f], reduction="none")
    return loss


def half_data(config: Config, *, keep: bool = False) -> HalfData | None:
    """What models of halves of the config's pool know of its images; None for a config without memorised targets, for which
    no such models are trained. keep: in the project's results, too."""
    if not any(arm["targets"] == "memorised" for arm in config.arms):
        return None
    ids = load_pool(config).ids
    assert ids is not None
    return HalfData(ids, **load_file(_memorisation(config, keep).folder / "memorisation.safetensors"))


def _memorisation(config: Config, keep: bool = False) -> Artefact:
    """What half-data models of the config's architecture and recipe know of each image of its pool."""
    pool = pool_artefact(config)
    return memorisation_artefact(_read_pool(pool.folder), pool.info["digest"], config.model, config.recipe, keep=keep)


def features_artefact(config: Config) -> Artefact:
    """The stored features of every image of the config's pool, under a model of its architecture trained on all."""

    def make(folder: Path) -> None:
        raw = load_pool(config)
        seed = derive(0, "pool features")
        net = build(config.model, tuple(raw.x.shape[1:]), raw.n_classes, seed)
        (net,) = fit_many([net], [Samples(raw.x, raw.y)], config.recipe, seeds=[seed])
        features = predict(net, raw.x, precision=config.recipe.precision)[1]
        save_file({"features": features}, folder / "features.safetensors")

    return Store().get(_pool_spec("features", config, fit_many), make)


def _pool_spec(kind: str, config: Config, function) -> Spec:
    params = {"model": config.model, "recipe": config.recipe.as_dict()}
    return Spec(kind, params, (models[config.model], function, predict), [pool_artefact(config).info["digest"]])
