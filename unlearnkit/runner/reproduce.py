"""Make the runs behind one row of a table again, in a cache of their own, and compare them with what was published.

The notebook that made the table runs with the parameters that it had then, narrowed to the selected runs, with as many
threads. It publishes into a temporary folder, and what it publishes is compared number by number. Runs have the same keys if
code, parameters and data are the same.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from unlearnkit import results
from unlearnkit.core import paths
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.images.config import Config
from unlearnkit.results import manifests, records
from unlearnkit.results.selection import Selection, naming_columns
from unlearnkit.runner import comparison, notebook, retraining
from unlearnkit.study import BASELINES, INITIAL, REFERENCE_ROWS
from unlearnkit.study.rows import label

# --- the notebook's parameters, narrowed ---


def narrowed(path: Path, given: Mapping, where: Mapping[str, object], seeds: Sequence[int] = ()) -> dict:
    """Parameters with which a notebook makes little more than what `where` selects.

    A parameter named after a column, or its plural, takes the column's value if that is one of its own values, or if it is
    empty and so stands for all. A parameter named "plot_" and a column always takes the value. Lists of further conditions
    keep those that do not contradict `where`; a list that is part of a config, as `arms` are, stays whole. seeds: which are
    needed; where the notebook takes their number, it makes 0, 1, ... up to the last of them. No remembered score is used.
    """
    declared = notebook.parameters(path)
    of_config = {field.name for field in fields(Config)}
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in where.items() if k != "seed"}
    chosen = {k: v for k, v in given.items() if k in declared and k != "publish"}
    for name, (hint, default) in declared.items():
        column = next((c for c in plain if name in (c, f"{c}s", f"plot_{c}")), None)
        if column is not None:
            value, before = plain[column], chosen.get(name, default)
            if column == "method" and hint == "list":
                chosen[name] = _named(before, value)
                continue
            if column == "method" and value in (*BASELINES, INITIAL):
                value = "retrain"  # a reference model is no method to ask for: it is made beside any method
            several = before if isinstance(before, list) else [before]
            if name == f"plot_{column}" or before == [] or any(records.same(v, value) for v in several):
                chosen[name] = _converted(hint, value)
        elif hint == "list[dict]" and name not in of_config:
            conditions = chosen.get(name, default)
            chosen[name] = [_narrow(c, plain, seeds) for c in conditions if _agrees(c, plain)]
    chosen.pop("memory", None)
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


def _narrow(condition: Mapping, where: Mapping, seeds: Sequence[int]) -> dict:
    one = {k: [v for v in value if records.same(v, where[k])] if isinstance(value, list) and k in where else value
            for k, value in condition.items()}  # fmt: skip
    if "methods" in one and "method" in where:
        one["methods"] = _named(one["methods"], where["method"])
    return one | ({"seeds": list(seeds)} if seeds and "seeds" in one else {})


def _named(methods: Sequence, method: str) -> list:
    """Of names, or pairs [name, options], those that a table calls `method`; none for a reference: it is always made."""
    if method in (*REFERENCE_ROWS, INITIAL):
        return []
    return [m for m in methods if (m if isinstance(m, str) else label(*m)) == method]


# --- again ---


def again(selection: Selection) -> tuple[pd.DataFrame, str, str]:
    """Make the selected runs anew in an empty cache; returns the comparison, which notebook ran with what, and how the
    processor differs from the published one's (unlearnkit.runner.comparison.other_kind).

    One row per number: metric, reference, group (or column), published, again, noise, state (comparison.state), run. Raises
    UnlearnkitError if the notebook fails, or does not make the selected runs.
    """
    from unlearnkit.runner import job, kernels

    name, entry, row = selection.name, selection.entry, selection.row
    path, parameters = asked(selection)
    with kernels.temporary_folder("reproduce-") as beside, _settings(beside, entry["made"].get("threads")):
        published = Path(beside) / "results"
        error = job.execute(path, Path(beside), parameters | {"publish": str(published)})
        made = results.states(published, [name])[name][0]
        if (
            made is None
        ):  # an error after that is no failure: what a notebook checks of the whole may not hold for a part
            raise UnlearnkitError(f"{path.name} published no {name} with {parameters}:\n{error}")
        record = records.read(published, made)
        table = records.table(published / manifests.table_of(made))
    parts = []
    if record is not None and len(selection.runs) and {"value", "target"} & set(record):
        parts.append(_compare_runs(selection, record, list(table)))
    if row is not None:
        parts.append(_compare_row(row, table, selection.where))
    if not parts:
        raise UnlearnkitError(f"{name} keeps no numbers of single runs: select a whole row, without seed")
    elsewhere = comparison.other_kind(entry["made"], made["made"])
    return pd.concat(parts, ignore_index=True)[comparison.COLUMNS], f"{path.name} with {parameters}", elsewhere


def forecast(selection: Selection) -> str:
    """One line about what is trained and how long it takes, for models of whole data sets; "" where it takes seconds."""
    _, parameters = asked(selection)
    return retraining.forecast(parameters, selection.entry["made"].get("threads")) if "sets" in parameters else ""


def asked(selection: Selection) -> tuple[Path, dict]:
    """(the notebook, its parameters) that make the selected runs."""
    path = notebook.find(selection.entry["notebook"])
    seeds = sorted(set(selection.runs.seed.tolist())) if "seed" in selection.runs else []
    return path, narrowed(path, selection.entry["parameters"], selection.where, seeds)


class _settings:
    """A context with an empty cache below `folder`, and so many threads; data and tuned values are the usual ones."""

    def __init__(self, folder: str, threads: int | None):
        self.new = {"UNLEARNKIT_CACHE": f"{folder}/cache", "UNLEARNKIT_HOME": str(paths.root())}
        self.new |= {"UNLEARNKIT_DATA": str(paths.data()), "UNLEARNKIT_TUNED": str(paths.tuned())}
        self.new |= {"OMP_NUM_THREADS": str(threads)} if threads else {}

    def __enter__(self):
        self.old = {name: os.environ.get(name) for name in self.new}
        os.environ.update(self.new)

    def __exit__(self, *error):
        for name, value in self.old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _compare_runs(selection: Selection, record: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Number by number for each selected condition and seed, whose numbers may come from several runs.

    columns: of the table, by which its rows are told apart: runs that agree in them are seeds of one number.
    """
    kept, new = (comparison.tidy(r, selection.where) for r in (records.read(selection.folder, selection.entry), record))
    all_runs, new_runs = records.runs(kept), records.runs(new)
    names = [c for c in naming_columns(selection.runs) if c in new_runs]
    index, parts = ["metric", "reference", "group"], []
    for _, runs in selection.runs.groupby(names, dropna=False, sort=False):
        before, after = set(runs.run), set(new_runs.run[_fits(new_runs, runs, names)])
        if not after:
            raise UnlearnkitError(f"{' '.join(before)} was not made again: these parameters make other runs")
        numbers = {"published": _values(kept, before, index), "again": _values(new, after, index)}
        siblings = [c for c in names if c in columns and c != "seed"]
        if siblings and "seed" in kept:
            seeds = kept[kept.run.isin(all_runs.run[_fits(all_runs, runs, siblings)])]
            by_seed = seeds.groupby([*index, "seed"]).value.first()
            numbers["noise"] = by_seed.groupby(index).agg(comparison.difference_of_seeds)
        same = "same key" if before <= after else comparison.ANOTHER_KEY
        part = (
            pd.DataFrame(numbers).reindex(numbers["published"].index).reindex(columns=["published", "again", "noise"])
        )
        parts.append(part.reset_index().assign(run=f"{' '.join(sorted(before))} ({same})"))
    return _judged(pd.concat(parts, ignore_index=True))


def _values(record: pd.DataFrame, runs: set[str], index: list[str]) -> pd.Series:
    return record[record.run.isin(runs)].drop_duplicates(index).set_index(index).value


def _fits(runs: pd.DataFrame, one: pd.DataFrame, names: Sequence[str]) -> list[bool]:
    return [all(records.same(row[c], one[c].iloc[0]) for c in names) for _, row in runs.iterrows()]


def _judged(numbers: pd.DataFrame) -> pd.DataFrame:
    columns = (numbers[c] for c in ("metric", "published", "again", "noise"))
    return numbers.assign(state=[comparison.state(*row) for row in zip(*columns)])


def _compare_row(row: pd.Series, table: pd.DataFrame, where: Mapping) -> pd.DataFrame:
    names = [c for c in table if c in where and c in row and row[c] != ""]
    match = table[[all(records.same(other[c], row[c]) for c in names) for _, other in table.iterrows()]]
    if len(match) != 1:
        raise UnlearnkitError(f"{len(match)} rows were made again that fit, not one")
    numbers = [c for c in row.index if c in match and c not in (*names, "run") and pd.api.types.is_number(row[c])]
    lines = []
    for c in numbers:
        ends = [row.get(f"{c.removesuffix('_low').removesuffix('_high')}{end}", "") for end in ("_low", "_high")]
        noise = comparison.difference_of_means(*ends) if "" not in ends else float("nan")
        lines.append({"metric": c, "reference": "", "group": "", "published": row[c], "again": match.iloc[0][c],
                      "noise": noise, "run": "row"})  # fmt: skip
    return _judged(pd.DataFrame(lines))
