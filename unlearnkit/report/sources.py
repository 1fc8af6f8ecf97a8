"""What a report is made from: published results with their records, executed notebooks, and the claims."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from unlearnkit import results
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue
from unlearnkit.results import manifests, records
from unlearnkit.runner import grid, job

NAME = re.compile(r"[TF]\d{1,3}(-[a-z0-9]+)*")  # of a table or figure: T2, F3-size
FILE = re.compile(r"(tables|figures|scores)/[A-Za-z0-9-]+\.(csv|png|parquet)")  # of one of its files
PROFILE = re.compile(r"[a-z0-9_-]*")
NOTEBOOK = re.compile(r"\w*")
TIDY = {"method", "seed", "run", *records.MEASURED}  # columns of the tidy score table


@dataclass(frozen=True)
class Result:
    """One table or figure of one profile, as the manifest has it.

    name: its id; profile: "" for a result in results/ itself, else the folder below it, say full; state, detail: see
    unlearnkit.results.verify.
    """

    name: str
    profile: str
    folder: Path
    entry: dict
    state: str
    detail: str

    @property
    def label(self) -> str:
        return f"{self.profile}/{self.name}" if self.profile else self.name

    def file(self, ending: str, room: str = "") -> Path | None:
        """Its .csv, .png or .parquet, in tables/, figures/ or scores/ if told so, if it is there and as it was written."""
        for name, digest in self.entry.get("files", {}).items():
            if name.endswith(ending) and name.startswith(room):
                return None if manifests.damage(self.folder / name, digest) else self.folder / name
        return None

    @property
    def whole(self) -> Path | None:
        """The file with its whole table, None without it."""
        return self.file(manifests.table_of(self.entry)) if self.entry else None

    @cached_property
    def table(self) -> pd.DataFrame:
        return records.table(self.whole)

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The same rows for people, as text; `table` itself where there is none."""
        csv = self.file(".csv")
        return self.table if csv in (None, self.whole) else pd.read_csv(csv, dtype=str, keep_default_na=False)

    @cached_property
    def record(self) -> pd.DataFrame | None:
        return records.read(self.folder, self.entry) if self.file(".parquet", "scores/") else None

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run of the record (unlearnkit.results.records.runs), none without a record."""
        return pd.DataFrame({"run": []}) if self.record is None else records.runs(self.record)

    @cached_property
    def behind(self) -> list[list[str]]:
        """For each row of the table the keys of the runs that it was made from, none where that is not recorded."""
        if self.record is None and "run" not in self.table:
            return [[] for _ in range(len(self.table))]
        return records.behind(self.table, self.runs)

    @cached_property
    def by_run(self) -> pd.DataFrame | None:
        """The scores: one row per (metric, reference, group), one column per run; None without a tidy record."""
        if self.record is None or not TIDY.issubset(self.record):
            return None
        once = self.record.drop_duplicates(["metric", "reference", "group", "run"])
        return once.pivot(index=["metric", "reference", "group"], columns="run", values="value")

    @cached_property
    def executed(self) -> Path | None:
        """The notebook as it was run for this result: the run whose outputs are this result's files, None if it is gone."""
        wanted = {f"{(self.folder / name).relative_to(paths.root())}": d for name, d in self.entry["files"].items()}
        for manifest in sorted((paths.runs() / self.entry["notebook"]).glob("*/manifest.json")):
            outputs = job.outputs(manifest)
            if outputs and wanted.items() <= outputs.items():
                return job.executed(manifest)
        return None


def gather(profile: str = "") -> list[Result]:
    """All results, tables before figures; those that the profile `small` should have and has not are among them.

    Raises BadValue for a name or a file in a manifest that is not of the form that `results.publish` gives: names become
    addresses of pages.
    """
    listed = []
    for name, folder in results.folders(profile).items():
        for key, (entry, state, detail) in results.states(folder, () if name else grid.makes("small")).items():
            _check(name, key, entry or {})
            listed.append(Result(key, name, folder, entry or {}, state, detail))
    return sorted(listed, key=lambda r: (r.profile, r.name[0] != "T", _natural(r.name)))


def _check(profile: str, name: str, entry: Mapping) -> None:
    where = f"manifest.json of results/{profile}".rstrip("/")
    if not PROFILE.fullmatch(profile) or not NAME.fullmatch(name):
        raise BadValue(f"{where}: {name!r} is no name of a result; they are like T2 or F3-size")
    if not NOTEBOOK.fullmatch(entry.get("notebook", "")):
        raise BadValue(f"{where}: {name} is of a notebook {entry['notebook']!r}; they are like 30_unlearn")
    for file in entry.get("files", ()):
        if not FILE.fullmatch(file):
            raise BadValue(f"{where}: {name} has a file {file!r}; files are like tables/T2.csv")


def _natural(name: str) -> tuple:
    head, _, tail = name.partition("-")
    return (int(head[1:]) if head[1:].isdigit() else 99, tail)


def problems(results: Sequence[Result]) -> list[str]:
    """Why these results should not be reported, a line each.

    One for each result that is missing, damaged or stale, and one for each profile whose results come from several versions
    of the code or of a library, since numbers beside each other should be comparable.
    """
    lines = [f"{r.label}: {r.state}: {r.detail}" for r in results if r.state != "ok"]
    for profile in dict.fromkeys(r.profile for r in results):
        made = {r.label: r.entry["made"] for r in results if r.profile == profile and r.entry}
        for what in ("code", "python", *sorted({lib for m in made.values() for lib in m["libraries"]})):
            versions: dict[str, list[str]] = {}
            for label, m in made.items():
                versions.setdefault(str(m[what] if what in m else m["libraries"].get(what)), []).append(label)
            if len(versions) > 1:
                parts = "; ".join(f"{version} ({', '.join(labels)})" for version, labels in versions.items())
                lines.append(f"{profile or 'small'}: mixed versions of {what}: {parts}; run `make study`")
    return lines
