"""Committed scores are the memory: rows that were measured once are not measured again where the cache is lost, and a
later run adds rows to them."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from unlearnkit.core.errors import BadValue
from unlearnkit.images.config import Config
from unlearnkit.study.rows import Row


def identity(row: Row) -> str:
    """What was measured: a hash of the config, the row's name and all of its options. The program is not part of it."""
    parts = {"config": asdict(row.config), "name": row.name, "options": dict(row.resolved)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Memory:
    """The scores of one config in one Parquet file of a folder; without a folder, nothing is remembered.

    Raises BadValue for a file that is damaged or not of such scores.
    """

    def __init__(self, folder: Path | None, config: Config):
        digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:8]
        name = f"{config.columns()['dataset']}-{config.model}-seed{config.seed}-{digest}.parquet"
        self.file = folder / name if folder else None
        self._table = pd.DataFrame({"identity": pd.Series(dtype=str)})
        if self.file and self.file.is_file():
            try:
                self._table = pd.read_parquet(self.file)
            except (OSError, ValueError) as error:
                raise BadValue(
                    f"{name} is damaged ({error}): restore it from git, or delete it to measure it anew"
                ) from error
            if "identity" not in self._table:
                raise BadValue(f"{name} does not hold remembered scores: restore it from git, or delete it")

    def __getitem__(self, row: Row) -> pd.DataFrame | None:
        """The remembered scores of a row, or None."""
        found = self._table[self._table.identity == identity(row)]
        return found.drop(columns="identity").reset_index(drop=True) if len(found) else None

    def __setitem__(self, row: Row, scores: pd.DataFrame) -> None:
        """Remember the scores of a row, on disk at once: a run that is killed loses nothing that was finished."""
        if not self.file:
            return
        kept = self._table[self._table.identity != identity(row)]
        new = scores.assign(identity=identity(row))
        self._table = pd.concat([kept, new], ignore_index=True) if len(kept) else new
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        self._table.to_parquet(part, compression="zstd")
        part.replace(self.file)
