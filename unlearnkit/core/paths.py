"""The folders of the project. None depends on the working directory: notebooks run in several."""

import functools
import hashlib
import json
import os
from pathlib import Path, PurePath

from unlearnkit.core.errors import BadValue


def root() -> Path:
    """The project: `UNLEARNKIT_HOME`, else the nearest folder upwards with `notebooks/grids`, else this checkout.

    An installed library without a checkout works in the current folder.
    """
    if home := os.environ.get("UNLEARNKIT_HOME"):
        return at(home).resolve()
    here, package = Path.cwd(), Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, package.parent):
        if (folder / "notebooks" / "grids").is_dir():
            return folder
    return here


def at(place: str | Path) -> Path:
    """A path as a user writes it, in a setting, a parameter or a command: ~ is the home folder."""
    return Path(os.path.expanduser(place))  # Path.expanduser raises where there is no such user


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
    return Path(here, at(path)).resolve()


def data() -> Path:
    """Datasets that are not part of a package, as torchvision lays them out: `UNLEARNKIT_DATA`, else in the cache."""
    return at(os.environ.get("UNLEARNKIT_DATA") or cache() / "data").resolve()


def runs() -> Path:
    """Executed notebooks with their manifests."""
    return at(os.environ.get("UNLEARNKIT_RUNS") or root() / "results" / "runs").resolve()


def tuned() -> Path:
    """Tuned options of methods: `UNLEARNKIT_TUNED`, else in the results."""
    return at(os.environ.get("UNLEARNKIT_TUNED") or root() / "results" / "tuned").resolve()


def dataset_id(name: str) -> str:
    """What a data set is called in tables and folders: its name; for one in a folder, whose file name another may have,
    the last part of its path and a digest of the path, as it was given."""
    path = PurePath(os.path.normpath(at(name)))
    if path.name == name:
        return name
    return f"{path.name}-{hashlib.sha256(path.as_posix().encode(errors='surrogateescape')).hexdigest()[:8]}"


def note(what: str, value: str) -> None:
    """Inside a batch job, log what was read or written, for the batch runner: a line in the file that it named."""
    if log := os.environ.get("UNLEARNKIT_JOB_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps([what, value]) + "\n")
