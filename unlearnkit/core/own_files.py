"""Output folders belong to the user: what is new is made beside, and replaces only what an earlier run wrote there."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unlearnkit.core.errors import BadValue

BESIDE = ".unlearnkit-"  # how the names of folders for what is not finished begin


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A new folder on the same disk as `out`: in it, so that its parent need not be writable, or, if `out` is not there
    yet, in its parent. Afterwards it is gone, and after an error so are parents that had to be made."""
    new = [parent for parent in out.parents if not parent.exists()]
    name = f"{BESIDE}{uuid.uuid4().hex[:8]}"
    beside = out / name if out.is_dir() else out.with_name(f"{name}-{out.name}")  # who finds it knows what it was to be
    try:
        beside.mkdir(parents=True)
        yield beside
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        for parent in new:
            with suppress(OSError):  # somebody else has put something there
                parent.rmdir()
        raise
    shutil.rmtree(beside, ignore_errors=True)


def strangers(out: Path) -> list[str]:
    """What is in a folder beside unfinished things of ours."""
    return sorted(p.name for p in out.iterdir() if not p.name.startswith(BESIDE)) if out.is_dir() else []


def place_new(beside: Path, out: Path) -> None:
    """Make a folder without folders the content of `out`, which is not there or empty, and stays the same folder.

    Raises FileExistsError, and leaves nothing, if there is anything by now.
    """
    if not os.path.lexists(out):
        with suppress(OSError):  # not the error of a folder that somebody has made meanwhile
            os.rename(beside, out)
            return
    if strangers(out):
        raise FileExistsError(f"{out} is not empty")
    placed = []
    try:
        for file in sorted(beside.iterdir()):
            with open(out / file.name, "xb"):  # nobody else's
                placed.append(out / file.name)
            os.replace(file, out / file.name)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        raise


def replace_written(out: Path, beside: Path, mark: str) -> None:
    """Put all files of a folder into `out` in place of those that the last call put there, which the file `mark` lists.

    Raises BadValue, before anything is replaced, if a file is in the way that is none of them, or a link leads out.
    """
    new = {p.relative_to(beside).as_posix() for p in beside.rglob("*") if p.is_file()}
    old = _listed(out / mark)
    away = [f for f in (*sorted(new), *old) if not (out / f).parent.resolve().is_relative_to(out.resolve())]
    taken = [f for f in sorted(new - old) if os.path.lexists(out / f) and old] + away
    if taken:
        raise BadValue(f"{out.name}/{taken[0]} is not of an earlier report: move it away. Nothing was replaced")
    (beside / mark).write_text("".join(f"{f}\n" for f in sorted(new)), encoding="utf-8")
    for name in (*sorted(new), mark):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(beside / name, out / name)
    for name in old - new:
        (out / name).unlink(missing_ok=True)
        for parent in (out / name).relative_to(out).parents:
            with suppress(OSError):  # other files are in it
                (out / parent).rmdir()


def _listed(mark: Path) -> set[str]:
    """The files that a mark lists; none for a mark of version 0.1, which was empty."""
    return set(mark.read_text(encoding="utf-8").splitlines()) if mark.is_file() else set()
