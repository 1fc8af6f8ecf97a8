"""Workers that others started are checked before the first job: code, versions, folders, one kind of processor.

What runs on a worker is asked for by a text that it evaluates, so that a worker without this package can answer, too.
"""

import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import unlearnkit
from unlearnkit.core import code_digest as code
from unlearnkit.core import provenance
from unlearnkit.core.disk import explained
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.runner import job, limits

FIRST, AGAIN = 5.0, 60.0  # seconds after which it is said that there are no workers, and after which again
SHARED = {"UNLEARNKIT_RUNS": "the folder of runs", "UNLEARNKIT_CACHE": "the cache"}  # where workers write
READ = {"UNLEARNKIT_HOME": ("notebooks", "*.ipynb"), "UNLEARNKIT_TUNED": (".", "**/*.json")}
NEVER_SEEN = 10.0  # seconds after which a network share should show a file


def versions() -> dict[str, str]:
    """What must be equal here and on every worker."""
    return {
        "code": _loaded_code(),
        "unlearnkit": unlearnkit.__version__,
        "torch": provenance.torch_build().get("version", "none"),
    }


@cache
def _loaded_code() -> str:
    """The digest of the project's code when it was first asked for: what this process has loaded."""
    return code.everything()


def probe(settings: Mapping[str, str], token: str) -> dict:
    """On a worker: its versions, its processor, and the driver's folders that it cannot see or write, as lines."""
    return {
        "versions": versions() | {"commit": code.version()},
        "stale": _loaded_code() != code.everything(),
        "processor": f"{provenance.processor_model()} ({' '.join(provenance.instructions())})",
        "instructions": list(provenance.instructions()),
        "slowness": limits.slowness(),
        "folders": [line for line in (_unshared(name, settings, token) for name in (*SHARED, *READ)) if line],
    }


def _unshared(name: str, settings: Mapping[str, str], token: str) -> str:
    folder = Path(settings[name])
    if name in READ:
        here = contents(folder, *READ[name])
        return "" if here == settings.get(f"{name}:contents", here) else f"{folder} holds other files there: share it"
    end = time.monotonic() + NEVER_SEEN / 2
    while not (folder / token).is_file():
        if time.monotonic() > end:
            return f"it does not see {SHARED[name]}, {folder}: share it under this path, or set {name} to one that is"
        with contextlib.suppress(OSError):
            os.listdir(folder)  # a network share looks anew
        time.sleep(0.2)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"it cannot write to {SHARED[name]}, {folder}: {error.strerror}"
    return ""


def contents(folder: Path, below: str, pattern: str) -> str:
    """A digest of some files of a folder and their names, the same wherever the folder lies."""
    digest = hashlib.sha256()
    for file in sorted((folder / below).glob(pattern)):
        digest.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class Fit:
    """What the workers that were checked have in common: `expected` of later ones, and the slowness of the slowest."""

    expected: Mapping[str, str]
    slowness: float


def wait_until_fit(client, scheduler: str, settings: Mapping[str, str]) -> Fit:
    """Return when there are workers and all are fit; says after 5 s, then every minute, what it waits for.

    Raises UnlearnkitError, in one line, for a worker with other code, versions or folders, and for workers with
    different kinds of processor.
    """
    given = dict(settings) | {f"{n}:contents": contents(Path(settings[n]), *READ[n]) for n in READ}
    said, start = -AGAIN, time.monotonic()
    with _tokens(settings) as token:
        while True:
            answers, why = _look(client, scheduler, given, token)
            if answers:
                one = next(iter(answers.values()))
                expected = versions() | {"instructions": " ".join(one["instructions"])}
                return Fit(expected, max(answer["slowness"] for answer in answers.values()))
            now = time.monotonic() - start
            if now >= FIRST and now - said >= AGAIN:
                said = now
                print(f"no job can begin yet: {why}", flush=True)
            time.sleep(1)


def _look(client, scheduler: str, settings: Mapping[str, str], token: str) -> tuple[dict, str]:
    """(the answers of all workers if they are fit, else none; why not)."""
    text = f"__import__('unlearnkit.runner.workers', fromlist=['probe']).probe({settings!r}, {token!r})"
    try:
        client.run_on_scheduler(eval, "__import__('unlearnkit.runner.workers')")  # it takes jobs apart to order them
    except ImportError as error:
        return {}, f"the scheduler at {scheduler} runs without this package: start it in this environment ({error})"
    answers = client.run(eval, text, on_error="return")
    if not answers:
        start = f"start one with `dask worker {scheduler} --nthreads 1`, or wait for the queue"
        return {}, f"the scheduler at {scheduler} has no worker: {start}"
    without = {w: a for w, a in answers.items() if isinstance(a, (ImportError, AttributeError))}
    if without:
        worker, error = next(iter(without.items()))
        return {}, f"worker {worker}{_more(without)} runs without this package: start it in this environment ({error})"
    if wrong := mismatches(answers):
        raise UnlearnkitError(f"no job was begun: {wrong}")
    return answers, ""


def mismatches(answers: Mapping[str, object]) -> str:
    """What is wrong with workers by their answers to `probe`, in one line; "" if nothing is."""
    here, commit = versions(), code.version()
    found: dict[str, list[str]] = {}
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            found.setdefault(f"answers by {type(answer).__name__}: {answer}", []).append(worker)
            continue
        there = answer["versions"]
        if there["code"] != here["code"]:
            line = f"has other code (commit {there['commit']}, here {commit}): start it in this checkout"
            found.setdefault(line, []).append(worker)
        elif answer["stale"]:
            found.setdefault("was started before the code changed: start it anew", []).append(worker)
        for name in ("unlearnkit", "torch"):
            if there[name] != here[name]:
                found.setdefault(f"has {name} {there[name]}, here {here[name]}: install the same", []).append(worker)
        for line in answer["folders"]:
            found.setdefault(line, []).append(worker)
    for line, workers in found.items():
        return f"worker {workers[0]}{_more(workers)}: {line}"
    kinds = {tuple(a["instructions"]): (w, a["processor"]) for w, a in answers.items()}
    if len(kinds) > 1:
        (one, of_one), (other, of_other) = list(kinds.values())[:2]
        line = (
            f"worker {one} has the processor {of_one}, worker {other} {of_other}: digits would depend on who computes"
        )
        return f"{line}; start workers on one kind of processor (Slurm: --constraint)"
    return ""


def _more(workers) -> str:
    return f" and {len(workers) - 1} more" if len(workers) > 1 else ""


@contextlib.contextmanager
def _tokens(settings: Mapping[str, str]):
    """A file of an unguessable name in each folder that workers write."""
    token = f".shared-{secrets.token_hex(8)}"
    files = [Path(settings[name]) / token for name in SHARED]
    try:
        for name, file in zip(SHARED, files):
            with explained(SHARED[name], file.parent, name):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        yield token
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def run(expected: Mapping[str, str], *arguments, **options):
    """On a worker: `job.run`, unless this worker came after the check and is another than those checked."""
    here = versions() | {"instructions": " ".join(provenance.instructions())}
    other = [f"{name} {here[name]}, not {value}" for name, value in expected.items() if here[name] != value]
    if other:
        from distributed import get_worker

        line = f"worker {get_worker().address}, which came later, has {'; '.join(other)}: stop it or start it as the others"
        return job.Outcome(arguments[3], "refused", 0.0, line)
    return job.run(*arguments, **options)
