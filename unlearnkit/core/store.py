"""Content-addressed artefacts: computed once, published whole or not at all, verified when read.

An artefact is a manifest `<cache>/<kind>/<key>.json`, written last, that names and digests its files, and these, beside it
as `<key>-<digest>.<name>`; several small ones are in one archive: two inodes an artefact. The key is the hash of everything
the content depends on: the kind, resolved parameters, the source of the modules that compute it
(unlearnkit.core.code_digest), and the keys of what it is computed from.
"""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from unlearnkit.core import paths
from unlearnkit.core.archive import PACKED, pack
from unlearnkit.core.artefacts import Artefact, Files, Spec, checked, digest_of, sha256
from unlearnkit.core.disk import drop, explained, lock, take, warn_of_others
from unlearnkit.core.errors import StoreError
from unlearnkit.core.provenance import provenance

KEY = re.compile("[0-9a-f]{20}")  # as unlearnkit.core.artefacts makes it
_verified: dict[Path, Artefact] = {}  # read and found whole by this process: not digested again
MAKING = "making"  # folder of what is being computed
_swept: set[Path] = set()  # caches in which this process has looked for what killed ones left behind

Make = Callable[[list[tuple[int, Path]], Callable[[int, dict], None]], None]


class Store:
    """The artefacts below one folder, `paths.cache()` by default. Safe for several processes and threads at once."""

    def __init__(self, root: Path | None = None):
        self.root = Path(root) if root else paths.cache()
        if "UNLEARNKIT_JOB_LOG" not in os.environ:  # a batch says so itself, once for all of its jobs
            warn_of_others("the cache", self.root, "UNLEARNKIT_CACHE")

    def get(self, spec: Spec, make: Callable[[Path], dict | None]) -> Artefact:
        """The artefact of `spec`; `make(folder)` computes it into an empty folder if it is not there."""

        def make_one(missing, publish):
            ((i, folder),) = missing
            publish(i, make(folder) or {})

        return self.get_many([spec], make_one)[0]

    def get_many(self, specs: Sequence[Spec], make: Make) -> list[Artefact]:
        """The artefacts of `specs`, in order; the missing ones are computed by one call, each published when done.

        `make(missing, publish)` gets [(index into specs, empty folder)] and calls `publish(index, info)` as soon as a
        folder is complete; from then on others have it. What another process is at is left to it and waited for, with no
        lock held; should that process fail, it is computed here by a further call. Raises StoreError when the disk is full
        or the folder cannot be written; whatever was published before stays.
        """
        found = {spec.key: self.read(spec) for spec in specs}
        pause = 0.02
        while left := {spec.key: spec for spec in specs if found[spec.key] is None}:
            with self._claimed(left) as held:
                found |= {key: self.read(left[key]) for key in held}
                for key in [key for key in held if found[key]]:  # published between our look and our lock
                    drop(held.pop(key))
                if held:
                    self._make(specs, found, held, make)
                    continue
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
            found |= {key: self.read(spec) for key, spec in left.items() if found[key] is None}
        for key in found:
            paths.note("artefact", key)
        return [found[spec.key] for spec in specs]

    def _make(self, specs: Sequence[Spec], found: dict, held: dict[str, FileLock], make: Make) -> None:
        first: dict[str, int] = {}  # equal specs are computed once
        for i, spec in enumerate(specs):
            first.setdefault(spec.key, i)
        with contextlib.ExitStack() as folders, self._explained():
            missing = {}
            (self.root / MAKING).mkdir(parents=True, exist_ok=True)
            for key in [key for key in first if key in held]:
                missing[first[key]] = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self.root / MAKING))
                folders.callback(shutil.rmtree, missing[first[key]], ignore_errors=True)
            start = time.perf_counter()

            def publish(i: int, info: dict) -> None:
                with self._explained():
                    found[specs[i].key] = self._publish(specs[i], missing[i], info, time.perf_counter() - start)
                    drop(held.pop(specs[i].key))

            make(list(missing.items()), publish)
            left = [specs[i].key for i in missing if found[specs[i].key] is None]
            assert not left, f"computed, but never published: {left}"

    def _publish(self, spec: Spec, folder: Path, info: dict, seconds: float) -> Artefact:
        """Files first, under names that hold their digest, then the manifest: a reader, or another machine at the same key
        where locks do not reach across a network share, never sees the one's manifest with the other's files."""
        artefact = self.read(spec)
        if artefact is None:
            parts = sorted(folder.iterdir())
            files = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in parts}
            packed = len(files) > 1 and sum(file["bytes"] for file in files.values()) <= PACKED
            if packed:
                parts = [pack(parts, folder / "files.zip")]
            stored = {path.name: f"{spec.key}-{sha256(path)[:8]}.{path.name}" for path in parts}
            for name, file in files.items():
                file["stored"] = stored["files.zip" if packed else name]
            manifest = {
                "key": spec.key,
                "kind": spec.kind,
                "params": dict(spec.params),
                "parents": list(spec.parents),
                "sources": dict(spec.sources),
                "files": files,
                "packed": sha256(parts[0]) if packed else "",
                "info": info,
                "made": provenance() | {"seconds_since_start": round(seconds, 3)},
            }
            manifest = json.loads(json.dumps(manifest))  # as it will be read: a number as a name becomes text
            text = json.dumps(manifest | {"digest": digest_of(manifest)}, indent=1, sort_keys=True)
            final = self.root / spec.kind
            final.mkdir(parents=True, exist_ok=True)
            for name, there in stored.items():
                os.replace(folder / name, final / there)
            (folder / "manifest.json").write_text(text, encoding="utf-8")
            os.replace(folder / "manifest.json", final / f"{spec.key}.json")
            artefact = self.read(spec)
        if artefact is None:
            raise StoreError(
                f"{spec.kind} {spec.key} could not be read back after it was written; is the disk failing?"
            )
        return artefact

    def read(self, spec: Spec) -> Artefact | None:
        """The artefact if it is there and undamaged. A damaged one is named on stderr and set aside."""
        return self.find(spec.kind, spec.key)

    def find(self, kind: str, key: str) -> Artefact | None:
        """As `read`, for an artefact of which only kind and key are known."""
        file = self.root / kind / f"{key}.json"
        if file in _verified:
            if file.exists():
                return _verified[file]
            del _verified[file]
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # a folder in its place, or bytes that are no text
            text, damage = "", f"its manifest cannot be read: {error}"
        else:
            manifest, damage = checked(text, key, file.parent)
        if not damage:
            stored = tuple((name, entry["stored"]) for name, entry in manifest["files"].items())
            files = Files(file.parent, stored, stored[0][1] if manifest["packed"] else "")
            _verified[file] = Artefact(key, files, manifest)
            return _verified[file]
        self._set_aside(file, kind, key, damage)
        return None

    def _set_aside(self, file: Path, kind: str, key: str, damage: str) -> None:
        aside = self.root / "damaged" / f"{kind}-{key}-{time.time_ns()}"
        with self._explained():
            aside.mkdir(parents=True, exist_ok=True)
            moved = 0
            for part in [file, *file.parent.glob(f"{key}-*.*")]:  # the manifest first: without it there is nothing
                with contextlib.suppress(FileNotFoundError):  # another process has set it aside already
                    part.rename(aside / part.name)
                    moved += 1
        if moved:
            print(f"{kind} {key} is damaged ({damage}): set aside and computed anew", file=sys.stderr)
        else:
            aside.rmdir()

    @contextlib.contextmanager
    def _claimed(self, keys: Iterable[str]):
        """{key: lock} of those that nobody else is at; the system frees them if we are killed.

        Several are taken in one go: two processes at the same batch do not share it out between them. Many processes that
        want one key each do not wait for each other.
        """
        folder, held, keys = self.root / "locks", {}, list(keys)
        try:
            with self._explained():
                folder.mkdir(parents=True, exist_ok=True)
                with lock(folder / "claim") if len(keys) > 1 else contextlib.nullcontext():
                    self._sweep(folder)
                    for key in keys:
                        if mine := take(folder / key):
                            held[key] = mine
            yield held
        finally:
            for mine in held.values():
                drop(mine)

    def _sweep(self, locks: Path) -> None:
        """Once per process, delete what killed processes left: folders of keys that nobody is at, and lock files."""
        if self.root in _swept:
            return
        _swept.add(self.root)
        making = self.root / MAKING
        folders = os.listdir(making) if making.is_dir() else []
        for key in {*os.listdir(locks), *(name.split("-")[0] for name in folders)}:
            if KEY.fullmatch(key) and (old := take(locks / key)):  # another file is none of ours
                for folder in making.glob(f"{key}-*"):
                    shutil.rmtree(folder, ignore_errors=True)
                drop(old)

    def _explained(self):
        return explained("the cache", self.root, "UNLEARNKIT_CACHE")


def described(key: str) -> Mapping | None:
    """The manifest of an artefact by its key alone, None if it is not in the cache. Its files are not looked at."""
    folder = str(paths.cache())
    for kind in os.listdir(folder) if os.path.isdir(folder) else ():
        with (
            contextlib.suppress(OSError, ValueError, RecursionError),
            open(os.path.join(folder, kind, f"{key}.json"), encoding="utf-8") as file,
        ):
            manifest = json.load(file)
            if isinstance(manifest, dict) and manifest.get("digest") == digest_of(manifest):
                return manifest
    return None
