"""Stored text tasks: which pairs, drawn and paraphrased how."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from data_builders.task import TRAINED_ON
from data_builders.texts import RawTexts, find
from data_builders.texts.build_task import build_task
from data_builders.texts.task import TextTask, load
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.registry import check_type
from unlearnkit.core.store import Artefact, Spec, Store

OPTIONS = {
    name: p
    for name, p in inspect.signature(build_task).parameters.items()
    if p.kind is p.KEYWORD_ONLY and name != "encode"
}


def resolve(options: Mapping) -> dict:
    """All options of `build_task`, the given ones checked and the rest at their defaults; without copies strength and side
    mean nothing, and such tasks are all the same one. Raises UnknownName and BadValue."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise unknown("option of a text task", name, OPTIONS)
        check_type(f"{name!r}", value, OPTIONS[name].annotation)
    found = {name: options.get(name, p.default) for name, p in OPTIONS.items()}
    idle = {"strength": 0.0, "side": OPTIONS["side"].default} if not found["copies"] else {}
    return found | {"strength": float(found["strength"])} | idle


def task_artefact(dataset: str = "fictional", **options) -> Artefact:
    """The stored task; built at the first call. `info` holds its digest, and that of each reference's training set."""
    source = find(dataset)
    of_pool, code = pool_params(dataset)
    params = of_pool | resolve(options)

    def make(folder: Path) -> dict:
        raw = load_pool(dataset)
        facts = {"dataset": source.name, "licence": source.licence, "source": source.source, "raw_digest": raw.digest()}
        task = build_task(raw, **resolve(options))
        task = TextTask(task.texts, task.role, task.source, task.pairs, facts | dict(task.facts))
        task.save(folder)
        return {"digest": task.digest()} | {r: task.training_set(r).digest() for r in TRAINED_ON}

    return Store().get(Spec("text-task", params, (build_task, code, RawTexts), ()), make)


def load_task(dataset: str = "fictional", **options) -> TextTask:
    return read_task(str(task_artefact(dataset, **options).folder))


@lru_cache(maxsize=64)
def read_task(folder: str) -> TextTask:
    return load(Path(folder))


def pool_params(dataset: str) -> tuple[dict, Callable]:
    """What the pairs of a data set depend on: plain values, and the function that reads or makes them."""
    source = find(dataset)
    return {"dataset": source.name, "files": source.fingerprint()}, getattr(source.code, "function", source.code)


def load_pool(dataset: str) -> RawTexts:
    """All pairs of a data set, which its tasks are drawn from."""
    return _pool(dataset, tuple(find(dataset).fingerprint().items()))


@lru_cache(maxsize=4)
def _pool(dataset: str, *state) -> RawTexts:
    raw = find(dataset).load()
    if not len(raw.train):
        raise BadValue(f"{dataset} has no pairs to train on")
    return raw
