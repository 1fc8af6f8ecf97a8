"""Run one notebook as a job: completed or not at all, with a manifest written last.

Nothing here reads or changes this process's environment for a job's sake: several jobs may run in threads of one process.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.core.artefacts import digest_of
from unlearnkit.core.disk import explained, lock
from unlearnkit.core.documents import read_json
from unlearnkit.core.errors import BadValue, UnlearnkitError
from unlearnkit.core.provenance import provenance
from unlearnkit.results import manifests
from unlearnkit.runner.execution import execute

EXECUTED = "notebook.ipynb"  # beside the manifest
WRONG = (AttributeError, KeyError, TypeError, ValueError, OverflowError)  # what a file of any wrong shape raises


@dataclass(frozen=True)
class Outcome:
    """state: "ran", "cached", "failed", or "refused" by a worker that should not run it; `error` says what failed: cell,
    source, exception."""

    key: str
    state: str
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Places:
    """The project's folder, and that of executed notebooks: of this process by default, or of the settings of a driver."""

    home: Path
    runs: Path

    @classmethod
    def of(cls, settings: Mapping[str, str] | None = None) -> "Places":
        given = settings or {}
        home, runs = given.get("UNLEARNKIT_HOME"), given.get("UNLEARNKIT_RUNS")
        return cls(Path(home) if home else paths.root(), Path(runs) if runs else paths.runs())

    def folder(self, stem: str, key: str) -> Path:
        return self.runs / stem / key


def folder(stem: str, key: str) -> Path:
    return Places.of().folder(stem, key)


def finished(stem: str, key: str, places: Places | None = None) -> bool:
    """Whether the job's manifest is there, and all files that it wrote are as it wrote them and listed where it published.

    A manifest of any wrong shape and a damaged executed notebook are named on stderr, and the job counts as not finished.
    """
    places = places or Places.of()
    file = places.folder(stem, key) / "manifest.json"
    if not os.path.lexists(file):
        return False
    written = outputs(file)
    if written is None:
        print(f"{'/'.join(file.parts[-3:])} is not a job's manifest: the job runs again", file=sys.stderr)
        return False
    if executed(file) is None:
        print(f"{'/'.join(file.parts[-3:-1])}/{EXECUTED} is damaged or gone: the job runs again", file=sys.stderr)
        return False
    whole = {places.home / name: digest for name, digest in written.items()}
    return all(_digest(path) == digest and manifests.listed(path, digest) for path, digest in whole.items())


def outputs(file: Path) -> dict[str, str] | None:
    """{file relative to the project: its digest} that a job wrote, by its manifest; None for one of any wrong shape."""
    try:
        written = _read(file)["outputs"]
        whole = isinstance(written, dict) and all(isinstance(digest, str) for digest in written.values())
    except WRONG:
        return None
    return written if whole else None


def executed(file: Path) -> Path | None:
    """The notebook as a job ran it, by the job's manifest; None if it is not as it was written."""
    notebook = file.with_name(EXECUTED)
    with contextlib.suppress(*WRONG):
        digest = _read(file).get("executed")  # manifests of before version 0.2 have none
        return notebook if digest is None or digest == _digest(notebook) else None
    return None


def _read(file: Path) -> dict:
    """A job's manifest. Raises one of WRONG for another shape, BadValue, which is one, for one that is damaged."""
    manifest = read_json(file)
    if manifest.get("digest", digest := digest_of(manifest)) != digest:  # type: ignore[attr-defined]
        raise BadValue(f"{file.name} is not what was written")
    return manifest  # type: ignore[return-value]


def wall_times(stem: str) -> list[float]:
    """Seconds that each finished job of a notebook took, with whatever parameters. Damaged manifests are left out."""
    seconds = []
    for file in (paths.runs() / stem).glob("*/manifest.json"):
        with contextlib.suppress(*WRONG):
            seconds.append(float(_read(file)["seconds"]))
    return [taken for taken in seconds if 0 <= taken < float("inf")]


def wall_time(stem: str, key: str) -> float:
    """Seconds that a finished job took."""
    return read_json(folder(stem, key) / "manifest.json")["seconds"]


def run(
    stem: str,
    path: str,
    parameters: dict,
    key: str,
    settings: Mapping[str, str] | None = None,
    gpus: Sequence[str] = (),
    fork: bool = False,
    limit: float | None = None,
) -> Outcome:
    """Execute the notebook with papermill, after any other process or thread that is at the same job.

    settings: the driver's `UNLEARNKIT_` variables, instead of this process's own. gpus: see `gpu`. fork: see
    unlearnkit.runner.forked_kernels. limit: seconds after which the job is stopped and has failed.
    """
    start = time.monotonic()
    try:
        return _run(stem, path, parameters, key, settings, gpus, fork, limit, start)
    except UnlearnkitError as error:  # a folder that cannot be written
        return Outcome(key, "failed", time.monotonic() - start, str(error))


def _run(stem, path, parameters, key, settings, gpus, fork, limit, start) -> Outcome:
    places = Places.of(settings)
    if fork:
        from unlearnkit.runner import forked_kernels

        forked_kernels.use()
    parent = places.runs / stem
    with explained("the folder of runs", places.runs, "UNLEARNKIT_RUNS"):
        (places.runs / "locks").mkdir(parents=True, exist_ok=True)
        parent.mkdir(parents=True, exist_ok=True)
        with lock(places.runs / "locks" / key):
            if finished(stem, key, places):
                return Outcome(key, "cached", time.monotonic() - start)
            with tempfile.TemporaryDirectory(prefix=f".{key}-", dir=parent) as beside:
                error = execute(Path(path), Path(beside), parameters, kernel_environment(settings, gpus), limit)
                seconds = time.monotonic() - start
                if error:
                    with contextlib.suppress(FileNotFoundError):  # a kernel that would not start leaves none
                        shutil.copy(Path(beside) / "notebook.ipynb", parent / f"failed-{key}.ipynb")
                    return Outcome(key, "failed", seconds, error)
                _publish(Path(beside), stem, key, parameters, seconds, places)
    return Outcome(key, "ran", seconds)


def gpus() -> list[str]:
    """The name in CUDA_VISIBLE_DEVICES of each GPU that torch sees here: its number, if the variable is not set."""
    import torch  # here alone: a worker does without, and its kernel imports it

    count = torch.cuda.device_count()
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (names or [str(i) for i in range(count)])[:count]


def gpu(gpus: Sequence[str]) -> dict[str, str]:
    """The variable by which worker i of a local cluster sees GPU i modulo their number alone; {} outside a worker."""
    from distributed import get_worker

    with contextlib.suppress(ValueError):  # not on a worker
        name = get_worker().name
        if gpus and isinstance(name, int):
            return {"CUDA_VISIBLE_DEVICES": gpus[name % len(gpus)]}
    return {}


def choose_gpu(gpus: Sequence[str]) -> None:
    """Let this worker see its GPU alone: see `gpu`. To be called before anything asks CUDA for a device."""
    os.environ.update(gpu(gpus))


def kernel_environment(settings: Mapping[str, str] | None = None, gpus: Sequence[str] = ()) -> dict[str, str]:
    """This process's environment with a driver's settings in place of its own, for a kernel of one thread."""
    environment = dict(os.environ)
    if settings is not None:
        environment = {k: v for k, v in environment.items() if not k.startswith("UNLEARNKIT_")} | dict(settings)
        environment.setdefault("OMP_NUM_THREADS", "1")  # on a worker without a nanny, which sets it
        environment.pop("MALLOC_TRIM_THRESHOLD_", None)  # Dask's: training is 1.7 times as slow with it
    return environment | gpu(gpus)


def _publish(beside: Path, stem: str, key: str, parameters: dict, seconds: float, places: Places) -> None:
    log = beside / "log.jsonl"
    notes = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    written = {value: _digest(places.home / value) for what, value in notes if what == "output"}
    manifest = {
        "key": key,
        "notebook": stem,
        "parameters": parameters,
        "artefacts": sorted({value for what, value in notes if what == "artefact"}),
        "outputs": written,
        "executed": _digest(beside / EXECUTED),
        "seconds": round(seconds, 2),
        "made": provenance(),
    }
    log.unlink(missing_ok=True)
    manifest = json.loads(json.dumps(manifest))  # as it will be read
    text = json.dumps(manifest | {"digest": digest_of(manifest)}, indent=1, sort_keys=True)
    (beside / "manifest.json").write_text(text, encoding="utf-8")
    final = places.folder(stem, key)
    if final.exists():  # an earlier run whose outputs have changed since
        shutil.rmtree(final)
    os.chmod(beside, stat.S_IMODE(final.parent.stat().st_mode))  # a temporary folder is its maker's alone
    os.rename(beside, final)
    Path(beside).mkdir()  # for TemporaryDirectory to remove


def _digest(file: Path) -> str | None:
    with contextlib.suppress(OSError):  # not there, a folder, or not to be read
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return None
