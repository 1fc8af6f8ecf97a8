"""The committed results: tables and figures with the data behind them, and one manifest that says where each came from."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, StoreError
from unlearnkit.core.store import provenance
from unlearnkit.results import records

EXPECTED = (
    "T1",
    "T2",
    "T2-attacks",
    "T2-protocols",
    "T2-reconstruction",
    "T2-similarity",
    "F1",
    "F2",
    "F3",
    "F3-similarity",
    "F3-size",
    "F4",
    "F6",
    "T1-text",
    "T1-text-sheet",
    "F2-text",
    "T3",
    "F5",
    "T4-text",
    "T4-text-neighbours",
    "F6-text",
    "F8",
    "F8-layers",
    "T5-controls",
    "T7",
    "F15",
    "T4",
    "T4-neighbours",
    "T1-kinds",
    "F1-kinds",
    "F2-kinds",
    "T1-near-copies",
    "T5",
    "T5-spectra",
    "T6",
    "F7",
    "F9",
    "F9-steady",
    "F10",
    "F11",
    "F12",
    "F12-copies",
    "T8-proxies",
    "T8-difficulty",
    "T8-copies",
    "T8",
    "T8-contrasts",
    "T8-influence",
    "F13",
    "T9",
    "T9-orders",
    "F14",
    "T10",
)


def publish(
    name: str,
    data: pd.DataFrame,
    figure=None,
    *,
    to: str,
    notebook: str,
    parameters: Mapping,
    runs: pd.DataFrame | Sequence[str],
    roots: Sequence[Callable],
) -> list[str]:
    """Write a table (or a figure and its data) and its entry in the manifest; returns the files, relative to `to`.

    to: the results folder, relative to the project; "" publishes nothing. runs: what it was made from: the tidy score table,
    or any other data frame with a column `run`, which is kept (unlearnkit.results.records); or, where the table names them row by
    row or nothing else is known of them, the keys of the artefacts. roots: the functions that made it, whose code then
    counts for freshness.
    """
    if not to:
        return []
    folder = paths.root() / to
    kind = "tables" if name.startswith("T") else "figures"
    (folder / kind).mkdir(parents=True, exist_ok=True)
    files = [f"{kind}/{name}.csv"]
    write_whole(
        folder / files[0], lambda path: data.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    )
    if figure is not None:
        files.append(f"{kind}/{name}.png")
        write_whole(
            folder / files[1], lambda path: figure.savefig(path, dpi=130, format="png", metadata={"Software": None})
        )
    with FileLock(folder / ".manifest.lock"):
        if isinstance(runs, pd.DataFrame):
            files.append(records.write(runs, folder, write_whole))
        entry = _entry(folder, files, data, runs, notebook, parameters, roots)
        manifest = _manifest(folder) | {name: entry}
        write_whole(folder / "manifest.json", lambda path: path.write_text(_json(manifest)))
        named = {file for other in manifest.values() for file in other["files"]}
        for file in (folder / "scores").glob("*.parquet"):
            if f"scores/{file.name}" not in named:  # of an earlier version of this result
                file.unlink()
    for f in files:
        paths.note("output", os.path.relpath(folder / f, paths.root()))
    return files


def _entry(folder: Path, files: Sequence[str], data: pd.DataFrame, runs, notebook: str, parameters, roots) -> dict:
    keys = runs["run"].unique() if isinstance(runs, pd.DataFrame) else runs
    return {
        "notebook": notebook,
        "parameters": dict(parameters),
        "files": {f: _sha256(folder / f) for f in files},
        "rows": len(data),
        "runs": sorted({key for several in keys for key in several.split()}),
        "sources": code.digests(roots),
        "tuned": _tuned(parameters),
        "made": provenance(),
    }


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
    """Beside it, then in its place: a reader never sees half a file."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        write(Path(beside))
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except OSError as error:
        raise StoreError(f"cannot write {path.name}: {error.strerror}. What was there before is unchanged.") from error
    finally:
        Path(beside).unlink(missing_ok=True)


def _manifest(folder: Path) -> dict:
    try:
        return json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError(
            f"manifest.json in {folder.name}/ is not valid JSON ({error}): restore it from git, or delete it and run "
            "`make study`"
        ) from error


def verify(folder: Path | None = None) -> list[tuple[str, str, str]]:
    """(id, state, detail) of each expected and each listed result; the listed ones of another profile, say real, as real/T1.

    state: "ok"; "stale" when code on its way changed since; "damaged" when a file is not what was written; "missing".
    """
    folder = folder or paths.root() / "results"
    found = []
    for profile, place in _folders(folder).items():
        prefix, expected = (f"{profile}/", ()) if profile else ("", EXPECTED)
        found += [(prefix + name, state, detail) for name, (_, state, detail) in states(place, expected).items()]
    return found


def folders(profile: str = "") -> dict[str, Path]:
    """{profile: its results folder}: of all that have published, or of one. Raises BadValue if that one has not."""
    found = _folders(paths.root() / "results")
    if not profile:
        return found
    one = {"small": found[""], "smoke": paths.runs() / "smoke"} | found
    if profile not in one or not (one[profile] / "manifest.json").is_file():
        raise BadValue(f"the profile {profile!r} has published nothing: run `unlearnkit study --profile {profile}`")
    return {"" if profile == "small" else profile: one[profile]}


def _folders(home: Path) -> dict[str, Path]:
    return {"": home} | {m.parent.name: m.parent for m in sorted(home.glob("*/manifest.json"))}


def states(folder: Path, expected: Sequence[str] = ()) -> dict[str, tuple[dict | None, str, str]]:
    """{id: (entry of the manifest, state, detail)} of each expected and each listed result of one folder, sorted."""
    manifest = _manifest(folder)
    return {n: (manifest.get(n), *_state(folder, manifest.get(n))) for n in sorted({*manifest, *expected})}


def _state(folder: Path, entry: Mapping | None) -> tuple[str, str]:
    if entry is None:
        return "missing", "not in the manifest; run `make study`"
    for file, digest in entry["files"].items():
        if not (folder / file).is_file():
            return "missing", f"{file} is not there; restore it from git or run `make study`"
        if _sha256(folder / file) != digest:
            return "damaged", f"{file} is not what was written; restore it from git or run `make study`"
    changed = [m for m, digest in entry["sources"].items() if code.current(m) != digest]
    if changed:
        return "stale", f"changed since: {', '.join(changed)}; run `make study`"
    if entry.get("tuned", "") != _tuned(entry["parameters"]):
        return "stale", "made with other tuned values than those of results/tuned; run `make study`"
    return "ok", f"{entry['rows']} rows from {len(entry['runs'])} runs, {entry['made']['date'][:10]}"


def _tuned(parameters: Mapping) -> str:
    """Which tuned values a result with these parameters takes; a file that cannot be read has a row of its own."""
    if not parameters.get("tuned"):
        return ""
    from unlearnkit.methods import tuned_options as tuned

    try:
        return tuned.digest(parameters)
    except BadValue:
        return "unreadable"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
