"""Batches of small notebooks, for tests of what runs them."""

import os
import signal
import subprocess
import sys
import time
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


def driver(home, *arguments):
    command = [sys.executable, "-m", "unlearnkit.cli", "study", "--profile", "smoke", *arguments]
    interruptible = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731  tests in the background are not
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ.copy(), preexec_fn=interruptible, **streams)


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
