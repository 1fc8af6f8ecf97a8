"""The manifest of a results folder: read, checked for its shape, asked whether it lists a file."""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from unlearnkit.core.artefacts import digest_of
from unlearnkit.core.documents import read_json
from unlearnkit.core.errors import BadValue, StoreError


def read(folder: Path) -> dict:
    file = folder / "manifest.json"
    if not os.path.lexists(file):
        return {}
    try:
        manifest = read_json(file, BROKEN.format(folder.name))
    except BadValue as error:
        raise StoreError(f"{error}: {MEND}") from error
    if not isinstance(manifest, dict):
        raise StoreError(f"{BROKEN.format(folder.name)} holds no results by name: {MEND}")
    return manifest


BROKEN = "manifest.json in {}/"
MEND = "restore it from git, or delete it and run `make study`"
SHAPE = {"files": dict, "sources": dict, "parameters": dict, "runs": list, "made": dict, "notebook": str, "rows": int}


def to_extend(folder: Path) -> dict:
    """The manifest; one that cannot be read is named on stderr and set aside, and all that it listed is made again."""
    try:
        return read(folder)
    except StoreError as error:
        print(
            f"{str(error).partition(': ')[0]}: it is kept as manifest.damaged.json, and a new one begun",
            file=sys.stderr,
        )
        os.replace(folder / "manifest.json", folder / "manifest.damaged.json")
        return {}


def misshapen(entry: object) -> str:
    """What is wrong with an entry of a manifest, "" if it has the parts that `publish` writes."""
    if not isinstance(entry, dict):
        return "is no entry"
    for part, kind in SHAPE.items():
        if not isinstance(entry.get(part), kind):
            return f"has no {part}, or a wrong one"
    words = (*entry["files"].values(), *entry["sources"].values(), *entry["runs"], entry["made"].get("date"))
    if not all(isinstance(word, str) for word in words):
        return "has a digest, a run or a date that is none"
    if "digest" in entry and entry["digest"] != digest_of(entry):  # those of before version 0.2 have none
        return "is not what was written"
    return "" if any(file.endswith(".csv") for file in entry["files"]) else "has no table"


def table_of(entry: Mapping) -> str:
    """The file of an entry that holds its whole table: a Parquet file where the CSV is for people, else the CSV."""
    tables = [file for file in entry["files"] if not file.startswith("scores/")]
    return next(file for ending in (".parquet", ".csv") for file in tables if file.endswith(ending))


def damage(file: Path, digest: str) -> tuple[str, str] | None:
    """("missing" or "damaged", what is wrong) of a file that should have this digest; None if it has."""
    try:
        return None if sha256(file) == digest else ("damaged", "is not what was written")
    except (FileNotFoundError, NotADirectoryError):
        return "missing", "is not there"
    except OSError as error:
        return "damaged", f"cannot be read: {error.strerror}"


def listed(path: Path, digest: str | None = None) -> bool:
    """Whether a file is as the manifest of its results folder lists it; true where it lies in no such folder.

    path: FOLDER/tables/T2.csv and the like; digest: of the file as it is, by default taken from it.
    """
    if path.parent.name not in ("tables", "figures", "scores"):
        return True
    wanted = digest_listed(path)
    return bool(wanted) and (digest == wanted if digest else not damage(path, wanted))


def digest_listed(path: Path) -> str:
    """The digest that the manifest of its results folder has of a file, whether the file is there or not; "" for none."""
    file = path.parent.parent / "manifest.json"
    try:
        time = file.stat().st_mtime_ns
    except OSError:
        return ""
    if file not in _listed or _listed[file][0] != time:
        try:
            entries = list(read(file.parent).values())
        except StoreError:
            entries = []
        whole = {k: v for entry in entries if not misshapen(entry) for k, v in entry["files"].items()}
        _listed[file] = time, whole
    return _listed[file][1].get(f"{path.parent.name}/{path.name}", "")


_listed: dict[Path, tuple[int, dict[str, str]]] = {}  # {manifest: when it was changed, digests by file}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
