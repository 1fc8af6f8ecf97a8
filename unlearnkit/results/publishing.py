"""Write and check the committed results: tables and figures, the data behind them, a manifest of where each came from."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.artefacts import digest_of
from unlearnkit.core.disk import explained, lock
from unlearnkit.core.errors import BadValue, StoreError, unknown
from unlearnkit.core.parameters import Parameters
from unlearnkit.core.provenance import provenance
from unlearnkit.core.wording import some
from unlearnkit.results import manifests, records

MOST_COLUMNS = 16  # of a table for people


def publish(
    name: str,
    data: pd.DataFrame,
    figure=None,
    *,
    parameters: Parameters,
    runs: pd.DataFrame | Sequence[str],
    roots: Sequence[Callable],
    shown: pd.DataFrame | None = None,
) -> list[str]:
    """Write a table (or a figure and its data) and its entry in the manifest; returns the files, relative to the folder.

    data: the whole table, a row per result, every number in a column of its own. shown: the same rows for people, of at most
    MOST_COLUMNS columns (unlearnkit.analysis.for_people); it is then what stands in the CSV, and `data` in a Parquet file
    beside it, which all programs read. Raises BadValue for one with other rows, or too many columns.

    parameters: the notebook's, of unlearnkit.runner.notebook.check_parameters. `publish` among them is the results folder,
    relative to the project ("" publishes nothing); the others are recorded. runs: what the result was made from: the tidy
    score table or another data frame with a column `run`, which is kept (unlearnkit.results.records); or, where the table
    names them row by row or nothing else is known of them, the keys of the artefacts. roots: the functions that made it,
    whose code then counts for freshness.
    """
    if not parameters["publish"]:
        return []
    if shown is not None and (len(shown) != len(data) or len(shown.columns) > MOST_COLUMNS):
        raise BadValue(
            f"{name}: a table for people has the {len(data)} rows of the whole one and at most {MOST_COLUMNS} columns, got "
            f"{len(shown)} and {len(shown.columns)}"
        )
    folder = paths.root() / paths.at(parameters["publish"])
    kind = "tables" if name.startswith("T") else "figures"
    with explained("the results", folder, "the notebook's parameter `publish`"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    files = [f"{kind}/{name}.csv"]
    write_whole(folder / files[0], lambda path: records.write_csv(data if shown is None else shown, path))
    if shown is not None:
        files.append(f"{kind}/{name}.parquet")
        write_whole(folder / files[-1], lambda path: records.write_parquet(data, path))
    if figure is not None:
        files.append(f"{kind}/{name}.png")
        write_whole(
            folder / files[-1], lambda path: figure.savefig(path, dpi=130, format="png", metadata={"Software": None})
        )
    with lock(folder / ".manifest.lock"):
        if isinstance(runs, pd.DataFrame):
            files.append(records.write(runs, folder, write_whole))
        before = manifests.to_extend(folder)
        manifest = before | {name: _entry(folder, files, len(data), runs, parameters, roots)}
        write_whole(folder / "manifest.json", lambda path: path.write_text(_json(manifest), encoding="utf-8"))
        for file in _files(before) - _files(manifest):  # of an earlier version of this result; other files are not ours
            if PurePosixPath(file).suffix == ".parquet":
                (folder / file).unlink(missing_ok=True)
    for f in files:
        paths.note("output", os.path.relpath(folder / f, paths.root()))
    return files


def _files(manifest: Mapping) -> set[str]:
    """All files that a manifest lists, relative to its folder."""
    return {file for entry in manifest.values() if not manifests.misshapen(entry) for file in entry["files"]}


def _entry(folder: Path, files: Sequence[str], rows: int, runs, parameters: Parameters, roots) -> dict:
    keys = runs["run"].unique() if isinstance(runs, pd.DataFrame) else runs
    recorded = {name: value for name, value in parameters.items() if name != "publish"}
    entry = {
        "notebook": parameters.notebook,
        "parameters": recorded,
        "files": {file: manifests.sha256(folder / file) for file in files},
        "rows": rows,
        "runs": sorted({key for several in keys for key in several.split()}),
        "sources": code.digests(roots),
        "tuned": _tuned(recorded),
        "made": provenance(),
    }
    entry = json.loads(json.dumps(entry))  # as it will be read
    return entry | {"digest": digest_of(entry)}


def _json(manifest: Mapping) -> str:
    """Indented, but for lists, so that a thousand run keys are one line."""
    lists = {}

    def pack(value):
        if isinstance(value, list):
            lists[token := f"@list{len(lists)}@"] = json.dumps(value)
            return token
        return {k: pack(v) for k, v in value.items()} if isinstance(value, dict) else value

    text = json.dumps(pack(dict(manifest)), indent=1, sort_keys=True)
    for token, listed in lists.items():
        text = text.replace(f'"{token}"', listed)
    return text + "\n"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside `path` and move it there: a reader never sees half a file. A link stays one, a mode as it was."""
    beside, path = "", Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        write(Path(beside))
        os.chmod(beside, mode)
        os.replace(beside, path)
    except OSError as error:
        reason = f"cannot write {path.name} in {path.parent}: {error.strerror}"
        raise StoreError(f"{reason}. What was there before is unchanged.") from error
    finally:
        if beside:
            Path(beside).unlink(missing_ok=True)


def verify(folder: Path | None = None, expected: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """(id, state, detail) of each expected and each listed result; those of another profile, say full, as full/T1.

    expected: ids that the folder itself should hold, see unlearnkit.runner.grid.makes. state: "ok"; "stale" when code on
    its way changed since; "damaged" when a file is not what was written; "missing".
    """
    rows = []
    for profile, place in _folders(folder or paths.root() / "results").items():
        prefix = f"{profile}/" if profile else ""
        checked = states(place, () if profile else expected)
        rows += [(prefix + name, state, detail) for name, (_, state, detail) in checked.items()]
    return rows


def folders(profile: str = "") -> dict[str, Path]:
    """{profile: its results folder}: of all that have published, or of one. Raises BadValue if that one has not."""
    by_profile = _folders(paths.root() / "results")
    if not profile:
        return by_profile
    one = {"small": by_profile[""], "smoke": paths.runs() / "smoke"} | by_profile
    if profile not in one or not (one[profile] / "manifest.json").is_file():
        raise BadValue(f"the profile {profile!r} has published nothing: run `unlearnkit study --profile {profile}`")
    return {"" if profile == "small" else profile: one[profile]}


def _folders(home: Path) -> dict[str, Path]:
    return {"": home} | {m.parent.name: m.parent for m in sorted(home.glob("*/manifest.json"))}


def published(name: str, profile: str = "") -> pd.DataFrame:
    """A published table, or the data behind a published figure: `published("T2")`, `published("T2", "full")`.

    Always the whole table, where the CSV is for people, too. profile: that of the results folder itself, `small`, if empty.
    Raises UnknownName, BadValue or StoreError if it is not there: in the notebook that makes it call this after `publish`.
    """
    return records.table(_file(name, profile, "table"))


def published_figure(name: str, profile: str = "", alt: str = ""):
    """A published figure, to be the last value of a notebook's cell; alt: what it shows, for those who cannot see it.

    Raises as `published` does.
    """
    from IPython.display import Image  # of the notebooks' packages

    data = published(name, profile)
    about = f"Figure {name}, drawn from {len(data)} rows with the columns {', '.join(map(str, data))}"
    return Image(filename=str(_file(name, profile, "figure")), alt=alt or about)


def _file(name: str, profile: str, what: str) -> Path:
    """The file of a published "table" (or data behind a figure), or "figure"."""
    (folder,) = folders(profile or "small").values()
    manifest = manifests.read(folder)
    whole = {key: entry for key, entry in manifest.items() if not manifests.misshapen(entry)}
    if what == "table":
        files = {key: manifests.table_of(entry) for key, entry in whole.items()}
    else:
        files = {key: f for key, entry in whole.items() for f in entry["files"] if f.endswith(".png")}
    if name not in files:
        raise unknown(f"published {what}", name, files, f"To make it: `unlearnkit study --only {name}`.")
    file, digest = folder / files[name], whole[name]["files"][files[name]]
    if wrong := manifests.damage(file, digest):
        raise StoreError(f"{files[name]} {wrong[1]}: restore it from git or run `make study`")
    return file


def states(folder: Path, expected: Sequence[str] = ()) -> dict[str, tuple[dict | None, str, str]]:
    """{id: (entry of the manifest, state, detail)} of each expected and each listed result of one folder, sorted."""
    manifest = manifests.read(folder)
    found: dict[str, tuple[dict | None, str, str]] = {}
    for name in sorted({*manifest, *expected}):
        entry = manifest.get(name)
        wrong = manifests.misshapen(entry) if name in manifest else ""
        if wrong:
            found[name] = (
                None,
                "damaged",
                f"its entry in manifest.json {wrong}; restore it from git or run `make study`",
            )
        else:
            found[name] = (entry, *_state(folder, entry))
    return found


def _state(folder: Path, entry: Mapping | None) -> tuple[str, str]:
    if entry is None:
        return "missing", "not in the manifest; run `make study`"
    for file, digest in entry["files"].items():
        if wrong := manifests.damage(folder / file, digest):
            return wrong[0], f"{file} {wrong[1]}; restore it from git or run `make study`"
    changed = code.changed(entry["sources"])
    if changed:
        return "stale", f"changed since: {some(changed)}; run `make study`"
    if entry.get("tuned", "") != _tuned(entry["parameters"]):
        return "stale", "made with other tuned values than those of results/tuned; run `make study`"
    return "ok", f"{entry['rows']} rows from {len(entry['runs'])} runs, {entry['made']['date'][:10]}"


def _tuned(parameters: Mapping) -> str:
    """A digest of the tuned values that a result with these parameters takes; "unreadable" if a file of them is damaged."""
    if not parameters.get("tuned"):
        return ""
    from unlearnkit.methods import tuned_options as tuned

    try:
        return tuned.digest(parameters)
    except BadValue:
        return "unreadable"
