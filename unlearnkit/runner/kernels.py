"""The kernel of a job: with the job's own environment and time limit, so that jobs may share one process."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from jupyter_client import AsyncKernelManager
from traitlets import Dict, Unicode
from traitlets.config import Config

from unlearnkit.core.errors import StoreError

SOCKET = 80  # characters that a folder of sockets may have: a socket's whole path holds some 100


class JobKernelManager(AsyncKernelManager):
    """Starts a kernel whose environment is `environment` and nothing else."""

    environment = Dict(help="of the kernel").tag(config=True)
    job = Unicode(help="by which `kill` finds it").tag(config=True)
    _running: ClassVar[dict[str, "JobKernelManager"]] = {}

    async def start_kernel(self, **kwargs):
        self._running[self.job] = self
        await super().start_kernel(**kwargs | {"env": dict(self.environment)})


def kill(job: str) -> None:
    """End a job's kernel and what it has started, at once."""
    manager = JobKernelManager._running.get(job)
    provisioner = manager.provisioner if manager else None
    if provisioner is None or provisioner.process is None:
        return
    with suppress(ProcessLookupError):
        if sys.platform != "win32" and provisioner.pgid and provisioner.pgid != os.getpgrp():
            os.killpg(provisioner.pgid, signal.SIGKILL)
        else:
            provisioner.process.kill()


@contextmanager
def configured(environment: Mapping[str, str], seconds: float | None):
    """(the configuration of a notebook client whose kernel has this environment, an event that is set if its time was up).

    seconds: after which the kernel is killed; None for no limit. Raises StoreError if no temporary folder can be written.
    """
    # a folder of its own, since two kernels at one socket talk to each other; one that no other user may enter
    parent = short_folder()
    with temporary_folder("kernel-", parent) as sockets:
        # where no folder is short enough: ports, which kernels guard by a key that only this user reads
        connection = {"transport": "ipc", "ip": f"{sockets}/s"} if len(sockets) <= SOCKET else {}
        managed = {"environment": dict(environment), "job": sockets}
        up = threading.Event()

        def end() -> None:
            up.set()
            kill(sockets)

        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end) if seconds else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield (
                Config(
                    NotebookClient={"kernel_manager_class": f"{__name__}.{JobKernelManager.__name__}"},
                    KernelManager=connection,
                    JobKernelManager=managed,
                ),
                up,
            )
        finally:
            if timer:
                timer.cancel()
            JobKernelManager._running.pop(sockets, None)


def short_folder() -> str:
    """The folder for temporary files, or, if its name is too long for sockets, another that can be written."""
    usual = Path(temporary())
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for folder in (usual, *([Path(runtime)] if runtime else []), Path("/tmp"), Path("/var/tmp")):
        if len(str(folder)) + 20 <= SOCKET and os.access(folder, os.W_OK | os.X_OK):
            return str(folder)
    return str(usual)


@contextmanager
def temporary_folder(prefix: str, parent: str | None = None):
    """The name of an empty folder below `parent`, by default the system's for temporary files; deleted afterwards."""
    try:
        held = tempfile.TemporaryDirectory(prefix=prefix, dir=parent or temporary(), ignore_cleanup_errors=True)
    except OSError as error:
        raise StoreError(
            f"no temporary folder can be made in {parent or temporary()}: {error.strerror}; {HINT}"
        ) from error
    with held as name:
        yield name


HINT = "free some space, or set TMPDIR to another folder"


def temporary() -> str:
    """The folder for temporary files. Raises StoreError if there is none that can be written."""
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise StoreError(f"no folder for temporary files can be written: {error.strerror}; {HINT}") from error
