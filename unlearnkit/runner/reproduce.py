"""One run behind one row of a table, made again in a cache of its own, and compared with what was published.

What is run is the notebook that made the table, with the parameters that it had then, narrowed to the selected runs. It
publishes beside, not over, and what it publishes is compared number by number. Runs have the same keys if code, parameters
and data are the same; then numbers are expected to be equal, up to the order in which sums are taken.
"""

import math
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unlearnkit import results
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError, unknown
from unlearnkit.results import records
from unlearnkit.runner import notebook
from unlearnkit.study import BASELINES, INITIAL

RELATIVE, ABSOLUTE = 1e-3, 1e-5  # "the same number": stacked and single training differ by less, other samples by more
CLOCK = ("RTE", "seconds", "peak_mib")  # what depends on the machine and the hour: shown, never judged


@dataclass(frozen=True)
class Wanted:
    """What is to be made again. entry: of the manifest; where: what the runs have in common, by column; runs: one row per
    run (unlearnkit.results.records.runs), none where the table has no record; row: the row of the table, if the whole of it is."""

    name: str
    folder: Path
    entry: Mapping
    where: dict[str, object]
    runs: pd.DataFrame
    row: pd.Series | None


def find(name: str, where: Mapping[str, str], folder: Path) -> Wanted:
    """The selected runs of a table. where: column=value, of the table, and `seed` for one run of a row.

    Raises UnknownName for a table that is not there; BadValue, with what there is, for a column or a value that does not
    exist and a selection that fits several rows.
    """
    listed = {n: e for n, (e, _, _) in results.states(folder).items() if e}
    if name not in listed:
        raise unknown("table", name, listed)
    entry, asked = listed[name], dict(where)
    seed = asked.pop("seed", None)
    table = records.table(folder / next(f for f in entry["files"] if f.endswith(".csv")))
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
    known = {c: row[c] for c in (*_naming(table), *asked) if row[c] != ""}
    return Wanted(name, folder, entry, known | _common(runs), runs, row if seed is None else None)


def find_run(key: str, folder: Path) -> Wanted:
    """The run of this key, or of the only one that starts so, in whichever table has it. Raises BadValue if none has."""
    for name, (entry, _, _) in results.states(folder).items():
        record = records.read(folder, entry) if entry and any(k.startswith(key) for k in entry["runs"]) else None
        if record is not None:
            runs = records.runs(record)
            runs = runs[runs.run.str.startswith(key)]
            if len(runs) > 1:
                raise BadValue(f"{len(runs)} runs start with {key!r}: {', '.join(runs.run)}")
            return Wanted(name, folder, entry, _common(runs), runs, None)
    raise BadValue(
        f"no table here keeps a record of a run {key!r}: see `unlearnkit report`, or select by TABLE --where"
    )


def _naming(table: pd.DataFrame) -> list[str]:
    """The columns that say what a row is about: words, and the numbers of a config."""
    words = [c for c in table if not pd.api.types.is_numeric_dtype(table[c]) or c in records.NUMBERS]
    return [c for c in words if c not in ("run", "digests") and f"{c}_low" not in table]


def _measured(table: pd.DataFrame) -> list[str]:
    """Further columns, in case that those of `_naming` do not tell two rows apart."""
    ends = {f"{c}{end}" for c in table for end in ("_low", "_high")}
    return [c for c in table if c not in {*_naming(table), *ends, "run", "digests"} and f"{c}_low" not in table]


def _common(runs: pd.DataFrame) -> dict[str, object]:
    """What all these runs have in common, by column."""
    return {c: runs[c].iloc[0] for c in _naming(runs) if len(runs) and runs[c].map(str).nunique() == 1}


def _differences(rows: pd.DataFrame, most: int = 20) -> str:
    """The rows by the columns in which they differ and that a selection can name."""
    differ = [c for c in _naming(rows) if rows[c].map(str).nunique() > 1] or _measured(rows)[:1]
    lines = [
        " ".join(shlex.quote(f"{c}={records.said(row[c])}") for c in differ) for _, row in rows.head(most).iterrows()
    ]
    return "\n".join([*lines, *([f"... and {len(rows) - most} more"] if len(rows) > most else [])])


def commands(name: str, profile: str, table: pd.DataFrame) -> list[str]:
    """What to type to make each row of a table again: the fewest columns that tell it from all others."""
    words = table.map(records.said)
    order = sorted(_naming(table), key=lambda c: (c != "method", -words[c].nunique())) + _measured(table)
    chosen: list[list[str]] = [[] for _ in range(len(table))]
    groups = {0: list(range(len(table)))}  # rows that are not told apart yet
    for column in order:
        split: dict = {}
        for group, rows in groups.items():
            for i in rows:
                split.setdefault((group, words[column].iloc[i]), []).append(i)
        for (group, word), rows in split.items():
            if len(rows) < len(groups[group]) and word:
                for i in rows:
                    chosen[i].append(f"{column}={word}")
        groups = dict(enumerate(split.values()))
    tail = f" --profile {profile}" if profile else ""
    return [f"unlearnkit reproduce {name}{' --where ' * bool(c)}{' '.join(map(shlex.quote, c))}{tail}" for c in chosen]


# --- the notebook's parameters, narrowed ---


def narrowed(path: Path, given: Mapping, where: Mapping[str, object], seeds: Sequence[int] = ()) -> dict:
    """Parameters for a notebook that makes little more than what `where` selects: those that are named after a column, or
    its plural, take its value if it is one of theirs, or they are empty and so take all; those named "plot_" and a column
    take it always; lists of further conditions keep those that do not contradict it. seeds: which are needed; a notebook
    that takes their number makes 0, 1, ... up to the last of them."""
    declared = notebook.parameters(path)
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in where.items() if k != "seed"}
    found = {k: v for k, v in given.items() if k in declared and k != "publish"}
    for name, (hint, default) in declared.items():
        column = next((c for c in plain if name in (c, f"{c}s", f"plot_{c}")), None)
        if column is not None:
            # a reference model is no method to ask for: it is made beside whichever is
            value = "retrain" if column == "method" and plain[column] in (*BASELINES, INITIAL) else plain[column]
            before = found.get(name, default)
            several = before if isinstance(before, list) else [before]
            if name == f"plot_{column}" or before == [] or any(records.same(v, value) for v in several):
                found[name] = _as(hint, value)
        elif hint == "list[dict]":
            conditions = found.get(name, default)
            found[name] = [_narrow(c, plain) for c in conditions if _agrees(c, plain)]
    if seeds and "seeds" in declared:
        found["seeds"] = max(seeds) + 1 if declared["seeds"][0] == "int" else list(seeds)
    return found


def _as(hint: str, value: object):
    """A value as a parameter of this annotation holds it."""
    if hint.startswith("list["):
        return [_as(hint[5:-1], value)]
    return {"int": int, "float": float, "str": str}.get(hint, lambda v: v)(value)


def _agrees(condition: Mapping, where: Mapping) -> bool:
    for name, value in condition.items():
        wanted = value if isinstance(value, list) else [value]
        if name in where and not any(records.same(v, where[name]) for v in wanted):
            return False
    return True


def _narrow(condition: Mapping, where: Mapping) -> dict:
    return {k: [v for v in value if records.same(v, where[k])] if isinstance(value, list) and k in where else value
            for k, value in condition.items()}  # fmt: skip


# --- again ---


def again(wanted: Wanted) -> tuple[pd.DataFrame, str]:
    """Make the selected runs anew in an empty cache; returns the comparison and what was run.

    One row per number: metric, reference, group (or column), run (its seed), published, again, state: "equal" to 6 digits,
    "close" within RELATIVE or ABSOLUTE, "clock" for what a clock gave, "differs". Raises UnlearnkitError if the notebook
    fails, or does not make the selected runs.
    """
    from unlearnkit.runner import job

    path = notebook.find(wanted.entry["notebook"])
    if "seed" in wanted.runs:
        seeds = sorted(set(wanted.runs.seed.tolist()))
    else:  # no record names them: as many as the row was made from
        seeds = (
            list(range(int(wanted.row["n"]))) if "seeds" not in wanted.entry["parameters"] and "n" in wanted.row else []
        )
    parameters = narrowed(path, wanted.entry["parameters"], wanted.where, seeds)
    with tempfile.TemporaryDirectory(prefix="reproduce-") as beside, _settings(beside):
        published = Path(beside) / "results"
        error = job.execute(path, Path(beside), parameters | {"publish": str(published)})
        entry = results.states(published, [wanted.name])[wanted.name][0]
        if entry is None:  # what a notebook says of the whole, after it has published, may not hold for a part
            raise UnlearnkitError(f"{path.name} published no {wanted.name} with {parameters}:\n{error}")
        record = records.read(published, entry)
        table = records.table(published / next(f for f in entry["files"] if f.endswith(".csv")))
    parts = [_of_runs(wanted, record)] if record is not None and len(wanted.runs) and "value" in record else []
    if wanted.row is not None:
        parts.append(_of_row(wanted.row, table, wanted.where))
    if not parts:
        raise UnlearnkitError(f"{wanted.name} keeps no numbers of single runs: select a whole row, without seed")
    found = pd.concat(parts, ignore_index=True)
    return found, f"{path.name} with {parameters}"


class _settings:
    """An empty cache below `folder`, while it lasts; data and tuned values are those that there are."""

    def __init__(self, folder: str):
        self.new = {"UNLEARNKIT_CACHE": f"{folder}/cache", "UNLEARNKIT_HOME": str(paths.root())}
        self.new |= {"UNLEARNKIT_DATA": str(paths.data()), "UNLEARNKIT_TUNED": str(paths.tuned())}

    def __enter__(self):
        self.old = {name: os.environ.get(name) for name in self.new}
        os.environ.update(self.new)

    def __exit__(self, *error):
        for name, value in self.old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _of_runs(wanted: Wanted, record: pd.DataFrame) -> pd.DataFrame:
    """Number by number for each selected condition and seed, whose numbers may come from several runs."""
    kept, new = records.read(wanted.folder, wanted.entry), records.runs(record)
    names = [c for c in _naming(wanted.runs) if c in new]
    index, parts = ["metric", "reference", "group"], []
    for _, runs in wanted.runs.groupby(names, dropna=False, sort=False):
        fits = [all(records.same(row[c], runs[c].iloc[0]) for c in names) for _, row in new.iterrows()]
        before, after = set(runs.run), set(new.run[fits])
        if not after:
            raise UnlearnkitError(f"{' '.join(before)} was not made again: these parameters make other runs")
        both = [part[part.run.isin(keys)].drop_duplicates(index).set_index(index).value
                for part, keys in ((kept, before), (record, after))]  # fmt: skip
        same = "same key" if before <= after else "another key: code or data changed"
        told = pd.DataFrame({"published": both[0], "again": both[1].reindex(both[0].index)}).reset_index()
        parts.append(told.assign(run=f"{' '.join(sorted(before))} ({same})"))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(state=[_state(m, a, b) for m, a, b in zip(found.metric, found.published, found.again)])


def _of_row(row: pd.Series, table: pd.DataFrame, where: Mapping) -> pd.DataFrame:
    names = [c for c in table if c in where and c in row and row[c] != ""]
    match = table[[all(records.same(other[c], row[c]) for c in names) for _, other in table.iterrows()]]
    if len(match) != 1:
        raise UnlearnkitError(f"{len(match)} rows were made again that fit, not one")
    numbers = [c for c in row.index if c in match and c not in names and pd.api.types.is_number(row[c])]
    both = [(c, row[c], match.iloc[0][c]) for c in numbers if c != "run"]
    told = [{"metric": c, "reference": "", "group": "", "published": a, "again": b, "run": "row"} for c, a, b in both]
    return pd.DataFrame(told).assign(
        state=[_state(c.removesuffix("_low").removesuffix("_high"), a, b) for c, a, b in both]
    )


def _state(metric: str, published: object, new: object) -> str:
    if metric in CLOCK:
        return "clock"
    a, b = (float("nan") if v == "" else float(v) for v in (published, new))  # type: ignore[arg-type]
    if (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=2e-6):
        return "equal"
    return "close" if math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) else "differs"


def shown(found: pd.DataFrame) -> str:
    """The comparison as text, and below it how many numbers are equal, close, a clock's, different."""
    order = found.state.map({"differs": 0, "close": 1, "equal": 2, "clock": 3})
    by_place = found.assign(order=order).sort_values(["run", "order"], kind="stable").drop(columns="order")
    counts = ", ".join(f"{n} {state}" for state, n in found.state.value_counts().items())
    said = f"equal: to 6 digits; close: within {RELATIVE:g} of it or {ABSOLUTE:g}; clock: seconds, not judged"
    parts = []
    for run, part in by_place.groupby("run", sort=False):
        lines = part.drop(columns="run").to_string(index=False, float_format=lambda v: f"{v:.6g}")
        parts.append(f"{run}\n{lines}")
    return "\n\n".join([*parts, f"{counts} ({said})"])
