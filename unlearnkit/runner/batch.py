"""Run a profile's jobs on Dask: an embedded cluster of one-thread worker processes, or any running scheduler.

Where torch sees GPUs there is a worker for each, which sees no other; else a worker for each core. Workers end when their
scheduler or driver does, and kernels when their worker does: a killed run leaves nothing at work.
"""

import contextlib
import logging
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence

from unlearnkit.core import paths
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.core.progress import duration
from unlearnkit.core.registry import plugin_names
from unlearnkit.runner import job
from unlearnkit.runner.grid import Job


def run(jobs: Sequence[Job], *, workers: int | None = None, scheduler: str | None = None) -> list[job.Outcome]:
    """Run what is not finished yet; prints a line per job and the time left, and every failure in full at the end.

    One job's failure stops only those that wait for it. Raises UnlearnkitError when the scheduler cannot be reached.
    """
    outcomes = {j.key: job.Outcome(j.key, "cached", 0.0) for j in jobs if job.finished(j.notebook.stem, j.key)}
    board = _Board(jobs, outcomes)
    todo = [j for j in jobs if j.key not in outcomes]
    if todo:
        own = [] if scheduler else job.gpus()  # on a running cluster whoever starts the workers decides
        with _client(min(workers or len(own) or os.cpu_count() or 1, len(todo)), scheduler) as client:
            _drive(client, todo, outcomes, board, own, fork=not (scheduler or own))
    board.summary()
    return [outcomes[j.key] for j in jobs]


def _drive(client, todo: list[Job], outcomes: dict, board: "_Board", own: Sequence[str], *, fork: bool) -> None:
    from distributed import as_completed

    settings = environment()
    waiting, futures = list(todo), as_completed()

    def submit_ready() -> None:
        for j in [*waiting]:
            failed = [k for k in j.after if k in outcomes and outcomes[k].state == "failed"]
            if failed:
                waiting.remove(j)
                outcomes[j.key] = job.Outcome(j.key, "failed", 0.0, "not run: a job that it waits for failed")
                board.line(j, outcomes[j.key])
                return submit_ready()
            if all(k in outcomes for k in j.after):
                waiting.remove(j)
                arguments = (j.notebook.stem, str(j.notebook), j.parameters, j.key, settings, own, fork)
                name = f"{j.notebook.stem}-{j.key}"
                futures.add(client.submit(job.run, *arguments, key=name, pure=False, priority=-place[j.key]))

    place = {j.key: i for i, j in enumerate(todo)}
    by_key = {f"{j.notebook.stem}-{j.key}": j for j in todo}
    submit_ready()
    for future in futures:
        j = by_key[future.key]
        error = future.exception()
        outcomes[j.key] = future.result() if error is None else job.Outcome(j.key, "failed", 0.0, _explain(error))
        board.line(j, outcomes[j.key])
        submit_ready()


def environment() -> dict[str, str]:
    """The project's settings for a worker, which may run in another folder."""
    found = {k: v for k, v in os.environ.items() if k.startswith("UNLEARNKIT_")}
    found |= {"UNLEARNKIT_HOME": str(paths.root()), "UNLEARNKIT_CACHE": str(paths.cache())}
    found |= {"UNLEARNKIT_DATA": str(paths.data()), "UNLEARNKIT_TUNED": str(paths.tuned())}
    return found | {"UNLEARNKIT_PLUGINS": ",".join(plugin_names())}


def _explain(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the workers that ran it were killed again and again; is there enough memory? Try --workers 1"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None):
    from distributed import Client

    for name in ("distributed", "papermill", "traitlets"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise UnlearnkitError(
                f"no Dask scheduler answers at {scheduler}: {error}. Start one with `dask scheduler`, or leave --scheduler "
                "out to run on this machine"
            ) from error
        with client:
            yield client
        return
    with local_cluster(workers) as client:
        yield client


@contextlib.contextmanager
def local_cluster(workers: int):
    """A client of as many one-thread worker processes, which end with this one."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    # the profiler looks at each worker every 10 ms, and nobody reads it; a daemon may not fork kernels, and workers end with
    # their driver without being one; a second cluster finds the usual port taken, and uses another
    settings = {"distributed.worker.profile.enabled": False, "distributed.worker.daemon": False}
    with warnings.catch_warnings(), dask.config.set(settings):
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
        )
    with cluster, Client(cluster) as client:
        yield client


class _Board:
    """The lines that a person watches."""

    def __init__(self, jobs: Sequence[Job], outcomes: dict):
        self.jobs, self.outcomes, self.start = jobs, outcomes, time.monotonic()
        self.cached = len(outcomes)

    def line(self, j: Job, outcome: job.Outcome) -> None:
        count = Counter(o.state for o in self.outcomes.values())
        done, total = len(self.outcomes), len(self.jobs)
        left = (time.monotonic() - self.start) / max(done - self.cached, 1) * (total - done)
        counts = f"ran {count['ran']}, cached {count['cached']}, failed {count['failed']}"
        tail = f"about {duration(left)} left" if done < total else f"in {duration(time.monotonic() - self.start)}"
        print(f"[{done}/{total}] {outcome.state} {j.label} ({outcome.seconds:.0f} s) | {counts}, {tail}", flush=True)

    def summary(self) -> None:
        count = Counter(o.state for o in self.outcomes.values())
        failed = [(j, self.outcomes[j.key]) for j in self.jobs if self.outcomes[j.key].state == "failed"]
        for j, outcome in failed:
            print(f"\nFAILED {j.label}\n{outcome.error}", file=sys.stderr)
        print(
            f"{len(self.jobs)} jobs: ran {count['ran']}, cached {count['cached']}, failed {count['failed']} "
            f"in {duration(time.monotonic() - self.start)}",
            flush=True,
        )
