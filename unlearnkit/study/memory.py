"""Committed scores are the memory: rows that were measured once are not measured again where the cache is lost, and a
later run adds rows to them."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from unlearnkit.core import paths, sealed_tables
from unlearnkit.core.disk import lock
from unlearnkit.core.errors import BadValue
from unlearnkit.images.config import Config
from unlearnkit.study.rows import Row


def identity(row: Row) -> str:
    """What was measured: a hash of the config, the row's name and all of its options. The program is not part of it."""
    parts = {"config": asdict(row.config), "name": row.name, "options": dict(row.resolved)}
    parts |= {"of": dict(row.of)} if row.of else {}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def in_kept_precision(config: Config, folder: Path | None) -> Config:
    """The config as its scores are kept: where `precision: auto` became another word than on the machine that measured
    them, that word goes on, since models of two precisions are not compared."""
    if folder is None or not config.recipe.by_auto or _file(folder, config).is_file():
        return config
    others = (replace(config, recipe=replace(config.recipe, precision=word)) for word in ("bf16", "fp32"))
    return next((other for other in others if _file(folder, other).is_file()), config)


def _file(folder: Path, config: Config) -> Path:
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:8]
    name = re.sub(r"[^\w.+-]+", "_", f"{config.columns()['dataset']}-{config.model}")  # Windows allows no colon
    return folder / f"{name}-seed{config.seed}-{digest}.parquet"


class Memory:
    """The scores of one config in one Parquet file of a folder; without a folder, nothing is remembered.

    Raises BadValue for a file that is damaged or not of such scores.
    """

    def __init__(self, folder: Path | None, config: Config):
        self.file = _file(folder, config) if folder else None
        self._table = self._read()

    def _read(self) -> pd.DataFrame:
        if not (self.file and os.path.lexists(self.file)):
            return pd.DataFrame({"identity": pd.Series(dtype=str)})
        try:
            table = sealed_tables.read(self.file)
        except BadValue as error:
            raise BadValue(f"{error}: restore it from git, or delete it to measure it anew") from error
        if "identity" not in table:
            raise BadValue(f"{self.file.name} does not hold remembered scores: restore it from git, or delete it")
        return table

    def __getitem__(self, row: Row) -> pd.DataFrame | None:
        """The remembered scores of a row, or None."""
        found = self._table[self._table.identity == identity(row)]
        return found.drop(columns="identity").reset_index(drop=True) if len(found) else None

    def __setitem__(self, row: Row, scores: pd.DataFrame) -> None:
        """Remember the scores of a row, on disk at once, beside those that other processes have measured meanwhile: a run
        that is killed loses nothing that was finished."""
        if not self.file:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with lock(self.file.with_suffix(".lock")):
            there = self._read()
            kept = there[there.identity != identity(row)]
            new = scores.assign(identity=identity(row))
            table = pd.concat([kept, new], ignore_index=True) if len(kept) else new
            self._table = table.sort_values("identity", kind="stable", ignore_index=True)  # whoever came first
            part = self.file.with_suffix(".part")
            sealed_tables.write(self._table, part)
            part.replace(self.file)


class Kept:
    """Tables of one kind that a folder of the project keeps, row by row: each is made once and committed, and what is
    published is remade from it without a model. Kept rows are no artefacts: their identity holds no code.

    memory: the folder, relative to the project; nothing is kept where it is empty. kind: a folder of it; of: what else the
    tables depend on, say which metrics were asked for.
    """

    def __init__(self, memory: str | Path, kind: str, **of):
        self.folder = paths.root() / memory / kind if memory else None
        self.of = of
        self._memories: dict[Config, Memory] = {}

    def __getitem__(self, row: Row) -> pd.DataFrame | None:
        return self._memory(row.config)[replace(row, of=self.of)]

    def __setitem__(self, row: Row, table: pd.DataFrame) -> None:
        self._memory(row.config)[replace(row, of=self.of)] = table

    def _memory(self, config: Config) -> Memory:
        if config not in self._memories:
            self._memories[config] = Memory(self.folder, config)
        return self._memories[config]

    def get(self, row: Row, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The kept table of a row, or what `make` returns, which is then kept."""
        table = self[row]
        if table is None:
            self[row] = table = make()
        return table

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Those of `rows` that are not kept, for which models are needed."""
        return [row for row in rows if self[row] is None]
