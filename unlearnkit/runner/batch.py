"""Run a profile's jobs on Dask: an embedded cluster of one-thread worker processes, or any running scheduler.

Where torch sees GPUs there is a worker for each, which sees no other; else there is a worker for each core. Workers end
with their scheduler or driver, and kernels with their worker: a killed run leaves no process behind.
"""

import hashlib
import os
import queue
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.disk import check_writable, warn_of_others
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.core.registry import plugin_names
from unlearnkit.runner import job
from unlearnkit.runner import workers as others
from unlearnkit.runner.board import Board
from unlearnkit.runner.cluster import connected, local_cluster
from unlearnkit.runner.grid import Job
from unlearnkit.runner.limits import Limits, slowness
from unlearnkit.runner.plan import Plan

GONE = "the same command goes on from what is finished"


def run(
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    minutes: float | None = None,
    job_minutes: float | None = None,
) -> list[job.Outcome]:
    """Run the jobs that are not finished yet; prints a line per job and the time left, and every failure in full at the end.

    One job's failure stops only those that wait for it. minutes: begin no job that would probably end later than this;
    such jobs, and those that wait for them, have the outcome "left", and a second call goes on with them. job_minutes: the
    most that one job may take, by default that of unlearnkit.runner.limits. Raises UnlearnkitError when the scheduler
    cannot be reached or goes away, and when its workers are not fit for these jobs.
    """
    outcomes = {j.key: job.Outcome(j.key, "cached", 0.0) for j in jobs if job.finished(j.notebook.stem, j.key)}
    board = Board(jobs, outcomes)
    todo = [j for j in jobs if j.key not in outcomes]
    if todo:
        for what, folder, setting in (
            ("the folder of runs", paths.runs(), "UNLEARNKIT_RUNS"),
            ("the cache", paths.cache(), "UNLEARNKIT_CACHE"),
        ):
            check_writable(what, folder, setting)
            warn_of_others(what, folder, setting)
    if todo and scheduler:
        _on_scheduler(scheduler, todo, outcomes, board, minutes, job_minutes)
    elif todo:
        gpus = job.gpus()
        with local_cluster(min(workers or len(gpus) or os.cpu_count() or 1, len(todo))) as client:
            limits = Limits(job_minutes, slowness())
            where = _Where(client, "this machine", environment(), limits, {"gpus": gpus, "fork": not gpus})
            _drive(where, todo, outcomes, board, minutes)
    board.summary()
    return [outcomes.get(j.key, job.Outcome(j.key, "left", 0.0)) for j in jobs]


@dataclass(frozen=True)
class _Where:
    """Where jobs run. options: of job.run; fit: of workers that others started, see unlearnkit.runner.workers."""

    client: Any  # of Dask, which is imported late
    name: str
    settings: Mapping[str, str]
    limits: Limits
    options: Mapping[str, object] = field(default_factory=dict)
    fit: others.Fit | None = None

    def submit(self, j: Job, place: int):
        """A future of the job's outcome. Its key is of this checkout and folder alone: no other is served by it."""
        arguments = (j.notebook.stem, str(j.notebook), j.parameters, j.key, self.settings)
        options = dict(self.options) | {"limit": self.limits(j.notebook.stem)}
        places = [self.settings[name] for name in ("UNLEARNKIT_HOME", "UNLEARNKIT_RUNS")]
        own = hashlib.sha256("\0".join([*places, code.version()]).encode()).hexdigest()[:12]
        common = {"key": f"{j.notebook.stem}-{j.key}-{own}", "pure": False, "priority": -place}
        if self.fit:
            return self.client.submit(others.run, self.fit.expected, *arguments, **options, **common)
        return self.client.submit(job.run, *arguments, **options, **common)


def _on_scheduler(scheduler: str, todo: list[Job], outcomes: dict, board: Board, minutes, job_minutes) -> None:
    settings = environment()
    try:
        with connected(scheduler) as client:
            fit = others.wait_until_fit(client, scheduler, settings)
            limits = Limits(job_minutes, fit.slowness)
            _drive(_Where(client, scheduler, settings, limits, fit=fit), todo, outcomes, board, minutes)
    except OSError as error:  # Dask's for a connection that broke
        if isinstance(error, UnlearnkitError):
            raise
        raise UnlearnkitError(f"the scheduler at {scheduler} is gone ({error}): {GONE}") from error


def _drive(where: _Where, todo: list[Job], outcomes: dict, board: Board, minutes: float | None) -> None:
    plan = Plan(todo, {key: outcome.state == "failed" for key, outcome in outcomes.items()})
    place = {j.key: i for i, j in enumerate(todo)}
    ended: queue.SimpleQueue = queue.SimpleQueue()
    running: dict[str, object] = {}  # the futures: Dask forgets a job that nobody holds
    took: dict[str, list[float]] = {}  # notebook: [seconds, jobs] of this run
    print(where.limits.said([j.notebook.stem for j in todo]), flush=True)

    def submit_ready() -> None:
        """As many as there are workers: Dask may queue more behind a long job on one worker while another is idle."""
        most = max(1, sum(where.client.nthreads().values()))
        if len(running) < most:
            for j in plan.take(ends_in_time):
                running[j.key] = future = where.submit(j, place[j.key])
                future.add_done_callback(lambda future, j=j: ended.put((j, future)))
                if len(running) >= most:
                    break

    def ends_in_time(j: Job) -> bool:
        """By the mean wall time of this notebook's jobs, in this run or else in earlier ones; 0 where there are none."""
        if minutes is None:
            return True
        if j.notebook.stem not in took:
            earlier = job.wall_times(j.notebook.stem)
            mean = sum(earlier) / len(earlier) if earlier else 0.0
        else:
            seconds, number = took[j.notebook.stem]
            mean = seconds / number
        return board.seconds() + mean < 60 * minutes

    submit_ready()
    watch = _Watch(where)
    while running:
        try:
            j, future = ended.get(timeout=1)
        except queue.Empty:
            watch.look()
            submit_ready()  # workers may have joined
            continue
        outcome = _outcome(j, future, where)
        del running[j.key]
        outcomes[j.key] = outcome
        board.line(j, outcome)
        if outcome.state == "ran":
            seconds, number = took.get(j.notebook.stem, (0.0, 0))
            took[j.notebook.stem] = [seconds + outcome.seconds, number + 1]
        plan.ended(j.key, outcome.state == "failed")
        for lost in plan.lost():
            outcomes[lost.key] = job.Outcome(lost.key, "failed", 0.0, "not run: a job that it waits for failed")
            board.line(lost, outcomes[lost.key])
        submit_ready()


def _outcome(j: Job, future, where: _Where) -> job.Outcome:
    if future.cancelled() or future.status == "cancelled":
        raise UnlearnkitError(f"the scheduler at {where.name} is gone: {GONE}")
    error = future.exception()
    if error is not None:
        return job.Outcome(j.key, "failed", 0.0, _explain(error))
    outcome = future.result()
    if outcome.state == "refused":
        raise UnlearnkitError(f"{outcome.error}. {GONE[0].upper()}{GONE[1:]}")
    if where.fit and outcome.state in ("ran", "cached") and (unseen := _unseen(j)):
        return replace(outcome, state="failed", error=f"it ran, but {unseen}: workers must share that folder")
    return outcome


def _unseen(j: Job) -> str:
    """What of a job that has run is not here, "" if all is. A network share may show it some seconds late."""
    end = time.monotonic() + others.NEVER_SEEN
    manifest = job.folder(j.notebook.stem, j.key) / "manifest.json"
    while time.monotonic() < end:
        if manifest.is_file() and job.finished(j.notebook.stem, j.key):
            return ""
        if manifest.parent.parent.is_dir():
            os.listdir(manifest.parent.parent)  # it looks anew
        time.sleep(0.2)
    if manifest.is_file():
        return f"what it published is not in {paths.root()} as this machine sees it"
    return f"its manifest is not in {manifest.parent.parent} as this machine sees it"


class _Watch:
    """Looks, while jobs run, whether the scheduler is still there and has workers."""

    def __init__(self, where: _Where):
        self.where, self.alone, self.said = where, None, 0.0

    def look(self) -> None:
        if self.where.client.status not in ("running", "newly-created"):
            raise UnlearnkitError(f"the scheduler at {self.where.name} is gone: {GONE}")
        now = time.monotonic()
        if self.where.client.scheduler_info(n_workers=1)["n_workers"]:
            self.alone = None
            return
        self.alone = self.alone or now
        if now - self.alone >= others.FIRST and now - self.said >= others.AGAIN:
            self.said = now
            print(f"{self.where.name} has no worker any more: its jobs wait until one comes", flush=True)


def environment() -> dict[str, str]:
    """The project's settings for a worker, which may run in another folder: with all paths absolute."""
    settings = {k: v for k, v in os.environ.items() if k.startswith("UNLEARNKIT_") and k != "UNLEARNKIT_JOB_LOG"}
    settings |= {"UNLEARNKIT_HOME": str(paths.root()), "UNLEARNKIT_CACHE": str(paths.cache())}
    settings |= {"UNLEARNKIT_DATA": str(paths.data()), "UNLEARNKIT_TUNED": str(paths.tuned())}
    settings |= {"UNLEARNKIT_RUNS": str(paths.runs())}
    return settings | {"UNLEARNKIT_PLUGINS": ",".join(plugin_names())}


def _explain(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the workers that ran it were killed again and again; is there enough memory? Try --workers 1"
    return str(error) if isinstance(error, UnlearnkitError) else f"{type(error).__name__}: {error}"
