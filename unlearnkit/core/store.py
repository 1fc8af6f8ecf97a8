"""Content-addressed artefacts: computed once, published whole or not at all, verified when read.

An artefact is a folder `<cache>/<kind>/<key>/` whose `manifest.json`, written last, names and digests its files. The key
is the hash of everything the content depends on: the kind, resolved parameters, the source of the modules that
compute it (unlearnkit.core.code_digest), and the keys of what it is computed from.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.errors import StoreError
from unlearnkit.core.provenance import provenance


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
class Artefact:
    """A published folder. `folder / name` are its files, `info` what its maker returned."""

    key: str
    folder: Path
    manifest: Mapping

    @property
    def info(self) -> Mapping:
        return self.manifest["info"]


_verified: dict[Path, Artefact] = {}  # read and found whole by this process: not digested again

Make = Callable[[list[tuple[int, Path]], Callable[[int, dict], None]], None]


class Store:
    """The artefacts below one folder, `paths.cache()` by default. Safe for several processes at once."""

    def __init__(self, root: Path | None = None):
        self.root = Path(root) if root else paths.cache()

    def get(self, spec: Spec, make: Callable[[Path], dict | None]) -> Artefact:
        """The artefact of `spec`; `make(folder)` computes it into an empty folder if it is not there."""

        def make_one(missing, publish):
            ((i, folder),) = missing
            publish(i, make(folder) or {})

        return self.get_many([spec], make_one)[0]

    def get_many(self, specs: Sequence[Spec], make: Make) -> list[Artefact]:
        """The artefacts of `specs`, in order; the missing ones are computed by one call, each published when done.

        `make(missing, publish)` gets [(index into specs, empty folder)] and calls `publish(index, info)` as soon as a
        folder is complete. Another process that computes one of the keys is waited for. Raises StoreError when the
        disk is full or the folder cannot be written; whatever was published before stays.
        """
        found = {spec.key: self.read(spec) for spec in specs}
        if any(artefact is None for artefact in found.values()):
            with self._locked(spec for spec in specs if found[spec.key] is None):
                found |= {spec.key: self.read(spec) for spec in specs if found[spec.key] is None}
                self._make(specs, found, make)
        for key in found:
            paths.note("artefact", key)
        return [found[spec.key] for spec in specs]

    def _make(self, specs: Sequence[Spec], found: dict, make: Make) -> None:
        first: dict[str, int] = {}  # equal specs are computed once
        for i, spec in enumerate(specs):
            first.setdefault(spec.key, i)
        with contextlib.ExitStack() as folders, _explained(self.root):
            missing = {}
            for key, i in first.items():
                if found[key] is None:
                    parent = self.root / specs[i].kind
                    parent.mkdir(parents=True, exist_ok=True)
                    missing[i] = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=parent))
                    folders.callback(shutil.rmtree, missing[i], ignore_errors=True)
            start = time.perf_counter()

            def publish(i: int, info: dict) -> None:
                with _explained(self.root):
                    found[specs[i].key] = self._publish(specs[i], missing[i], info, time.perf_counter() - start)

            if missing:
                make(list(missing.items()), publish)
            left = [specs[i].key for i in missing if found[specs[i].key] is None]
            assert not left, f"computed, but never published: {left}"

    def _publish(self, spec: Spec, folder: Path, info: dict, seconds: float) -> Artefact:
        files = {p.name: {"sha256": _sha256(p), "bytes": p.stat().st_size} for p in sorted(folder.iterdir())}
        manifest = {
            "key": spec.key,
            "kind": spec.kind,
            "params": dict(spec.params),
            "parents": list(spec.parents),
            "sources": dict(spec.sources),
            "files": files,
            "info": info,
            "made": provenance() | {"seconds_since_start": round(seconds, 3)},
        }
        text = json.dumps(manifest, indent=1, sort_keys=True)
        (folder / "manifest.json").write_text(text)
        final = self.root / spec.kind / spec.key
        try:
            os.rename(folder, final)
        except OSError as error:  # another machine's run was first (locks may not reach across a network share)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        artefact = self.read(spec)
        if artefact is None:
            raise StoreError(
                f"{spec.kind} {spec.key} could not be read back after it was written; is the disk failing?"
            )
        return artefact

    def read(self, spec: Spec) -> Artefact | None:
        """The artefact if it is there and undamaged. A damaged one is named on stderr and set aside."""
        folder = self.root / spec.kind / spec.key
        if not folder.exists():
            return None
        if folder in _verified:
            return _verified[folder]
        damage = self._damage(folder, spec)
        if damage is None:
            _verified[folder] = Artefact(spec.key, folder, json.loads((folder / "manifest.json").read_text()))
            return _verified[folder]
        aside = self.root / "damaged" / f"{spec.kind}-{spec.key}-{time.time_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process has set it aside already
            folder.rename(aside)
            print(f"{spec.kind} {spec.key} is damaged ({damage}): set aside and computed anew", file=sys.stderr)
        return None

    @staticmethod
    def _damage(folder: Path, spec: Spec) -> str | None:
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            if manifest["key"] != spec.key:
                return "its manifest is another artefact's"
            for name, expected in manifest["files"].items():
                if _sha256(folder / name) != expected["sha256"]:
                    return f"{name} is not what was written"
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except (ValueError, KeyError):
            return "manifest.json cannot be read"
        return None

    @contextlib.contextmanager
    def _locked(self, specs):
        """Hold the locks of these keys, taken in one order everywhere; the system frees them if we are killed."""
        with contextlib.ExitStack() as stack, _explained(self.root):
            folder = self.root / "locks"
            folder.mkdir(parents=True, exist_ok=True)
            for key in sorted({spec.key for spec in specs}):
                stack.enter_context(FileLock(folder / key))
            yield


def described(key: str) -> Mapping | None:
    """The manifest of an artefact by its key alone, None if it is not in the cache. Its files are not looked at."""
    folder = str(paths.cache())
    for kind in os.listdir(folder) if os.path.isdir(folder) else ():
        with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, kind, key, "manifest.json")) as file:
            return json.load(file)
    return None


@contextlib.contextmanager
def _explained(root: Path):
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EROFS: "it is read-only",
            errno.EACCES: "there is no permission to write",
        }
        if error.errno not in reasons:
            raise
        raise StoreError(
            f"cannot write to the cache: {reasons[error.errno]}. Nothing half-written was kept; all that was finished "
            "is. Free some space (or delete the cache: it only costs time), or set UNLEARNKIT_CACHE to another folder."
        ) from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
