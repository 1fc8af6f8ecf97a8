"""The SHA-256 of a file, computed once as long as the file stays as it is."""

import hashlib
from functools import cache
from pathlib import Path


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, 64 hexadecimal digits. Raises OSError for a file that cannot be read."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
