"""Tables of single seeds, made once and stored."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from unlearnkit.core.store import Spec, Store


def stored_tables(spec: Spec, make: Callable[[], Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """The tables that `make` returns by name, made once and stored under `spec`; in each the column `run` is the key
    that it is stored under."""

    def write(folder: Path) -> None:
        for name, table in make().items():
            table.to_parquet(folder / f"{name}.parquet")

    artefact = Store().get(spec, write)
    files = artefact.folder
    return {
        name.removesuffix(".parquet"): pd.read_parquet(files / name).assign(run=artefact.key)
        for name in sorted(files.names)
    }


def stored_table(spec: Spec, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """`stored_tables` of one table."""
    return stored_tables(spec, lambda: {"table": make()})["table"]
