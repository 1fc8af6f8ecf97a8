"""The folders of the project. None depends on the working directory: notebooks run in several."""

import functools
import json
import os
from pathlib import Path

from unlearnkit.core.errors import BadValue


def root() -> Path:
    """The project: `UNLEARNKIT_HOME`, else the nearest folder upwards with `notebooks/grids`, else this checkout.

    An installed library without a checkout works in the current folder.
    """
    if home := os.environ.get("UNLEARNKIT_HOME"):
        return Path(home).resolve()
    here, package = Path.cwd(), Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, package.parent):
        if (folder / "notebooks" / "grids").is_dir():
            return folder
    return here


def in_checkout() -> bool:
    """Whether `root` has the notebooks and their grids, which an installed library does not bring along."""
    return (root() / "notebooks" / "grids").is_dir()


def need_checkout(what: str) -> None:
    """Raises BadValue, saying what `what` needs, outside of a checkout."""
    if not in_checkout():
        raise BadValue(
            f"{what} needs the project's notebooks and results, and {root()} has no notebooks/grids: run it in a checkout "
            "of the project, or set UNLEARNKIT_HOME to one"
        )


def cache() -> Path:
    """Stored artefacts: `UNLEARNKIT_CACHE`, else in the results."""
    return _resolved(os.environ.get("UNLEARNKIT_CACHE") or str(root() / "results" / "cache"), os.getcwd())


@functools.cache
def _resolved(path: str, here: str) -> Path:
    """Cached: it is called thousands of times in a run, and each call walks through the file system."""
    return Path(here, path).resolve()


def data() -> Path:
    """Datasets that are not part of a package, as torchvision lays them out: `UNLEARNKIT_DATA`, else in the cache."""
    return Path(os.environ.get("UNLEARNKIT_DATA") or cache() / "data").resolve()


def runs() -> Path:
    """Executed notebooks with their manifests."""
    return Path(os.environ.get("UNLEARNKIT_RUNS") or root() / "results" / "runs").resolve()


def tuned() -> Path:
    """Tuned options of methods: `UNLEARNKIT_TUNED`, else in the results."""
    return Path(os.environ.get("UNLEARNKIT_TUNED") or root() / "results" / "tuned").resolve()


def note(what: str, value: str) -> None:
    """Inside a batch job, log what was read or written, for the batch runner: a line in the file that it named."""
    if log := os.environ.get("UNLEARNKIT_JOB_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps([what, value]) + "\n")
