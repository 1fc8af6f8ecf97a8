"""Run a profile's jobs on Dask: an embedded cluster of one-thread worker processes, or any running scheduler.

Where torch sees GPUs there is a worker for each, which sees no other; else there is a worker for each core. Workers end
with their scheduler or driver, and kernels with their worker: a killed run leaves no process behind.
"""

import contextlib
import logging
import math
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

PATIENCE = 10  # seconds in which a scheduler must answer


def run(
    jobs: Sequence[Job], *, workers: int | None = None, scheduler: str | None = None, minutes: float | None = None
) -> list[job.Outcome]:
    """Run the jobs that are not finished yet; prints a line per job and the time left, and every failure in full at the end.

    One job's failure stops only those that wait for it. minutes: begin no job that would probably end later than this;
    such jobs, and those that wait for them, have the outcome "left", and a second call goes on with them. Raises
    UnlearnkitError when the scheduler cannot be reached.
    """
    outcomes = {j.key: job.Outcome(j.key, "cached", 0.0) for j in jobs if job.finished(j.notebook.stem, j.key)}
    board = _Board(jobs, outcomes)
    todo = [j for j in jobs if j.key not in outcomes]
    if todo:
        gpus = [] if scheduler else job.gpus()  # on a running cluster whoever starts the workers decides
        with _client(min(workers or len(gpus) or os.cpu_count() or 1, len(todo)), scheduler) as client:
            _drive(client, todo, outcomes, board, gpus, fork=not (scheduler or gpus), minutes=minutes)
    board.summary()
    return [outcomes.get(j.key, job.Outcome(j.key, "left", 0.0)) for j in jobs]


def _drive(
    client, todo: list[Job], outcomes: dict, board: "_Board", gpus: Sequence[str], *, fork: bool, minutes: float | None
) -> None:
    from distributed import as_completed

    settings = environment()
    waiting, running, futures = list(todo), set(), as_completed()
    place = {j.key: i for i, j in enumerate(todo)}
    by_name = {f"{j.notebook.stem}-{j.key}": j for j in todo}

    def submit_ready() -> None:
        at_once = math.inf if minutes is None else sum(client.nthreads().values())
        for j in [*waiting]:
            if any(k in outcomes and outcomes[k].state == "failed" for k in j.after):
                waiting.remove(j)
                outcomes[j.key] = job.Outcome(j.key, "failed", 0.0, "not run: a job that it waits for failed")
                board.line(j, outcomes[j.key])
                return submit_ready()
            if all(k in outcomes for k in j.after) and len(running) < at_once and ends_in_time(j):
                waiting.remove(j)
                running.add(j.key)
                arguments = (j.notebook.stem, str(j.notebook), j.parameters, j.key, settings, gpus, fork)
                name = f"{j.notebook.stem}-{j.key}"
                futures.add(client.submit(job.run, *arguments, key=name, pure=False, priority=-place[j.key]))

    def ends_in_time(j: Job) -> bool:
        """By the mean wall time of this notebook's jobs, in this run or else in earlier ones; 0 where there are none."""
        if minutes is None:
            return True
        done = [outcomes[i.key] for i in todo if i.key in outcomes and i.notebook == j.notebook]
        seconds = [o.seconds for o in done if o.state == "ran"] or job.wall_times(j.notebook.stem) or [0.0]
        return board.seconds() + sum(seconds) / len(seconds) < 60 * minutes

    submit_ready()
    for future in futures:
        j = by_name[future.key]
        running.remove(j.key)
        error = future.exception()
        outcomes[j.key] = future.result() if error is None else job.Outcome(j.key, "failed", 0.0, _explain(error))
        board.line(j, outcomes[j.key])
        submit_ready()


def environment() -> dict[str, str]:
    """The project's settings for a worker, which may run in another folder."""
    settings = {k: v for k, v in os.environ.items() if k.startswith("UNLEARNKIT_")}
    settings |= {"UNLEARNKIT_HOME": str(paths.root()), "UNLEARNKIT_CACHE": str(paths.cache())}
    settings |= {"UNLEARNKIT_DATA": str(paths.data()), "UNLEARNKIT_TUNED": str(paths.tuned())}
    return settings | {"UNLEARNKIT_PLUGINS": ",".join(plugin_names())}


def _explain(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the workers that ran it were killed again and again; is there enough memory? Try --workers 1"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None):
    from distributed import Client

    for name in ("distributed", "papermill", "traitlets"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not scheduler:
        with local_cluster(workers) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise UnlearnkitError(
            f"no Dask scheduler answers at {scheduler}: {error}. Start one with `dask scheduler`, or leave --scheduler "
            "out to run on this machine"
        ) from error
    with client:
        client.run(_keep_freed_memory)
        yield client


def _keep_freed_memory() -> None:
    """On a worker that others started: its kernels do not inherit what `local_cluster` switches off for its own."""
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)


@contextlib.contextmanager
def local_cluster(workers: int):
    """A client of as many one-thread worker processes, which end with this one."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    settings = {
        "distributed.worker.profile.enabled": False,  # it samples each worker every 10 ms, and nobody reads it
        "distributed.worker.daemon": False,  # a daemon may not fork kernels; workers end with their driver without being one
        # Dask has its workers hand freed memory back at once; training would fetch it anew at every step, 1.7 times as slow
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    }
    with warnings.catch_warnings(), dask.config.set(settings):
        warnings.filterwarnings("ignore", message="Port .* is already in use")  # a second cluster takes another port
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None,
            silence_logs=logging.CRITICAL,  # on workers, too: an interrupt is no warning
        )  # fmt: skip
    with cluster, Client(cluster) as client:
        yield client


class _Board:
    """The lines that a person watches."""

    def __init__(self, jobs: Sequence[Job], outcomes: dict):
        self.jobs, self.outcomes, self.start = jobs, outcomes, time.monotonic()
        self.cached = len(outcomes)

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def line(self, j: Job, outcome: job.Outcome) -> None:
        done, total = len(self.outcomes), len(self.jobs)
        left = self.seconds() / max(done - self.cached, 1) * (total - done)
        tail = f"about {duration(left)} left" if done < total else f"in {duration(self.seconds())}"
        print(
            f"[{done}/{total}] {outcome.state} {j.label} ({outcome.seconds:.0f} s) | {self._counts()}, {tail}",
            flush=True,
        )

    def summary(self) -> None:
        for j in self.jobs:
            if j.key in self.outcomes and self.outcomes[j.key].state == "failed":
                print(f"\nFAILED {j.label}\n{self.outcomes[j.key].error}", file=sys.stderr)
        print(f"{len(self.jobs)} jobs: {self._counts()} in {duration(self.seconds())}", flush=True)
        left = Counter(j.notebook.stem for j in self.jobs if j.key not in self.outcomes)
        if left:
            names = ", ".join(f"{n} of {stem}" for stem, n in left.items())
            print(f"{left.total()} jobs are left ({names}): the same command goes on with them", flush=True)

    def _counts(self) -> str:
        count = Counter(outcome.state for outcome in self.outcomes.values())
        return ", ".join(f"{state} {count[state]}" for state in ("ran", "cached", "failed"))
