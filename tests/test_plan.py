"""The order of jobs, and how long it takes to plan many."""

import json
import time
from pathlib import Path

import pytest

from unlearnkit.core import code_digest
from unlearnkit.methods import tuned_options
from unlearnkit.runner import batch, grid, job
from unlearnkit.runner.grid import Job
from unlearnkit.runner.limits import Limits
from unlearnkit.runner.plan import Plan


def jobs_of(after: dict[str, set[str]], stem="n"):
    return [Job(Path(f"{stem}.ipynb"), {}, (), frozenset(waits), key, key) for key, waits in after.items()]


def run(plan, fails=()):
    """The keys in the order in which they may begin, one after the other; and those that were lost."""
    order, lost = [], []
    while True:
        taken = [j.key for j in plan.take()]
        order += taken
        for key in taken:
            plan.ended(key, key in fails)
        lost += [j.key for j in plan.lost()]
        if not taken:
            return order, lost


def test_jobs_begin_in_order_after_all_that_they_wait_for():
    plan = Plan(jobs_of({"a": set(), "b": {"a"}, "c": set(), "d": {"b", "c"}, "e": {"gone"}}), {})
    assert [j.key for j in plan.take()] == ["a", "c", "e"]  # what is nowhere is not waited for
    plan.ended("c", False)
    assert not [*plan.take()]
    plan.ended("a", False)
    assert [j.key for j in plan.take()] == ["b"] and len(plan) == 1
    plan.ended("b", False)
    assert [j.key for j in plan.take()] == ["d"] and len(plan) == 0


def test_all_that_waits_for_a_failure_is_lost_once_however_deep():
    plan = Plan(jobs_of({"a": set(), "b": {"a"}, "c": {"b", "f"}, "d": set(), "e": {"d"}, "f": {"a"}}), {})
    order, lost = run(plan, fails={"a"})
    assert order == ["a", "d", "e"] and sorted(lost) == ["b", "c", "f"] and len(plan) == 0


def test_what_waits_for_an_earlier_failure_is_lost_at_once():
    assert [j.key for j in Plan(jobs_of({"b": {"a"}, "c": {"b"}, "d": {"x"}}), {"a": True, "x": False}).lost()] == [
        "b",
        "c",
    ]


def test_a_notebook_that_may_not_begin_stays():
    plan = Plan(jobs_of({"a": set(), "b": set()}) + jobs_of({"c": set()}, "other"), {})
    assert [j.key for j in plan.take(lambda j: j.notebook.stem == "other")] == ["c"] and len(plan) == 2
    assert [j.key for j in plan.take()] == ["a", "b"]


@pytest.mark.parametrize("fails", [(), {"0"}])
def test_five_thousand_jobs_that_wait_for_each_other_in_a_chain(fails):
    chain = jobs_of({str(i): {str(i - 1)} if i else set() for i in range(5000)})
    begun = time.process_time()
    order, lost = run(Plan(chain, {}), fails)
    assert time.process_time() - begun < 1
    assert [*order, *lost] == [str(i) for i in range(5000)] and len(order) == (1 if fails else 5000)


def test_five_thousand_jobs_in_layers_each_of_which_waits_for_all_of_the_last():
    layers = [{f"{k}-{i}" for i in range(1000)} for k in range(5)]
    after = {key: layers[k - 1] if k else set() for k, layer in enumerate(layers) for key in sorted(layer)}
    shared = [frozenset(layer) for layer in layers]
    jobs = [Job(Path("n.ipynb"), {}, (), shared[int(k[0]) - 1] if k[0] != "0" else frozenset(), k, k) for k in after]
    begun = time.process_time()
    order, _ = run(Plan(jobs, {}))
    assert time.process_time() - begun < 1 and order == list(after)


class Here:
    """In the place of a Dask client: a job has ended as soon as it is submitted."""

    status = "running"

    class Ended:
        status = "finished"

        def __init__(self, outcome):
            self.outcome = outcome

        def add_done_callback(self, call):
            call(self)

        def cancelled(self):
            return False

        def exception(self):
            return None

        def result(self):
            return self.outcome

    def nthreads(self):
        return {"here": 1}

    def submit(self, function, stem, path, parameters, identity, *settings, **options):
        return self.Ended(job.Outcome(identity, "failed" if parameters.get("fails") else "ran", 1.0))


def test_a_batch_of_a_deep_chain_runs_and_fails_without_recursion(capsys):
    """Through the driver itself: 3,000 one after the other, then 2,000 that wait for a failure."""
    keys = [str(i) for i in range(5000)]
    jobs = [
        Job(Path("n.ipynb"), {"fails": i == 3000}, (), frozenset(keys[i - 1 : i] if i else ()), key, key)
        for i, key in enumerate(keys)
    ]
    outcomes: dict = {}
    where = batch._Where(Here(), "here", batch.environment(), Limits(60.0, 1.0))
    begun = time.process_time()
    batch._drive(where, jobs, outcomes, batch.Board(jobs, {}), None)
    assert time.process_time() - begun < 5
    assert [outcomes[k].state for k in keys] == ["ran"] * 3000 + ["failed"] * 2000


def test_a_grid_of_five_thousand_jobs_is_planned_in_seconds(tmp_path, monkeypatch):
    """After the project's code has been read once; as finished jobs are looked for, too."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    (tmp_path / "notebooks" / "grids").mkdir(parents=True)
    source = "n: int = 0  # which\nm: int = 0  # of which"
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}]
    for name in ("1_first", "2_second"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    values = f"n: {list(range(50))}, m: {list(range(50))}"
    entries = "- {notebook: 1_first, each: [n, m]}\n- {notebook: 2_second, each: [n, m], after: [1_first]}\n"
    (tmp_path / "notebooks" / "grids" / "g.yaml").write_text(f"profiles: {{smoke: {{{values}}}}}\njobs:\n{entries}")
    assert code_digest.everything() and tuned_options.digest({}) == ""
    begun = time.process_time()
    jobs = grid.load("smoke")
    assert not any(job.finished(j.notebook.stem, j.key) for j in jobs)
    plan = Plan(jobs, {})
    assert len([*plan.take()]) == 2500 and len(plan) == 2500 and len({j.key for j in jobs}) == 5000
    assert time.process_time() - begun < 4  # 0.6 alone; in a process that has run many tests some twice that
