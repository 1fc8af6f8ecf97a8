"""Run one notebook as a job: completed or not at all, with a manifest written last."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from unlearnkit.core import paths
from unlearnkit.core.store import provenance


@dataclass(frozen=True)
class Outcome:
    """state: "ran", "cached" or "failed"; `error` says what failed: cell, source, exception."""

    key: str
    state: str
    seconds: float
    error: str = ""


def folder(stem: str, key: str) -> Path:
    return paths.runs() / stem / key


def finished(stem: str, key: str) -> bool:
    """Whether the job's manifest is there and all files that it wrote are as it wrote them."""
    try:
        manifest = json.loads((folder(stem, key) / "manifest.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return all(_digest(paths.root() / file) == digest for file, digest in manifest["outputs"].items())


def wall_times(stem: str) -> list[float]:
    """Seconds that each finished job of a notebook took, with whatever parameters."""
    return [json.loads(file.read_text())["seconds"] for file in (paths.runs() / stem).glob("*/manifest.json")]


def wall_time(stem: str, key: str) -> float:
    """Seconds that a finished job took."""
    return json.loads((folder(stem, key) / "manifest.json").read_text())["seconds"]


def run(
    stem: str,
    path: str,
    parameters: dict,
    key: str,
    environment: dict | None = None,
    gpus: Sequence[str] = (),
    fork: bool = False,
) -> Outcome:
    """Execute the notebook with papermill in this process, after any other process that is at the same job.

    gpus: see `choose_gpu`; fork: see unlearnkit.runner.forked_kernels.
    """
    start = time.monotonic()
    os.environ.update(environment or {})
    choose_gpu(gpus)
    if fork:
        from unlearnkit.runner import forked_kernels

        forked_kernels.use()
    parent = paths.runs() / stem
    (paths.runs() / "locks").mkdir(parents=True, exist_ok=True)
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(paths.runs() / "locks" / key):
        if finished(stem, key):
            return Outcome(key, "cached", time.monotonic() - start)
        with tempfile.TemporaryDirectory(prefix=f".{key}-", dir=parent) as beside:
            error = execute(Path(path), Path(beside), parameters)
            seconds = time.monotonic() - start
            if error:
                with contextlib.suppress(FileNotFoundError):  # a kernel that would not start leaves none
                    shutil.copy(Path(beside) / "notebook.ipynb", parent / f"failed-{key}.ipynb")
                return Outcome(key, "failed", seconds, error)
            _publish(Path(beside), stem, key, parameters, seconds)
    return Outcome(key, "ran", seconds)


def gpus() -> list[str]:
    """The name in CUDA_VISIBLE_DEVICES of each GPU that torch sees here: its number, if the variable is not set."""
    import torch  # here alone: a worker does without, and its kernel imports it

    count = torch.cuda.device_count()
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (names or [str(i) for i in range(count)])[:count]


def choose_gpu(gpus: Sequence[str]) -> None:
    """Let worker i of a local cluster, and the kernels that it starts, see GPU i modulo their number alone.

    To be called before anything asks CUDA for a device. Does nothing outside a worker.
    """
    from distributed import get_worker

    with contextlib.suppress(ValueError):  # not on a worker
        name = get_worker().name
        if gpus and isinstance(name, int):
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[name % len(gpus)]


def execute(path: Path, out: Path, parameters: dict) -> str:
    """Run a notebook into the folder `out`; returns "", or what went wrong.

    papermill's return is not proof enough: after a killed kernel there are cells that never ran.
    """
    import nbformat
    import papermill
    from traitlets.config import Config

    log = out / "log.jsonl"
    os.environ["UNLEARNKIT_JOB_LOG"] = str(log)
    # this environment's kernel, not one of the same name in the home folder
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    # a folder of its own, since two kernels at one socket talk to each other, with a short name, as sockets need
    sockets = tempfile.mkdtemp(prefix="kernel-")
    try:
        papermill.execute_notebook(
            str(path),
            str(out / "notebook.ipynb"),
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=50"],  # a kernel logs the interrupt that ends it as an error
            config=Config(
                {"KernelManager": {"transport": "ipc", "ip": f"{sockets}/s"}}
            ),  # two kernels may get one port
        )
    except papermill.PapermillExecutionError as error:
        return f"cell {error.exec_count}:\n{_indent(error.source)}\n{error.ename}: {error.evalue}"
    except Exception as error:  # the kernel died, or would not start: this job's failure, not the batch's
        return f"{type(error).__name__}: {error}"
    finally:
        os.environ.pop("UNLEARNKIT_JOB_LOG", None)
        shutil.rmtree(sockets, ignore_errors=True)
    executed = nbformat.read(out / "notebook.ipynb", as_version=4)
    left = [c for c in executed.cells if c.cell_type == "code" and c.source.strip() and not c.execution_count]
    return f"{len(left)} cells never ran, the first:\n{_indent(left[0].source)}" if left else ""


def _indent(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.strip().split("\n"))


def _publish(beside: Path, stem: str, key: str, parameters: dict, seconds: float) -> None:
    log = beside / "log.jsonl"
    notes = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    outputs = {value: _digest(paths.root() / value) for what, value in notes if what == "output"}
    manifest = {
        "key": key,
        "notebook": stem,
        "parameters": parameters,
        "artefacts": sorted({value for what, value in notes if what == "artefact"}),
        "outputs": outputs,
        "seconds": round(seconds, 2),
        "made": provenance(),
    }
    log.unlink(missing_ok=True)
    (beside / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    final = folder(stem, key)
    if final.exists():  # an earlier run whose outputs have changed since
        shutil.rmtree(final)
    os.rename(beside, final)
    Path(beside).mkdir()  # for TemporaryDirectory to remove


def _digest(file: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return None
