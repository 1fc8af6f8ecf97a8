"""Tables as cells of a page: a number with its interval as one text, and the value to sort by."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from unlearnkit.report.columns import meaning
from unlearnkit.results.records import NUMBERS, names_a_run

HIDDEN = ("run", "digests", "raw_digest")
COUNTS = ("n_seeds", "n_diverged", "n", "steps, time")  # what names no row
NUMBER = re.compile(
    r"-?[\d.]+( \[-?[\d.]+, -?[\d.]+\]| \(no interval\))?"
)  # as unlearnkit.analysis.for_people writes it
FEW = 40  # a column is offered as a choice if it has at most so many values


@dataclass(frozen=True)
class Column:
    """name; numbers: right-aligned; choice: few values, by which a reader may filter; title: what it means."""

    name: str
    numbers: bool
    choice: bool
    title: str


def number(value: float) -> str:
    """Two decimals where that says enough, three digits elsewhere."""
    if value == 0 or math.isinf(value):
        return f"{value:g}"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.2f}" if 0.01 <= abs(value) < 100 else f"{value:.3g}"


def interval(mean: float, low: float, high: float) -> str:
    """The text "0.93 [0.88, 0.98]"; a dash for a masked or missing mean, and the mean alone if it has no interval."""
    if pd.isna(mean):
        return "–"
    if pd.isna(low):
        return number(mean)
    if all(float(v).is_integer() for v in (mean, low, high)) and abs(high) > 1:
        digits = 0
    else:
        digits = 3 if 0 < max(abs(low), abs(high)) < 0.1 else 0 if max(abs(low), abs(high)) >= 1000 else 2
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def columns(table: pd.DataFrame) -> tuple[list[Column], dict[str, str]]:
    """(the columns to show, {name: value} of those that are the same in every row). An interval's bounds are no columns."""
    bounds = {f"{c}{end}" for c in table for end in ("_low", "_high") if f"{c}{end}" in table}
    chosen = [c for c in table if c not in bounds and c not in HIDDEN]
    constant = {c: text(table[c].iloc[0]) for c in chosen if len(table) > 1 and table[c].map(str).nunique() == 1}
    made = []
    varying = [c for c in chosen if c not in constant] or chosen
    for name in sorted(varying, key=lambda c: c != "method"):  # first, since it stays in sight while the rest scrolls
        numbers = (pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool) or _written(table[name])
        choice = names_a_run(table[name]) and not name.startswith("n_") and 1 < table[name].nunique() <= FEW
        choice = choice and not _written(table[name])
        choice = choice and f"{name}_low" not in table and name not in COUNTS and _short(table[name])
        made.append(Column(name, numbers, choice, meaning(name)))
    return made, {k: v for k, v in constant.items() if k not in {c.name for c in made}}


def _written(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, with intervals or not, and at most words in the place of some."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    texts = {str(v) for v in column}
    numbers = {text for text in texts if NUMBER.fullmatch(text)}
    return bool(numbers) and not any(text[:1].isdigit() for text in texts - numbers)


def _short(column: pd.Series) -> bool:
    return column.map(lambda v: len(str(v))).max() <= 40


def cells(table: pd.DataFrame, shown: Sequence[Column]) -> list[list[str]]:
    """Per row the text of each column."""
    made = []
    for column in shown:
        name, low, high = column.name, f"{column.name}_low", f"{column.name}_high"
        if low in table and high in table and pd.api.types.is_numeric_dtype(table[low]):  # text: no row has an interval
            made.append([interval(*row) for row in zip(table[name], table[low], table[high])])
        elif pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool and name not in NUMBERS:
            made.append(["" if pd.isna(v) else number(v) for v in table[name]])
        else:
            made.append([text(v) for v in table[name]])
    return [list(row) for row in zip(*made)]


def text(value: object) -> str:
    """The text of a value that names something, without zeros at its end."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)
