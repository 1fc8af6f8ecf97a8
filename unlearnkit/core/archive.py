"""Several small files as one, for file systems that count files. What is read of it is unpacked once per process."""

import tempfile
import threading
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKED = (
    2**26
)  # bytes: more than these are not packed, since unpacking would take as much again of the temporary folder

_lock = threading.Lock()


def pack(files: Sequence[Path], archive: Path) -> Path:
    """Write files of one folder into an archive, as they are; equal files make equal archives. Returns its path."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as held:
        for file in files:
            held.writestr(zipfile.ZipInfo(file.name), file.read_bytes())
    return archive


def unpacked(archive: Path, name: str) -> Path:
    """The path of one file of an archive, in a folder that goes when this process ends."""
    file = Path(_scratch().name) / archive.name / name
    with _lock:
        if not file.exists():  # or somebody has cleaned the temporary folder meanwhile
            with zipfile.ZipFile(archive) as held:
                held.extractall(file.parent)
    return file


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="unlearnkit-", ignore_cleanup_errors=True)
