"""The README's numbers, filled from the results: `unlearnkit readme --write`, checked by `--check`.

A number stands between two marks that do not show, the first saying where it comes from:

    <!--n: T2 rho targets=canary copies=25 strength=0.3 method=retrain-->0.94 [0.90, 0.98]<!--/n-->

That is: a table (real/T2 for that of another profile), a column, and which row. The row is given by conditions: `=` and `!=`
with one value or several (copies=0,1,5), `<` and `>` for numbers. After the column may stand, each after a colon: `mean` for
the number without its interval; `list` for those of several rows, in the table's order; `min` or `max` of them; a number of
digits, 2 if none is given. In the place of a column, `count` says how many rows fit. A masked number reads "masked".
"""

import re
import shlex
from pathlib import Path

import pandas as pd

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError
from unlearnkit.results import records

MARKED = re.compile(r"<!--n: *(.*?) *-->(.*?)<!--/n-->", re.S)
CONDITION = re.compile(r"([\w-]+)(!=|=|<|>)(.+)")


def filled(text: str, home: Path | None = None) -> str:
    """The text with every marked number as the results have it. Raises BadValue for a mark that no table can fill."""
    return MARKED.sub(lambda found: f"<!--n: {found[1]}-->{told(found[1], home)}<!--/n-->", text)


def stale(text: str, home: Path | None = None) -> list[tuple[str, str, str]]:
    """(mark, what stands there, what should) of each marked number that is not what the results say."""
    found = ((mark, now, told(mark, home)) for mark, now in MARKED.findall(text))
    return [row for row in found if row[1] != row[2]]


def told(mark: str, home: Path | None = None) -> str:
    """The number that a mark asks for, as text."""
    try:
        name, what, *conditions = shlex.split(mark)
    except ValueError as error:
        raise BadValue(f"<!--n: {mark}--> should name a table, a column and a row") from error
    try:
        rows = _fitting(_table(name, home or paths.root() / "results"), conditions, name)
        return _text(rows, *what.split(":"))
    except UnlearnkitError as error:
        raise BadValue(f"<!--n: {mark}-->: {error}") from error


_read: dict[tuple[Path, int], pd.DataFrame] = {}


def _table(name: str, home: Path) -> pd.DataFrame:
    *profile, key = name.split("/")
    file = home.joinpath(*profile, "tables" if key.startswith("T") else "figures", f"{key}.csv")
    if not file.is_file():
        raise BadValue(f"there is no {name} in results/")
    at = (file, file.stat().st_mtime_ns)
    if at not in _read:
        _read[at] = records.table(file)
    return _read[at]


def _fitting(rows: pd.DataFrame, conditions: list[str], name: str) -> pd.DataFrame:
    for condition in conditions:
        parts = CONDITION.fullmatch(condition)
        if not parts or parts[1] not in rows:
            raise BadValue(f"{condition!r} is no condition on a column of {name}: {', '.join(rows)}")
        column, sign, values = rows[parts[1]], parts[2], parts[3].split(",")
        if sign in "<>":
            numbers = pd.to_numeric(column, errors="coerce")
            rows = rows[numbers < float(values[0]) if sign == "<" else numbers > float(values[0])]
        else:
            wanted = {records.as_text("" if v == "none" else v) for v in values}
            fits = column.map(records.as_text).isin(wanted)
            rows = rows[fits if sign == "=" else ~fits]
    return rows


def _text(rows: pd.DataFrame, column: str, *how: str) -> str:
    if column == "count":
        return str(len(rows))
    if column not in rows:
        raise BadValue(f"no column {column!r}; there are: {', '.join(rows)}")
    digits = next((int(h) for h in how if h.isdigit()), 2)
    if "list" in how:
        return ", ".join(_number(v, digits) for v in rows[column])
    if "min" in how or "max" in how:
        ordered = rows.sort_values(column, ascending="min" in how)
        rows = ordered.head(1)
    if len(rows) != 1:
        raise BadValue(f"{len(rows)} rows fit, not one")
    row = rows.iloc[0]
    if "mean" in how or f"{column}_low" not in rows or _number(row[column], digits) == "masked":
        return _number(row[column], digits)
    low, high = (_number(row[f"{column}_{end}"], digits) for end in ("low", "high"))
    return f"{_number(row[column], digits)} [{low}, {high}]"


def _number(value: object, digits: int) -> str:
    if isinstance(value, str) and value:
        return value
    if value == "" or pd.isna(value):
        return "masked"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
