"""Several small files as one, for file systems that count files. What is read of it is unpacked once per process."""

import contextlib
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from unlearnkit.core.disk import drop, take

PACKED = 2**26  # bytes: more are not packed, since unpacking takes as much again of the temporary folder

PREFIX, LOCK = "unlearnkit-", "in-use"

_lock = threading.Lock()


def pack(files: Sequence[Path], archive: Path) -> Path:
    """Write files of one folder into an archive, as they are; equal files make equal archives. Returns its path."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as held:
        for file in files:
            held.writestr(zipfile.ZipInfo(file.name), file.read_bytes())
    return archive


def unpacked(archive: Path, name: str) -> Path:
    """The path of one file of an archive, in a folder that goes when this process ends, or, if it is killed, when the
    next one unpacks something."""
    file = _scratch() / archive.name / name
    with _lock:
        if not file.exists():  # or somebody has cleaned the temporary folder meanwhile
            with zipfile.ZipFile(archive) as held:
                held.extractall(file.parent)
    return file


@cache
def _scratch() -> Path:
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # it goes by itself, or is another user's
            if held := take(lock):  # its process was killed
                shutil.rmtree(lock.parent, ignore_errors=True)
                held.release()
    scratch = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    held = take(Path(scratch.name) / LOCK)

    def end() -> None:
        drop(held)
        scratch.cleanup()

    Finalize(None, end, exitpriority=0)  # a forked kernel runs nothing else at its end
    return Path(scratch.name)
