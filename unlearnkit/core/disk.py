"""Folders that several processes write: locks that leave no file behind, and errors that say what to do."""

import contextlib
import errno
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from unlearnkit.core.errors import StoreError

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "there is no permission to write",
    errno.EPERM: "there is no permission to write",
    errno.ENOENT: "a folder of its path is not there",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EISDIR: "a folder is in its place",
    errno.ELOOP: "its path leads back to itself",
    errno.EEXIST: "a file is in its place",
    errno.ENOTEMPTY: "a folder in its place is not empty",
    errno.ENAMETOOLONG: "its path is too long",
    errno.EINVAL: "its path is not one",
    errno.EIO: "the disk fails",
    errno.ESTALE: "the network share is gone",
    errno.EMFILE: "too many files are open (see ulimit -n)",
}


@contextlib.contextmanager
def explained(what: str, folder: Path, setting: str = ""):
    """Turns an OSError that a user can do something about into a StoreError of one line, which names the folder.

    setting: what it is named by, "" for an argument.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno not in REASONS:
            raise
        raise StoreError(
            f"cannot write to {what} ({folder}): {REASONS[error.errno]}. Nothing half-written was kept; all that was "
            f"finished is. Free some space, or {f'set {setting} to' if setting else 'name'} another folder."
        ) from error


def check_writable(what: str, folder: Path, setting: str) -> None:
    """Make a folder, if it is not there. Raises StoreError, in one line, if nothing can be written to it: before the work
    whose result is to go there."""
    with explained(what, folder, setting):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def warn_of_others(what: str, folder: Path, setting: str) -> None:
    """Say on stderr, once, if other users can put files into a folder, or own it: what is read of it may then be theirs.

    A digest shows damage, not who wrote a file. The superuser's folders are no concern: they can change anything.
    """
    if folder in _looked_at or not hasattr(os, "geteuid"):
        return
    _looked_at.add(folder)
    try:
        state = folder.stat()
    except OSError:
        return  # it will be made here
    own = f"or set {setting} to a folder of your own"
    if state.st_mode & stat.S_IWOTH:
        print(f"{what} ({folder}) can be written by every user here, so what it holds may be anyone's: "
              f"`chmod o-w {folder}`, {own}", file=sys.stderr)  # fmt: skip
    elif state.st_uid not in (os.geteuid(), SUPERUSER):
        print(f"{what} ({folder}) belongs to another user (number {state.st_uid}), so what it holds may be theirs: go on if "
              f"you share it, {own}", file=sys.stderr)  # fmt: skip


SUPERUSER = 0
_looked_at: set[Path] = set()


def take(path: Path) -> FileLock | None:
    """The lock of this path, if nobody holds it; the system frees it if this process is killed. See `drop`."""
    held = FileLock(path, timeout=0, thread_local=False)
    while True:
        try:
            held.acquire()
        except Timeout:
            return None
        if _guards(held, path):
            return held
        held.release()  # its file was deleted by the holder before us: another may hold the name by now


def drop(held: FileLock) -> None:
    """Give a lock back. Its file goes while it is still held, so that nobody else's is deleted."""
    with contextlib.suppress(OSError):  # where an open file cannot be deleted it stays
        os.unlink(held.lock_file)
    held.release()


@contextlib.contextmanager
def lock(path: Path, poll: float = 0.05) -> Iterator[None]:
    """Hold the lock of this path, after any other process or thread that does."""
    while (held := take(path)) is None:
        time.sleep(poll)
    try:
        yield
    finally:
        drop(held)


def _guards(held: FileLock, path: Path) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(held._context.lock_file_fd)
    except FileNotFoundError:
        return False
    except (AttributeError, TypeError):  # a kind of lock without an open file: its existence is the lock
        return True
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
