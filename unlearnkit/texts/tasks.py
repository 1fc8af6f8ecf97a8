"""Configs -> stored text tasks: the pairs of a dataset, and what is drawn from them."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from data_builders.task import TRAINED_ON
from data_builders.texts import RawTexts, find
from data_builders.texts.build_mixed_task import build_mixed_task
from data_builders.texts.build_task import build_task
from data_builders.texts.task import TextTask, load
from unlearnkit.core.errors import BadValue
from unlearnkit.core.store import Artefact, Files, Spec, Store
from unlearnkit.texts.config import TextConfig


def load_task(config: TextConfig) -> TextTask:
    """The task of a config; built at the first call."""
    return read_task(task_artefact(config).folder)


def task_artefact(config: TextConfig) -> Artefact:
    """The stored task of a config. `info` holds its digest, and that of each reference's training set."""
    source, options = find(config.dataset), config.task_params()
    del options["dataset"]
    pool, code = pool_params(config.dataset)
    builder: Callable[..., TextTask] = build_task
    if config.arms:
        builder = build_mixed_task
        options = {k: options[k] for k in ("arms", "n_decoys", "train_size", "test_size", "seed")}

    def make(folder: Path) -> dict:
        raw = load_pool(config.dataset)
        facts = {"dataset": source.name, "licence": source.licence, "source": source.source, "raw_digest": raw.digest()}
        task = builder(raw, **options)
        task = replace(task, facts=facts | dict(task.facts))
        task.save(folder)
        return {"digest": task.digest()} | {r: task.training_set(r).digest() for r in TRAINED_ON}

    return Store().get(Spec("text-task", pool | options, (builder, code, RawTexts), ()), make)


@lru_cache(maxsize=64)
def read_task(folder: Files) -> TextTask:
    """The task of a stored artefact."""
    return load(folder)


def pool_params(dataset: str) -> tuple[dict, Callable]:
    """What the pairs of a dataset depend on: plain values, and the function that reads or makes them."""
    source = find(dataset)
    return {"dataset": source.name, "files": source.fingerprint()}, getattr(source.code, "function", source.code)


def load_pool(dataset: str) -> RawTexts:
    """All pairs of a dataset, which its tasks are drawn from. Raises BadValue if it has no training pairs."""
    return _pool(dataset, tuple(find(dataset).fingerprint().items()))


@lru_cache(maxsize=4)
def _pool(dataset: str, *state) -> RawTexts:
    raw = find(dataset).load()
    if not len(raw.train):
        raise BadValue(f"{dataset} has no pairs to train on")
    return raw
