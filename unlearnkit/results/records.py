"""Records: the single runs behind a table, stored beside it, so that each number leads back to its seeds without the cache.

A record is a data frame with a column `run`, as the tidy score table has it. The columns that are the same in all rows of a
run name the run: dataset, copies, method, seed ...; the others are what was measured.
"""

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from unlearnkit.core.errors import BadValue, StoreError
from unlearnkit.core.statistics import CONDITION_COLUMNS

MEASURED = ("metric", "reference", "group", "value")  # of the tidy score table
NUMBERS = (*CONDITION_COLUMNS, "seed", "n_targets", "n_models")  # columns of numbers that name a run, not measure it


def write(frame: pd.DataFrame, folder: Path, place: Callable[[Path, Callable], None]) -> str:
    """Store a record below `folder`, under a name that is the hash of its content; returns that name.

    place: `place(path, write)` writes a file whole or not at all. Numbers are kept to 7 digits (float32). Rows are sorted by
    run: the columns that name it then take almost no room.
    """
    order = [c for c in ("run", *MEASURED[:-1]) if c in frame]
    kept = frame.sort_values(order, kind="stable", ignore_index=True)
    numbers = [c for c in kept if not names_a_run(kept[c])]
    kept = kept.astype(dict.fromkeys(numbers, "float32"))
    held = io.BytesIO()
    words = [c for c in kept if c not in numbers]  # a dictionary of numbers that all differ is larger than they are
    kept.to_parquet(held, index=False, compression="zstd", compression_level=9, use_dictionary=words)
    name = f"scores/{hashlib.sha256(held.getvalue()).hexdigest()[:12]}.parquet"
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    place(folder / name, lambda path: path.write_bytes(held.getvalue()))
    return name


def read(folder: Path, entry: Mapping) -> pd.DataFrame | None:
    """The record of a result by its entry in the manifest; None if it has none: its table then names the runs itself."""
    names = [name for name in entry["files"] if name.startswith("scores/")]
    return pd.read_parquet(folder / names[0]) if names and (folder / names[0]).is_file() else None


def write_csv(table: pd.DataFrame, to: Path | io.StringIO) -> None:
    """A table as CSV: numbers to 6 digits, nothing where there is none."""
    table.to_csv(to, index=False, float_format="%.6g", lineterminator="\n")


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """A table as Parquet, with the numbers and the kinds of columns that `table` reads from its CSV."""
    write_csv(table, text := io.StringIO())
    text.seek(0)
    _read_csv(text).to_parquet(path, index=False, compression="zstd")


def _read_csv(source: Path | io.StringIO) -> pd.DataFrame:
    return pd.read_csv(source, keep_default_na=False, na_values=[""])


def table(path: Path) -> pd.DataFrame:
    """A table as it was published, of a CSV or a Parquet file: empty text stays "", an empty number is NaN. Raises
    StoreError for what is none."""
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise StoreError(f"{path.name} is no table ({why}): restore it from git or run `make study`") from error
    for name in rows:
        if rows[name].isna().all() or not pd.api.types.is_numeric_dtype(rows[name]):
            rows[name] = rows[name].astype(object).where(rows[name].notna(), "")
    return rows


def runs(record: pd.DataFrame) -> pd.DataFrame:
    """One row per run: its key, and the columns that name it."""
    one = record.groupby("run", sort=False)
    same = (one.nunique(dropna=False) == 1).all()
    names = [c for c in record if c in same.index and same[c] and c not in MEASURED]
    return one[[c for c in names if c != "run"]].first().reset_index()


def behind(table: pd.DataFrame, runs: pd.DataFrame) -> list[list[str]]:
    """For each row of a table the keys of the runs that it was made from.

    They are those in its own column `run`, or else those of `runs` (see the function) that agree with the row in every
    column that names a run in both. A row may have none.
    """
    if "run" in table:
        return [str(keys).split() for keys in table.run]
    shared = [c for c in runs if c in table and c != "run" and names_a_run(runs[c])]
    if not shared:
        return [runs.run.tolist() for _ in range(len(table))]
    by_names: dict[tuple, list[str]] = {}
    for key, names in zip(runs.run, _names(runs, shared)):
        by_names.setdefault(names, []).append(key)
    return [by_names.get(names, []) for names in _names(table, shared)]


def _names(frame: pd.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*(frame[c].map(as_text) for c in columns)))


def names_a_run(column: pd.Series) -> bool:
    """Whether a column tells runs apart, rather than being measured in them."""
    return column.name in NUMBERS or not pd.api.types.is_float_dtype(column)


def same(a: object, b: object) -> bool:
    """Whether two values are equal as text, or as numbers to the digits that a CSV keeps."""
    return as_text(a) == as_text(b)


def as_text(value: object) -> str:
    """A value as text: a number, or what reads as one, to the 6 digits that a CSV keeps; "" for none."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)
    return "" if math.isnan(number) else f"{number:.6g}"


def select(rows: pd.DataFrame, where: Mapping[str, str], what: str) -> pd.DataFrame:
    """The rows that agree with `where`. Raises BadValue, with what there is, for a column or a value that does not exist."""
    for name, wanted in where.items():
        if name not in rows:
            raise BadValue(f"{what} has no column {name!r}; it has: {', '.join(map(str, rows))}")
        kept = rows[rows[name].map(lambda value, wanted=wanted: same(value, wanted))]
        if kept.empty:
            there = ", ".join(dict.fromkeys(map(as_text, rows[name])))
            raise BadValue(f"no row of {what} has {name}={wanted}; with the rest of the selection there is: {there}")
        rows = kept
    return rows
