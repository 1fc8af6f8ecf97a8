"""What an artefact of the store is: what it is computed from, its files, its manifest and how that is checked."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unlearnkit.core import code_digest as code
from unlearnkit.core.archive import unpacked
from unlearnkit.core.errors import StoreError


@dataclass(frozen=True)
class Spec:
    """What an artefact is computed from; two equal specs are one artefact.

    roots: the functions and modules that compute it; all modules of the project that they import count as their source.
    """

    kind: str
    params: Mapping
    roots: Sequence = ()
    parents: Sequence[str] = ()
    sources: Mapping[str, str] = field(init=False, compare=False)
    key: str = field(init=False)

    def __post_init__(self):
        program = code.fingerprint(self.roots)
        parts = {"kind": self.kind, "params": self.params, "program": program, "parents": list(self.parents)}
        try:
            text = json.dumps(parts, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StoreError(f"the parameters of a {self.kind} must be plain values to be stored: {error}") from error
        object.__setattr__(self, "sources", code.digests(self.roots))
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest()[:20])


@dataclass(frozen=True)
class Files:
    """The files of an artefact, by the names that its maker gave them: `files / "model.safetensors"` is a path to open."""

    folder: Path
    stored: tuple[tuple[str, str], ...]  # (name, name in the folder)
    packed: str = ""  # the archive that holds all of them, if one does

    def __truediv__(self, name: str) -> Path:
        if self.packed and name in self.names:
            return unpacked(self.folder / self.packed, name)
        return self.folder / dict(self.stored).get(name, name)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.stored]


@dataclass(frozen=True)
class Artefact:
    """A published artefact. `folder / name` are its files, `info` what its maker returned."""

    key: str
    folder: Files
    manifest: Mapping

    @property
    def info(self) -> Mapping:
        return self.manifest["info"]


def digest_of(manifest: Mapping) -> str:
    """The digest of all that a manifest says, but for the digest itself."""
    text = json.dumps({k: v for k, v in manifest.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def checked(text: str, key: str, folder: Path) -> tuple[dict, str]:
    """(a manifest, what is wrong with it or with its files: "" if nothing is)."""
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        return {}, "its manifest cannot be read"
    if not isinstance(manifest, dict) or manifest.get("digest") != digest_of(manifest):
        return {}, "its manifest is not what was written"
    try:
        if manifest["key"] != key:
            return {}, "its manifest is another artefact's"
        packed, files = manifest["packed"], {name: (f["stored"], f["sha256"]) for name, f in manifest["files"].items()}
    except (KeyError, TypeError, AttributeError):
        return {}, "its manifest is of another version"
    for name, (stored, digest) in files.items():
        try:
            if sha256(folder / stored) != (packed or digest):
                return {}, f"{name} is not what was written"
        except OSError as error:
            return {}, f"{name} cannot be read: {error.strerror}"
    return manifest, ""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
