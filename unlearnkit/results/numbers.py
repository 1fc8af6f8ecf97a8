"""One number of a published table, as text, by a query:

    T2 residual_influence targets=canary copies=25 strength=0.3 method=retrain   ->   0.94 [0.90, 0.98]

A query names a table or figure (full/T2 for that of another profile), a column, and a row. Conditions choose the row:
`=` and `!=` with one value, which may hold commas, or several (copies=0,1,5), `<` and `>` for numbers. After the column may
stand, each after a colon: `mean` for the number without its interval; `list` for the numbers of several rows, in the table's
order; `min` or `max` of them; the number of digits, 2 if none is given. In the place of a column, `count` is how many rows
fit. A masked number reads "masked".
"""

import re
import shlex
from pathlib import Path

import pandas as pd

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue
from unlearnkit.results import manifests, records

CONDITION = re.compile(r"([\w-]+)(!=|=|<|>)(.+)")


def number(query: str, home: Path | None = None) -> str:
    """The number that a query asks for. home: the results folder. Raises BadValue if no row, or more than one, fits."""
    try:
        name, what, *conditions = shlex.split(query)
    except ValueError as error:
        raise BadValue("should name a table, a column and a row") from error
    return _text(_fitting(_table(name, home or paths.root() / "results"), conditions, name), *what.split(":"))


_read: dict[tuple[Path, int], tuple[pd.DataFrame, dict[str, pd.Series]]] = {}


def _table(name: str, home: Path) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """(a published table, its columns as text as far as they were asked for)."""
    *profile, key = name.split("/")
    file = home.joinpath(*profile, "tables" if key.startswith("T") else "figures", f"{key}.parquet")
    if not (manifests.digest_listed(file) or file.is_file()):  # the whole table, where the CSV is one for people
        file = file.with_suffix(".csv")
    if not file.is_file():
        raise BadValue(f"there is no {name} in results/")
    version = (file, file.stat().st_mtime_ns)
    if version not in _read:
        _read[version] = records.table(file), {}
    return _read[version]


def check_tables(home: Path) -> None:
    """Raises BadValue if a table of this results folder that a query has read is not as its manifest lists it."""
    for file in {file for file, _ in _read if file.is_relative_to(home)}:
        if (file.parents[1] / "manifest.json").is_file() and not manifests.listed(file):
            raise BadValue(f"{file.name} is not as manifest.json lists it: restore it from git or run `make study`")


def _fitting(table: tuple[pd.DataFrame, dict[str, pd.Series]], conditions: list[str], name: str) -> pd.DataFrame:
    rows, texts = table
    fits = pd.Series(True, index=rows.index)
    for condition in conditions:
        parts = CONDITION.fullmatch(condition)
        if not parts or parts[1] not in rows:
            raise BadValue(f"{condition!r} is no condition on a column of {name}: {', '.join(rows)}")
        column, sign, values = parts[1], parts[2], parts[3].split(",")
        if sign in "<>":
            as_numbers = pd.to_numeric(rows[column], errors="coerce")
            fits &= as_numbers < float(values[0]) if sign == "<" else as_numbers > float(values[0])
        else:
            if column not in texts:
                texts[column] = rows[column].map(records.as_text)
            if texts[column].eq(parts[3]).any():  # one value that may hold commas, as a method with two options does
                values = [parts[3]]
            equal = texts[column].isin({records.as_text("" if v == "none" else v) for v in values})
            fits &= equal if sign == "=" else ~equal
    return rows[fits]


def _text(rows: pd.DataFrame, column: str, *form: str) -> str:
    if column == "count":
        return str(len(rows))
    if column not in rows:
        raise BadValue(f"no column {column!r}; there are: {', '.join(rows)}")
    digits = next((int(f) for f in form if f.isdigit()), 2)
    if "list" in form:
        return ", ".join(_digits(v, digits) for v in rows[column])
    if "min" in form or "max" in form:
        rows = rows.sort_values(column, ascending="min" in form).head(1)
    if len(rows) != 1:
        raise BadValue(f"{len(rows)} rows fit, not one")
    row = rows.iloc[0]
    value = _digits(row[column], digits)
    if "mean" in form or f"{column}_low" not in rows or value == "masked":
        return value
    low, high = (_digits(row[f"{column}_{end}"], digits) for end in ("low", "high"))
    return f"{value} [{low}, {high}]"


def _digits(value: object, digits: int) -> str:
    if isinstance(value, str) and value:
        return value
    if value == "" or pd.isna(value):
        return "masked"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
