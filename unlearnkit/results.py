"""The committed results: tables and figures with the data behind them, and one manifest that says where each came from."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock

from unlearnkit import code, paths
from unlearnkit.errors import BadValue, StoreError
from unlearnkit.store import provenance

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
    "F15",
    "T4",
    "T4-neighbours",
    "T1-kinds",
    "F1-kinds",
    "F2-kinds",
    "T1-near-copies",
    "T8",
    "T8-contrasts",
    "T8-influence",
    "F13",
    "F11",
    "F12",
    "F12-copies",
    "T8-proxies",
    "T8-difficulty",
    "T8-copies",
)


def publish(
    name: str,
    data: pd.DataFrame,
    figure=None,
    *,
    to: str,
    notebook: str,
    parameters: Mapping,
    runs: Sequence[str],
    roots: Sequence[Callable],
) -> list[str]:
    """Write a table (or a figure and its data) and its entry in the manifest; returns the files, relative to `to`.

    to: the results folder, relative to the project; "" publishes nothing. runs: keys of the artefacts it was made from;
    roots: the functions that made it, whose code then counts for freshness.
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
    entry = {
        "notebook": notebook,
        "parameters": dict(parameters),
        "files": {f: _sha256(folder / f) for f in files},
        "rows": len(data),
        "runs": sorted({key for keys in runs for key in keys.split()}),
        "sources": code.digests(roots),
        "tuned": _tuned(parameters),
        "made": provenance(),
    }
    with FileLock(folder / ".manifest.lock"):
        manifest = _manifest(folder)
        manifest[name] = entry
        write_whole(folder / "manifest.json", lambda path: path.write_text(_json(manifest)))
    for f in files:
        paths.note("output", str((folder / f).relative_to(paths.root())))
    return files


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
    below = {"": folder} | {f"{m.parent.name}/": m.parent for m in sorted(folder.glob("*/manifest.json"))}
    found = []
    for prefix, place in below.items():
        manifest = _manifest(place)
        names = sorted({*manifest, *(() if prefix else EXPECTED)})
        found += [(prefix + name, *_state(place, manifest.get(name))) for name in names]
    return found


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
    from unlearnkit import tuned

    try:
        return tuned.digest(parameters)
    except BadValue:
        return "unreadable"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
