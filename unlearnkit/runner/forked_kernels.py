"""Kernels that start at once, since they are forked from a process that has imported what nearly every notebook imports.

An ordinary kernel spends 4 to 7 s on torch, torchvision and seaborn; a batch has some hundred kernels, many of which work
for less than that. Python's fork server imports third-party libraries once for each worker. The project's own code is
imported by each kernel, so that a change of it counts. Linux without a GPU only: neither CUDA nor macOS's libraries survive
a fork. `UNLEARNKIT_PRELOAD=0` leaves the imports to the kernels: for notebooks that need none of them.
"""

import multiprocessing
import os
import sys
import tempfile
import threading
from importlib.metadata import EntryPoint
from multiprocessing.process import BaseProcess

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

KERNEL = "ipykernel.kernelapp"
PRELOADED = [
    "transformers.models.llama.modeling_llama",  # first: its tqdm would take an imported ipykernel for a notebook
    KERNEL,
    "torch",
    "torch._dynamo",  # which the first optimiser imports
    "torchvision",
    "pandas",
    "pyarrow.parquet",
    "sklearn.linear_model",
    "sklearn.svm",
    "scipy.stats",
    "seaborn",
]  # what is not installed is left out
NAME = "forked"


def use() -> None:
    """Fork each kernel that this process starts from now on, unless it is a daemon of multiprocessing, which may not."""
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return
    from unlearnkit.runner.kernels import short_folder

    tempfile.tempdir = (
        short_folder()
    )  # the fork server's sockets are there; kernels keep the folder of their environment
    # a kernel's backend, which matplotlib reads when it is imported
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:Forked", factory.GROUP_NAME)
    factory.default_provisioner_name = NAME


class Forked(LocalProvisioner):
    """A local kernel that is started by forking."""

    async def launch_kernel(self, cmd, **kwargs):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED if os.environ.get("UNLEARNKIT_PRELOAD") != "0" else [KERNEL])
        process = context.Process(target=_kernel, args=(cmd[cmd.index("-f") :], kwargs["env"]))
        process.start()
        self.process, self.pid, self.pgid = _Process(process), process.pid, process.pid
        return self.connection_info


class _Process:
    """The part of subprocess.Popen that a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess):
        self.pid, self.poll = process.pid, lambda: process.exitcode
        self._process = process
        self.kill, self.terminate = process.kill, process.terminate

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _kernel(argv: list[str], environment: dict[str, str]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # so that Ctrl-C in the batch's terminal does not reach it
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))  # the fork server: a kernel ends with it
    tempfile.tempdir = None  # which an import of the fork server may have asked for, in another environment
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    IPKernelApp.launch_instance(argv)


def _end_with(worker) -> None:
    """End this kernel when its worker does: the fork server does not, it waits for its kernels."""
    worker.join()
    os._exit(1)
