"""How many workers study I of `full` can use: its own plan, simulated with what its parts take by calibration.

    python tests/benchmarks/width.py

A worker takes the next job that may begin, as in a batch. A reference or method takes the steps that are kept with its
scores (results/full/targets), each as long as a step of its network takes on an idle core (unlearnkit.runner.calibration).
The 16 models of half of a data set, by which memorised targets are chosen, are made by the job of the set that begins first,
at half of a reference each; jobs of the set that begin meanwhile wait for them.
"""

import heapq
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from unlearnkit.core import paths
from unlearnkit.images.memorisation import HALF_MODELS
from unlearnkit.runner import calibration, grid
from unlearnkit.runner.grid import Job
from unlearnkit.runner.plan import Plan

WORKERS = (1, 2, 16, 100, 1000)
SETS = {
    "mnist": ("mlp512", 5),
    "fashion_mnist": ("mlp512", 5),
    "cifar10": ("resnet9", 2),
    "fictional": ("tiny_llama", 5),
    "tofu": ("tiny_llama", 3),
}
NETWORKS = {
    "mlp512": ("mlp", 1),
    "resnet9": ("resnet9", 2),
    "tiny_llama": ("tiny_llama", 4),
}  # calibrated by, its batches
NOTEBOOKS = ("50_dose_response", "54_text_dose_response")
START = 5.0  # seconds of a job beside its models: kernel, data, tables
Seconds = Callable[[Job], float]
Shared = Callable[[Job], tuple[str, float]] | None


def simulated(jobs: Sequence[Job], seconds: Seconds, workers: int, shared: Shared = None) -> float:
    """Seconds until the last job has ended. shared: (job) -> (name of what its first job makes for all, seconds of that)."""
    plan, now, running = Plan(jobs, {}), 0.0, []
    place, made = {j.key: i for i, j in enumerate(jobs)}, {}
    ready = list(plan.take())
    while ready or running:
        while ready and len(running) < workers:
            j = ready.pop(0)
            name, takes = shared(j) if shared else ("", 0.0)
            there = made.setdefault(name, now + takes)
            heapq.heappush(running, (max(now, there) + seconds(j), place[j.key]))
        now, i = heapq.heappop(running)
        plan.ended(jobs[i].key, False)
        ready += plan.take()
    return now


def critical_path(jobs: Sequence[Job], seconds: Seconds) -> float:
    """Seconds of the longest chain of jobs that wait for each other."""
    ends: dict[str, float] = {}
    for j in jobs:  # what is waited for stands earlier
        ends[j.key] = max([ends[key] for key in j.after if key in ends], default=0.0) + seconds(j)
    return max(ends.values())


def widest(jobs: Sequence[Job]) -> int:
    """The most jobs at one level: those whose longest chain of jobs to wait for is equally long."""
    level: dict[str, int] = {}
    for j in jobs:
        level[j.key] = max([level[key] + 1 for key in j.after if key in level], default=0)
    return int(pd.Series(level).value_counts().max())


def layers(*counts: Sequence[float]) -> tuple[list[Job], Seconds]:
    """Jobs in layers, by the seconds of each; each layer waits for the whole of the last."""
    jobs, took, before = [], {}, frozenset()
    for k, layer in enumerate(counts):
        keys = [f"{k}-{i}" for i in range(len(layer))]
        jobs += [Job(Path("n.ipynb"), {}, (), before, key, key) for key in keys]
        took |= dict(zip(keys, layer))
        before = frozenset(keys)
    return jobs, lambda j: took[j.key]


def _control(j: Job) -> bool:
    """Whether a job is of a network beside that of its data set: one job, for which no method waits."""
    return all(one["model"] != SETS[one["dataset"]][0] for one in j.parameters["sets"])


def main() -> None:
    planned = [j for j in grid.load("full") if j.notebook.stem in NOTEBOOKS and not _control(j)]
    step = {network: calibration.REFERENCE[name] * larger for network, (name, larger) in NETWORKS.items()}
    tables = [pd.read_parquet(file) for file in sorted((paths.root() / "results/full/targets").glob("*.parquet"))]
    rows = pd.concat(tables).drop_duplicates(["dataset", "seed", "identity"])
    rows = rows[rows.architecture == rows.dataset.map({name: network for name, (network, _) in SETS.items()})]
    rows = rows.assign(took=rows.steps * rows.architecture.map(step))
    reference = rows[rows.seconds.isna()].groupby("dataset").took.median()
    method = rows[rows.seconds.notna()].groupby("dataset").took.mean()
    images = [name for name, (net, _) in SETS.items() if net != "tiny_llama"]  # no half-data models choose texts
    half = reference[images] / 2

    def as_planned(j: Job) -> float:
        if j.parameters.get("publish"):
            return START
        name = j.parameters["sets"][0]["dataset"]
        return START + (method[name] if j.parameters["methods"] else 6 * reference[name])

    def of_set(j: Job) -> tuple[str, float]:
        name = j.parameters["sets"][0]["dataset"]
        return name, HALF_MODELS * half.get(name, 0.0)

    halves = [START + half[name] for name in images for _ in range(HALF_MODELS)]
    references = [START + reference[name] for name, (_, seeds) in SETS.items() for _ in range(6 * seeds)]
    methods = [as_planned(j) for j in planned if j.parameters["methods"] and not j.parameters.get("publish")]
    plans = {
        "as planned": (planned, as_planned, of_set),
        "a job a model": (*layers(halves, references, methods, [START, START]), None),
    }
    for name, (jobs, seconds, shared) in plans.items():
        path = critical_path(jobs, seconds) + (HALF_MODELS * half.max() if shared else 0.0)
        print(f"{name}: {len(jobs)} jobs, {widest(jobs)} at one level at most, longest chain {path / 60:.0f} min")
        work = sum(map(seconds, jobs)) + (HALF_MODELS * half.sum() if shared else 0.0)
        for workers in WORKERS:
            took = simulated(jobs, seconds, workers, shared)
            print(f"  {workers:5d} workers: {took / 60:7.0f} min, in use {work / took / workers:.0%}")


if __name__ == "__main__":
    main()
