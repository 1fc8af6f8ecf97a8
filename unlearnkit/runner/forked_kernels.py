"""Kernels that start at once: forked from a process that has imported what nearly every notebook imports.

A kernel of its own spends 4 to 7 s on torch, torchvision and seaborn, a batch has some hundred of them, and many work for
less than that. Python's fork server imports them once for each worker: other people's libraries alone, while the project's
own code is read by each kernel, as it is then. For workers without a GPU, on Linux: neither CUDA nor a Mac's libraries may
be shared by a fork.
"""

import multiprocessing
import os
import sys
import threading
from importlib.metadata import EntryPoint
from multiprocessing.process import BaseProcess

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

PRELOADED = [
    "transformers.models.llama.modeling_llama",  # of texts, first: tqdm, which it imports, takes ipykernel for a notebook
    "ipykernel.kernelapp",
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
    """Have each kernel that this process starts from now on forked, if it may: daemons of multiprocessing's may not."""
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return
    os.environ["MPLBACKEND"] = (
        "module://matplotlib_inline.backend_inline"  # a kernel's; read when matplotlib is imported
    )
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:Forked", factory.GROUP_NAME)
    factory.default_provisioner_name = NAME


class Forked(LocalProvisioner):
    """Starts a kernel by forking; all else is as with any local one."""

    async def launch_kernel(self, cmd, **kwargs):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_kernel, args=(cmd[cmd.index("-f") :], kwargs["env"]))
        process.start()
        self.process, self.pid, self.pgid = _Process(process), process.pid, process.pid
        return self.connection_info


class _Process:
    """What a provisioner asks of a subprocess.Popen."""

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

    os.setsid()  # an interrupt of the batch's terminal is not meant for it
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))  # the fork server: a kernel ends with it
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    IPKernelApp.launch_instance(argv)


def _end_with(worker) -> None:
    """And with the worker, for which the fork server itself does not: it waits for its kernels."""
    worker.join()
    os._exit(1)
