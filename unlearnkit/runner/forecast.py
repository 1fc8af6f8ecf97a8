"""What a batch is about to run, about how long that takes on this machine, and where its results stand afterwards."""

import csv
from collections.abc import Sequence

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue
from unlearnkit.core.progress import duration
from unlearnkit.runner import calibration, job
from unlearnkit.runner.grid import Job

ENOUGH = 5  # jobs that ran here; with fewer a calibration says how fast the machine is


def announced(profile: str, jobs: Sequence[Job], workers: int, minutes: float | None = None) -> str:
    """Two lines to print before a batch starts: what it will run, for about how long, and where results go."""
    todo = [j for j in jobs if not job.finished(j.notebook.stem, j.key)]
    there = f"profile {profile}: {_count(len(jobs), 'job')} of {_count(len({j.notebook for j in jobs}), 'notebook')}"
    if not todo:
        return f"{there}, all finished\n{_places(jobs)}"
    seconds, unknown = expected(profile, jobs, todo)
    long = f"about {duration(seconds / min(workers, len(todo)))}" if seconds else "nothing like it ran here before"
    further = f" and {_count(unknown, 'job')} of which nothing is known" if seconds and unknown else ""
    limit = f", of which {minutes:g} min now" if minutes else ""
    counted = f"{len(jobs) - len(todo)} finished, {len(todo)} to run on {_count(workers, 'worker')}"
    return f"{there}, {counted}: {long}{further}{limit}\n{_places(jobs)}; Ctrl-C stops, the same command goes on"


def ended(profile: str, jobs: Sequence[Job], outcomes: Sequence[job.Outcome]) -> str:
    """A line for the end of a batch: where its results are, and what to do next."""
    step = "; `unlearnkit verify` checks them" if profile == "small" else ""
    return f"{_count(sum(outcome.state == 'ran' for outcome in outcomes), 'job')} ran. {_places(jobs)}{step}"


def expected(profile: str, jobs: Sequence[Job], todo: Sequence[Job]) -> tuple[float, int]:
    """(seconds of work in `todo` on one worker of this machine, number of jobs of which nothing is known).

    A job takes what it took on the machine of notebooks/grids/seconds.csv, times how much slower this one is: by the jobs of
    the profile that are finished here, else by a calibration of the networks that such jobs train. One that is not in that
    file takes what other jobs of its notebook took here, whatever their parameters.
    """
    known, networks = _reference(profile)
    left = {j.key for j in todo}
    done = [j for j in jobs if j.key not in left and j.notebook.stem in known]
    if len(done) >= ENOUGH:
        took = sum(job.wall_time(j.notebook.stem, j.key) for j in done)
        paces = dict.fromkeys(networks.values(), took / sum(known[j.notebook.stem] for j in done))
    else:
        paces = calibration.pace(sorted({networks[j.notebook.stem] for j in todo if j.notebook.stem in known}))
    seconds, unknown = 0.0, 0
    for j in todo:
        name = j.notebook.stem
        earlier = [] if name in known else job.wall_times(name)
        if name in known:
            seconds += known[name] * paces[networks[name]]
        elif earlier:
            seconds += sum(earlier) / len(earlier)
        else:
            unknown += 1
    return seconds, unknown


def _reference(profile: str) -> tuple[dict[str, float], dict[str, str]]:
    """({notebook: mean seconds of its jobs in this profile}, {notebook: the network that it mostly trains}), as measured
    once; nothing where nothing was."""
    file = paths.root() / "notebooks" / "grids" / "seconds.csv"
    if not file.is_file():
        return {}, {}
    try:
        with file.open(encoding="utf-8") as lines:
            rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        own = [row for row in rows if row["profile"] == profile]
        seconds = {row["notebook"]: float(row["seconds"]) for row in own}
        networks = {row["notebook"]: row["network"] for row in own}
        if strangers := sorted(set(networks.values()) - set(calibration.REFERENCE)):
            raise ValueError(f"no network to calibrate by is called {strangers[0]}")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise BadValue(
            f"notebooks/grids/{file.name} must have the columns profile, notebook, seconds, network: {error!r}"
        ) from error
    return seconds, networks


def _places(jobs: Sequence[Job]) -> str:
    places = sorted({j.parameters["publish"] for j in jobs if j.parameters.get("publish")})
    executed = "executed notebooks in results/runs"
    return f"Results in {', '.join(places)}; {executed}" if places else executed.capitalize()


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
