"""Batches of small notebooks, for tests of what runs them, and processes of their own that start at once."""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

WORK = """
from pathlib import Path
import os, time
from unlearnkit.core import paths
with open(paths.root() / "trace", "a") as trace:
    trace.write(f"start {n} {os.getpid()}\\n")
"""


def home(folder: Path, monkeypatch) -> Path:
    """An empty project, which this process takes for its own."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(folder))
    monkeypatch.setenv("UNLEARNKIT_PRELOAD", "0")  # these notebooks need no torch
    (folder / "notebooks" / "grids").mkdir(parents=True)
    return folder


def write(home, name, *cells):
    parameters = new_code_cell("n: int = 0  # which", metadata={"tags": ["parameters"]})
    book = new_notebook(cells=[parameters, *map(new_code_cell, cells)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, home / "notebooks" / f"{name}.ipynb")


def grids(home, text):
    (home / "notebooks" / "grids" / "g.yaml").write_text(text)


def trace(home):
    file = home / "trace"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def driver(home, *arguments, **options) -> "Started":
    """`unlearnkit study --profile smoke` in a process of its own."""
    return Started(_driver, list(arguments), **options)


def command(*arguments: str, err: Path | None = None) -> tuple[int, str]:
    """(exit status, what it says) of `unlearnkit ...` in a process of its own, where nothing is registered by a test."""
    run = Started(_command, list(arguments), err=err)
    said = run.wait(120)
    return run.returncode, said


def _driver(arguments: list[str]) -> None:
    _command(["study", "--profile", "smoke", *arguments])


def _command(arguments: list[str]) -> None:
    from unlearnkit.cli import main

    sys.exit(main(arguments))


# what a driver and Dask's commands need: these imports take 4 s and more
IMPORTED = ("unlearnkit.cli", "unlearnkit.methods", "unlearnkit.runner.batch", "papermill")
IMPORTED += ("distributed.cli.dask_worker", "distributed.cli.dask_scheduler")


def serve(*more: str) -> None:
    """Start the one process that all others of this one are forked from, which imports these modules and IMPORTED.

    Who asks for it first decides what it has imported: here neither notebooks' kernels nor `Started` import anything anew.
    """
    multiprocessing.set_forkserver_preload([*more, *IMPORTED])
    forkserver.ensure_running()


@contextlib.contextmanager
def forked_workers():
    """Clusters of this process start their workers from that one, too, with the settings that this process has now.

    A worker that imports all anew takes 3 s: those of `driver` do, and those of a test without this.
    """
    import dask
    import distributed  # noqa: F401  its defaults of what is set here

    serve()
    settings = {name: value for name, value in os.environ.items() if name.startswith("UNLEARNKIT_")}
    given = dask.config.get("distributed.nanny.environ") | settings
    how = {"distributed.worker.multiprocessing-method": "forkserver", "distributed.nanny.environ": given}
    with dask.config.set(how):
        yield


class Started:
    """A function in a process of its own, forked from one that has imported IMPORTED.

    said: a file of what it says, stderr included unless `err` names one. settings: of its environment, beside those of
    this process.
    """

    def __init__(
        self, target: Callable, *arguments, err: Path | None = None, settings: Mapping[str, str] | None = None
    ):
        self._folder = tempfile.TemporaryDirectory()
        self.said = Path(self._folder.name) / "said"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        streams = (str(self.said), str(err or self.said))
        environment = dict(os.environ) | dict(settings or {})
        self._process = context.Process(target=_run, args=(target, arguments, environment, os.getcwd(), *streams))
        self._process.start()
        self.pid, self.kill = self._process.pid, self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float) -> str:
        """What it has said when it has ended."""
        self._process.join(seconds)
        assert self.returncode is not None, f"it has not ended within {seconds} s:\n{self.said.read_text()}"
        return self.said.read_text()


def _run(target: Callable, arguments: tuple, environment: dict, folder: str, out: str, err: str) -> None:
    import dask

    os.setsid()
    for number, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115  as long as the process
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background are not interruptible
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None  # by this environment
    dask.config.refresh()
    target(*arguments)


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(pid) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"


def parent(pid) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
