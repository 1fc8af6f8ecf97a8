"""Make the runs behind one row of a table again, in a cache of their own, and compare them with what was published.

The notebook that made the table runs with the parameters that it had then, narrowed to the selected runs. It publishes into
a temporary folder, and what it publishes is compared number by number. Runs have the same keys if code, parameters and data
are the same; their numbers should then be equal, up to the order in which sums are taken.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from unlearnkit import results
from unlearnkit.core import paths
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.results import records
from unlearnkit.results.selection import Selection, naming_columns
from unlearnkit.runner import notebook
from unlearnkit.study import BASELINES, INITIAL

RELATIVE, ABSOLUTE = 1e-3, 1e-5  # "the same number": stacked and single training differ by less, other samples by more
CLOCK = ("RTE", "seconds", "peak_mib")  # what depends on the machine and the hour: shown, never judged


# --- the notebook's parameters, narrowed ---


def narrowed(path: Path, given: Mapping, where: Mapping[str, object], seeds: Sequence[int] = ()) -> dict:
    """Parameters with which a notebook makes little more than what `where` selects.

    A parameter named after a column, or its plural, takes the column's value if that is one of its own values, or if it is
    empty and so stands for all. A parameter named "plot_" and a column always takes the value. Lists of further conditions
    keep those that do not contradict `where`. seeds: which are needed; where the notebook takes their number, it makes 0, 1,
    ... up to the last of them.
    """
    declared = notebook.parameters(path)
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in where.items() if k != "seed"}
    chosen = {k: v for k, v in given.items() if k in declared and k != "publish"}
    for name, (hint, default) in declared.items():
        column = next((c for c in plain if name in (c, f"{c}s", f"plot_{c}")), None)
        if column is not None:
            # a reference model is no method to ask for: it is made beside any method
            value = "retrain" if column == "method" and plain[column] in (*BASELINES, INITIAL) else plain[column]
            before = chosen.get(name, default)
            several = before if isinstance(before, list) else [before]
            if name == f"plot_{column}" or before == [] or any(records.same(v, value) for v in several):
                chosen[name] = _converted(hint, value)
        elif hint == "list[dict]":
            conditions = chosen.get(name, default)
            chosen[name] = [_narrow(c, plain) for c in conditions if _agrees(c, plain)]
    if seeds and "seeds" in declared:
        chosen["seeds"] = max(seeds) + 1 if declared["seeds"][0] == "int" else list(seeds)
    return chosen


def _converted(hint: str, value: object):
    """A value as a parameter of this annotation holds it."""
    if hint.startswith("list["):
        return [_converted(hint[5:-1], value)]
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


def again(selection: Selection) -> tuple[pd.DataFrame, str]:
    """Make the selected runs anew in an empty cache; returns the comparison, and which notebook ran with what.

    One row per number: metric, reference, group (or column), run (its seed), published, again, state: "equal" to 6 digits,
    "close" within RELATIVE or ABSOLUTE, "clock" for a measured time or memory, "differs". Raises UnlearnkitError if the
    notebook fails, or does not make the selected runs.
    """
    from unlearnkit.runner import job, kernels

    name, entry, row = selection.name, selection.entry, selection.row
    path = notebook.find(entry["notebook"])
    seeds = sorted(set(selection.runs.seed.tolist())) if "seed" in selection.runs else []
    parameters = narrowed(path, entry["parameters"], selection.where, seeds)
    with kernels.temporary_folder("reproduce-") as beside, _settings(beside):
        published = Path(beside) / "results"
        error = job.execute(path, Path(beside), parameters | {"publish": str(published)})
        made = results.states(published, [name])[name][0]
        if (
            made is None
        ):  # an error after that is no failure: what a notebook checks of the whole may not hold for a part
            raise UnlearnkitError(f"{path.name} published no {name} with {parameters}:\n{error}")
        record = records.read(published, made)
        table = records.table(published / next(f for f in made["files"] if f.endswith(".csv")))
    parts = (
        [_compare_runs(selection, record)] if record is not None and len(selection.runs) and "value" in record else []
    )
    if row is not None:
        parts.append(_compare_row(row, table, selection.where))
    if not parts:
        raise UnlearnkitError(f"{name} keeps no numbers of single runs: select a whole row, without seed")
    return pd.concat(parts, ignore_index=True), f"{path.name} with {parameters}"


class _settings:
    """A context with an empty cache below `folder`; data and tuned values are the usual ones."""

    def __init__(self, folder: str):
        self.new = {"UNLEARNKIT_CACHE": f"{folder}/cache", "UNLEARNKIT_HOME": str(paths.root())}
        self.new |= {"UNLEARNKIT_DATA": str(paths.data()), "UNLEARNKIT_TUNED": str(paths.tuned())}

    def __enter__(self):
        self.old = {name: os.environ.get(name) for name in self.new}
        os.environ.update(self.new)

    def __exit__(self, *error):
        for name, value in self.old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _compare_runs(selection: Selection, record: pd.DataFrame) -> pd.DataFrame:
    """Number by number for each selected condition and seed, whose numbers may come from several runs."""
    kept, new = records.read(selection.folder, selection.entry), records.runs(record)
    names = [c for c in naming_columns(selection.runs) if c in new]
    index, parts = ["metric", "reference", "group"], []
    for _, runs in selection.runs.groupby(names, dropna=False, sort=False):
        fits = [all(records.same(row[c], runs[c].iloc[0]) for c in names) for _, row in new.iterrows()]
        before, after = set(runs.run), set(new.run[fits])
        if not after:
            raise UnlearnkitError(f"{' '.join(before)} was not made again: these parameters make other runs")
        both = [part[part.run.isin(keys)].drop_duplicates(index).set_index(index).value
                for part, keys in ((kept, before), (record, after))]  # fmt: skip
        same = "same key" if before <= after else "another key: code or data changed"
        numbers = pd.DataFrame({"published": both[0], "again": both[1].reindex(both[0].index)}).reset_index()
        parts.append(numbers.assign(run=f"{' '.join(sorted(before))} ({same})"))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(state=[_state(m, a, b) for m, a, b in zip(table.metric, table.published, table.again)])


def _compare_row(row: pd.Series, table: pd.DataFrame, where: Mapping) -> pd.DataFrame:
    names = [c for c in table if c in where and c in row and row[c] != ""]
    match = table[[all(records.same(other[c], row[c]) for c in names) for _, other in table.iterrows()]]
    if len(match) != 1:
        raise UnlearnkitError(f"{len(match)} rows were made again that fit, not one")
    numbers = [c for c in row.index if c in match and c not in (*names, "run") and pd.api.types.is_number(row[c])]
    lines = [
        {"metric": c, "reference": "", "group": "", "published": row[c], "again": match.iloc[0][c], "run": "row"}
        | {"state": _state(c.removesuffix("_low").removesuffix("_high"), row[c], match.iloc[0][c])}
        for c in numbers
    ]
    return pd.DataFrame(lines)


def _state(metric: str, published: object, new: object) -> str:
    if metric in CLOCK:
        return "clock"
    a, b = (float("nan") if v == "" else float(v) for v in (published, new))  # type: ignore[arg-type]
    if (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=2e-6):
        return "equal"
    return "close" if math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) else "differs"


def shown(comparison: pd.DataFrame) -> str:
    """The comparison as text, and below it how many numbers are equal, close, a clock's, different."""
    order = comparison.state.map({"differs": 0, "close": 1, "equal": 2, "clock": 3})
    by_run = comparison.assign(order=order).sort_values(["run", "order"], kind="stable").drop(columns="order")
    counts = ", ".join(f"{n} {state}" for state, n in comparison.state.value_counts().items())
    legend = (
        f"equal: to 6 digits; close: within {RELATIVE:g} of it or {ABSOLUTE:g}; clock: times and memory, not judged"
    )
    parts = []
    for run, part in by_run.groupby("run", sort=False):
        lines = part.drop(columns="run").to_string(index=False, float_format=lambda v: f"{v:.6g}")
        parts.append(f"{run}\n{lines}")
    return "\n\n".join([*parts, f"{counts} ({legend})"])
