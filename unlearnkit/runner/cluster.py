"""Dask clusters that a batch runs on: one of its own on this machine, or a running scheduler."""

import contextlib
import logging
import multiprocessing
import warnings
from collections.abc import Iterator
from pathlib import Path

from unlearnkit.core.disk import explained
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.runner import kernels

PATIENCE = 10  # seconds in which a scheduler must answer


@contextlib.contextmanager
def connected(scheduler: str) -> Iterator:
    """A client of a running scheduler. Raises UnlearnkitError if none answers."""
    import dask
    from distributed import Client

    quiet()
    # a scheduler that is gone is noticed at once and not sought again: the same command goes on with another
    with dask.config.set({"distributed.comm.timeouts.connect": f"{PATIENCE}s"}), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="(?s).*Mismatched versions"
        )  # we say it ourselves, and only what counts
        try:
            client = Client(scheduler, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise UnlearnkitError(
                f"no Dask scheduler answers at {scheduler}: {error}. Start one with `dask scheduler`, or leave --scheduler "
                "out to run on this machine"
            ) from error
        try:
            yield client
        finally:
            # a client whose scheduler is gone waits for it in vain
            with contextlib.suppress(TimeoutError, OSError):
                client.close(timeout=2)


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator:
    """A client of as many one-thread worker processes, which end with this one.

    Raises UnlearnkitError if they cannot be started. No other user of this machine can reach them: all connections are by
    TLS with a certificate that only this cluster has, and there is no dashboard.
    """
    import cryptography  # noqa: F401  makes the certificate; named here if it is missing
    import dask
    from distributed import Client, LocalCluster

    check_shared_memory()
    quiet()
    settings = {
        "distributed.worker.profile.enabled": False,  # it samples each worker every 10 ms, and nobody reads it
        "distributed.worker.daemon": False,  # a daemon may not fork kernels; workers end with their driver without being one
        # Dask has its workers hand freed memory back at once; training would fetch it anew at every step, 1.7 times as slow
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with warnings.catch_warnings(), dask.config.set(settings):
        warnings.filterwarnings("ignore", message="Port .* is already in use")  # a second cluster takes another port
        with explained("the folder for temporary files", Path(kernels.temporary()), "TMPDIR"):
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    memory_limit=None,
                    security=True,
                    silence_logs=logging.CRITICAL,  # on workers, too: an interrupt is no warning
                )
            except RuntimeError as error:  # Dask's "Nanny failed to start", whatever the reason
                why = error.__cause__ or error
                reason = " ".join(f"{type(why).__name__}: {why}".split())
                raise UnlearnkitError(f"the {workers} workers could not be started: {reason}") from error
    with cluster, Client(cluster) as client:
        cluster.scheduler.http_server.stop()  # of pages that nobody asked for
        client.register_plugin(_no_pages())
        yield client


def check_shared_memory() -> None:
    """Raises UnlearnkitError where processes cannot share a lock, as in a container without /dev/shm."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as error:  # ImportError: a Python that was built without it
        reason = getattr(error, "strerror", None) or error
        raise UnlearnkitError(
            f"workers share memory, which this machine does not let them ({reason}): mount /dev/shm writable, in a "
            "container by --shm-size=1g"
        ) from error


def _no_pages():
    from distributed import WorkerPlugin

    class NoPages(WorkerPlugin):
        name = "no-pages"

        def setup(self, worker) -> None:
            worker.http_server.stop()

    return NoPages()


def quiet() -> None:
    """No log lines of the packages below us: what a person needs to know is said in one line."""
    import distributed  # noqa: F401  its loggers have levels of their own from then on

    noisy = ("distributed", "papermill", "traitlets", "tornado", "asyncio")
    for name in (*noisy, *logging.root.manager.loggerDict):
        if name.split(".")[0] in noisy:
            logging.getLogger(name).setLevel(logging.CRITICAL)
