"""One row or one run of a published table, selected by conditions as in `unlearnkit reproduce T2 --where copies=25`."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unlearnkit.core.errors import BadValue, StoreError, unknown
from unlearnkit.results import manifests, publishing, records

CONCLUDED = ("run", "digests", "verdict")  # columns of text that do not say what a row is about


@dataclass(frozen=True)
class Selection:
    """Some runs of one published table.

    name: the table; folder: the results folder; entry: of its manifest; where: the columns that all these runs share, with
    their values; runs: one row per run (unlearnkit.results.records.runs), none where the table keeps no record; row: the
    table's row, if all of its runs are selected, else None.
    """

    name: str
    folder: Path
    entry: Mapping
    where: dict[str, object]
    runs: pd.DataFrame
    row: pd.Series | None


def find(name: str, where: Mapping[str, str], folder: Path) -> Selection:
    """The selected runs of a table. where: {column: value} of the table, and `seed` for one run of a row.

    Raises UnknownName for a table that is not there; BadValue, with what there is, for a column or a value that does not
    exist and for a selection that fits several rows; StoreError for a table or record that is not as it was written.
    """
    states = publishing.states(folder)
    if name not in states:
        raise unknown("table", name, states)
    entry, asked = _whole(name, *states[name]), dict(where)
    seed = asked.pop("seed", None)
    table = records.table(folder / manifests.table_of(entry))
    rows = records.select(table, asked, name)
    if len(rows) > 1:
        raise BadValue(f"{len(rows)} rows of {name} fit; say which with --where:\n{_differences(rows)}")
    row, record = rows.iloc[0], records.read(folder, entry)
    runs = pd.DataFrame({"run": []}) if record is None else records.runs(record)
    runs = runs[runs.run.isin(records.behind(rows, runs)[0])]
    if seed is not None:
        if "seed" not in runs:
            raise BadValue(f"{name} keeps no record of single seeds: leave seed={seed} out to make the whole row again")
        runs = records.select(runs, {"seed": str(seed)}, f"this row of {name}")
    known = {c: row[c] for c in (*naming_columns(table), *asked) if row[c] != ""}
    return Selection(name, folder, entry, known | _common(runs), runs, row if seed is None else None)


def find_run(key: str, folder: Path) -> Selection:
    """The run with this key, or the only one whose key starts so, in whichever table has it. Raises BadValue if none has."""
    for name, (entry, state, detail) in publishing.states(folder).items():
        mine = entry and any(k.startswith(key) for k in entry["runs"])
        record = records.read(folder, _whole(name, entry, state, detail)) if mine else None
        if record is not None:
            runs = records.runs(record)
            runs = runs[runs.run.str.startswith(key)]
            if len(runs) > 1:
                raise BadValue(f"{len(runs)} runs start with {key!r}: {', '.join(runs.run)}")
            return Selection(name, folder, entry, _common(runs), runs, None)
    raise BadValue(
        f"no table here keeps a record of a run {key!r}: see `unlearnkit report`, or select by TABLE --where"
    )


def _whole(name: str, entry: Mapping | None, state: str, detail: str) -> Mapping:
    """The entry of a result whose files are as they were written. Raises StoreError for any other: it proves nothing."""
    if state in ("damaged", "missing"):
        raise StoreError(f"{name} is {state}: {detail}")
    return entry


def commands(name: str, profile: str, table: pd.DataFrame) -> list[str]:
    """The command that makes each row of a table again: with the fewest columns that tell the row from all others."""
    words = table.map(records.as_text)
    order = sorted(naming_columns(table), key=lambda c: (c != "method", -words[c].nunique())) + _further(table)
    chosen: list[list[str]] = [[] for _ in range(len(table))]
    groups = {0: list(range(len(table)))}  # rows that the columns so far do not tell apart
    for column in order:
        split: dict = {}
        for group, rows in groups.items():
            for i in rows:
                split.setdefault((group, words[column].iloc[i]), []).append(i)
        for (group, word), rows in split.items():
            if len(rows) < len(groups[group]):
                for i in rows:
                    chosen[i].append(f"{column}={word}")
        groups = dict(enumerate(split.values()))
    tail = f" --profile {profile}" if profile else ""
    return [f"unlearnkit reproduce {name}{' --where ' * bool(c)}{' '.join(map(shlex.quote, c))}{tail}" for c in chosen]


def naming_columns(table: pd.DataFrame) -> list[str]:
    """The columns that say what a row is about: text, and the numbers of a config."""
    words = [c for c in table if not pd.api.types.is_numeric_dtype(table[c]) or c in records.NUMBERS]
    return [c for c in words if c not in CONCLUDED and f"{c}_low" not in table]


def _further(table: pd.DataFrame) -> list[str]:
    """Columns of plain numbers, for rows that `naming_columns` does not tell apart."""
    ends = {f"{c}{end}" for c in table for end in ("_low", "_high")}
    return [c for c in table if c not in {*naming_columns(table), *ends, "run", "digests"} and f"{c}_low" not in table]


def _common(runs: pd.DataFrame) -> dict[str, object]:
    """{column: value} of those naming columns in which all these runs agree."""
    return {c: runs[c].iloc[0] for c in naming_columns(runs) if len(runs) and runs[c].map(str).nunique() == 1}


def _differences(rows: pd.DataFrame, most: int = 20) -> str:
    """A line per row, with the columns in which the rows differ and that a selection can name."""
    differ = [c for c in naming_columns(rows) if rows[c].map(str).nunique() > 1] or _further(rows)[:1]
    lines = [
        " ".join(shlex.quote(f"{c}={records.as_text(row[c])}") for c in differ) for _, row in rows.head(most).iterrows()
    ]
    return "\n".join([*lines, *([f"... and {len(rows) - most} more"] if len(rows) > most else [])])
