"""Grids: which notebooks to run with which parameters, per profile. notebooks/grids/README.md says what is in one."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.documents import check_shape, read_yaml
from unlearnkit.core.errors import BadValue, UnknownName, unknown
from unlearnkit.core.light_imports import without_iris
from unlearnkit.core.registry import load_plugins
from unlearnkit.runner import notebook
from unlearnkit.runner.grid_schema import ENTRY, GRID, PROFILES

MOST_JOBS = 10_000  # of one entry: a few short lists can stand for any number


@dataclass(frozen=True)
class Job:
    """One notebook with one set of parameters; `key` is the hash of both and of the project's code."""

    notebook: Path
    parameters: dict
    makes: tuple[str, ...]
    after: frozenset[str]  # keys of jobs that must end first
    key: str
    label: str  # the notebook, and what tells the job from others of its profile


def load(profile: str, only: Sequence[str] = (), *, kept: bool = False) -> list[Job]:
    """All jobs of a profile, in an order in which they can run, checked against their notebooks.

    only: ids of tables or figures, or notebooks: these jobs and all that they wait for. kept: of these the jobs alone that
    publish, for scores that the project keeps; what is not kept they measure themselves. Raises UnknownName or BadValue,
    naming file and culprit, before anything runs.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    earlier: dict[str, list[Job]] = {}
    program = cache(_program)  # taken once, after the checks of the first entry
    jobs = [job for file, entries, values in _grids(profile) for job in _jobs(file, entries, values, earlier, program)]
    if not jobs:
        raise BadValue(f"no grid in notebooks/grids has a profile {profile!r}")
    jobs = _select(jobs, only) if only else jobs
    return [job for job in jobs if job.makes] if kept else jobs


def makes(profile: str) -> list[str]:
    """Ids of all tables and figures that a profile publishes."""
    return sorted({name for _, entries, _ in _grids(profile) for entry in entries for name in entry.get("makes", ())})


def described(profile: str) -> dict:
    """{name, summary, datasets, seeds, notebooks, publishes_to} of a profile, {} if no grid has it."""
    grids = _grids(profile)
    if not grids:
        return {}

    def values(name: str) -> list:
        parts = [
            d for _, entries, own in grids for d in (own, *own.get("sets", ()), *(e.get("set", {}) for e in entries))
        ]
        given = [part.get(name) for part in parts]
        if name == "seeds":  # a number of them, or which
            given = [len(value) if isinstance(value, list) else value for value in given]
        return sorted({v for value in given if value for v in (value if isinstance(value, list) else [value])})

    datasets, seeds, places = values("dataset"), values("seeds"), values("publish")
    notebooks = sorted({entry["notebook"] for _, entries, _ in grids for entry in entries})
    many = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else "".join(f"{n} seed{'s' * (n != 1)}" for n in seeds)
    summary = f"{', '.join(datasets)}; {many}; {len(notebooks)} notebooks; published to {', '.join(places)}"
    facts = {"datasets": datasets, "seeds": seeds, "publishes_to": places, "notebooks": notebooks}
    return {"name": profile, "summary": summary, **facts}


def _grids(profile: str) -> list[tuple[Path, list[dict], dict]]:
    """(file, its jobs, the profile's values) of each grid that has this profile, in the order of the files' names.

    Raises BadValue or UnknownName, in one line, for a file of any wrong shape.
    """
    grids = []
    for file in sorted((paths.root() / "notebooks" / "grids").glob("*.yaml")):
        grid = read_yaml(file)
        with without_iris():
            check_shape(grid, GRID, file.name)
        entries, profiles = grid["jobs"], grid["profiles"]
        for entry in entries:
            if extra := set(entry) - set(ENTRY):
                raise unknown(f"entry of {file.name}", sorted(extra)[0], ENTRY)
        if profile in profiles:
            grids.append((file, entries, profiles[profile]))
    return grids


def _jobs(
    file: Path, entries: list[dict], values: dict, earlier: dict[str, list[Job]], program: Callable[[], list]
) -> list[Job]:
    """earlier: {notebook: its jobs} of the files before this one, to which this one's are added. program: see `_program`."""
    taken = {name for entry in entries for name in (*entry.get("each", ()), *entry.get("with", ()))}
    if unused := sorted(set(values) - taken):  # the notebook's default would run under this profile's name
        raise BadValue(
            f"{file.name}: no job takes {unused[0]!r} of the profile: add it to `with` or `each`, or leave it out"
        )
    jobs: dict[str, Job] = {}
    for entry in entries:
        try:
            expanded = _expand(entry, values, earlier, program)
        except (BadValue, UnknownName) as error:
            raise type(error)(f"{file.name}, {entry.get('notebook')}: {error}") from error
        earlier.setdefault(entry["notebook"], []).extend(expanded)
        for job in expanded:
            jobs.setdefault(job.key, job)  # an earlier entry may have one of them
    return list(jobs.values())


def _program() -> list:
    """What every key holds of the project's code and of the plugins."""
    return [code.everything(), [code.digests([module]) for module in load_plugins()]]


def _expand(
    entry: dict, values: dict, earlier: dict[str, list[Job]], program: Callable[[], list] = _program
) -> list[Job]:
    path = notebook.find(entry["notebook"])
    own = dict(entry.get("set", {}))
    known = values | own
    for name in (*entry.get("each", ()), *entry.get("with", ())):
        if name not in known:
            raise unknown("value in this profile", name, known)
    for name in entry.get("after", ()):
        if name not in earlier:
            raise unknown("earlier notebook of these grids", name, earlier)
    each = {name: known[name] if isinstance(known[name], list) else [known[name]] for name in entry.get("each", ())}
    fixed = {name: known[name] for name in entry.get("with", ())} | {k: v for k, v in own.items() if k not in each}
    if (number := math.prod(map(len, each.values()))) > MOST_JOBS:
        raise BadValue(f"`each` makes {number:,} jobs of {', '.join(each)}, more than {MOST_JOBS:,}: give fewer values")
    after = frozenset(job.key for name in entry.get("after", ()) for job in earlier[name])
    from unlearnkit.methods import tuned_options as tuned  # imports torch: after the checks of the grid

    cells, declared = notebook.sources(path), notebook.parameters(path)
    defaults = {name: default for name, (_, default) in declared.items()}
    notebook.check_arguments(path, fixed, declared)
    everything, plugins = program()
    jobs = []
    for combination in product(*each.values()):
        parameters = fixed | dict(zip(each, combination, strict=True))
        notebook.check_arguments(path, parameters, declared)
        parts = [path.stem, cells, parameters, everything, plugins]
        if values := tuned.digest(defaults | parameters):
            parts.append(values)
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
        label = " ".join([path.stem, *_short({k: v for k, v in parameters.items() if k in own or k in each})])
        jobs.append(Job(path, parameters, tuple(entry.get("makes", ())), after, key, label))
    return jobs


def _short(parameters: dict) -> list[str]:
    """name=value of the parameters that fit on a line beside others."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    plain = {k: v for k, v in lists.items() if 0 < len(v) <= 3 and not any(isinstance(x, list | dict) for x in v)}
    return [f"{name}={','.join(map(str, value))}" for name, value in plain.items()]


def _select(jobs: list[Job], only: Sequence[str]) -> list[Job]:
    names = {i for job in jobs for i in (*job.makes, job.notebook.stem)}
    chosen = {job.key for job in jobs for name in only if name in (*job.makes, job.notebook.stem)}
    for name in only:
        if name not in names:
            raise unknown("table, figure or notebook", name, names)
    for job in reversed(jobs):  # what is waited for stands earlier
        if job.key in chosen:
            chosen |= job.after
    return [job for job in jobs if job.key in chosen]
