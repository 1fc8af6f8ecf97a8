"""The batch runner on small notebooks of its own: progress, caching, failures, kills."""

import json
import os
import signal
import time
from pathlib import Path

import nbformat
import pytest

import batches
from batches import WORK, alive, driver, grids, parent, trace, wait_for, write
from unlearnkit.cli import main
from unlearnkit.core.errors import BadValue, UnknownName, UnlearnkitError
from unlearnkit.images.config import Config
from unlearnkit.runner import batch, calibration, cluster, forecast, grid, job
from unlearnkit.study.rows import label

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = batches.home(tmp_path, monkeypatch)
    with batches.forked_workers():
        yield folder


def test_runs_in_order_then_nothing_twice(home, capfd):
    write(home, "1_first", WORK)
    write(home, "2_second", WORK, "assert (paths.root() / 'trace').read_text().count('start 1') == 1")
    grids(
        home,
        "profiles: {smoke: {n: [1, 2]}}\n"
        "jobs:\n- {notebook: 1_first, each: [n]}\n- {notebook: 2_second, set: {n: 9}, after: [1_first]}\n",
    )
    jobs = grid.load("smoke")
    assert [o.state for o in batch.run(jobs, workers=2)] == ["ran"] * 3
    assert trace(home)[-1][1] == "9" and len(trace(home)) == 3
    printed = capfd.readouterr().out
    assert "[1/3]" in printed and "left" in printed and "3 jobs: ran 3, cached 0, failed 0" in printed
    assert [o.state for o in batch.run(grid.load("smoke"))] == ["cached"] * 3 and len(trace(home)) == 3
    folder = job.folder("2_second", jobs[-1].key)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["parameters"] == {"n": 9} and manifest["made"]["libraries"]
    assert nbformat.read(folder / "notebook.ipynb", 4).cells[-1].execution_count


def test_a_run_says_first_what_it_will_do_and_last_where_the_results_are(home, capfd):
    write(home, "1_first", WORK, "print(publish)")
    book = home / "notebooks" / "1_first.ipynb"
    book.write_text(
        book.read_text().replace("n: int = 0  # which", "n: int = 0  # which\\npublish: str = ''  # where to")
    )
    text = (
        "profiles: {smoke: {n: [1, 2], publish: results/x}}\njobs: [{notebook: 1_first, each: [n], with: [publish]}]\n"
    )
    grids(home, text)
    assert main(["study", "--profile", "smoke", "--workers", "1"]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith(
        "profile smoke: 2 jobs of 1 notebook, 0 finished, 2 to run on 1 worker: nothing like it ran"
    )
    assert printed.endswith("2 jobs ran. Results in results/x; executed notebooks in results/runs\n")
    assert main(["study", "--profile", "smoke", "--workers", "1"]) == 0
    assert capfd.readouterr().out.startswith("profile smoke: 2 jobs of 1 notebook, all finished\nResults in results/x")


def test_a_run_is_estimated_from_the_reference_at_the_pace_of_this_machine(home, monkeypatch):
    write(home, "1_first", WORK)
    write(home, "2_second", WORK)
    grids(
        home,
        "profiles: {small: {n: [1, 2, 3, 4, 5, 6]}}\njobs: [{notebook: 1_first, each: [n]}, {notebook: 2_second}]\n",
    )
    jobs = grid.load("small")
    assert forecast.expected("small", jobs, jobs) == (0.0, 7)  # nothing is known
    (home / "notebooks" / "grids" / "seconds.csv").write_text(
        "# why\nprofile,notebook,seconds,network\nsmall,1_first,60,mlp\n"
    )
    monkeypatch.setattr(calibration, "step", lambda name: 2 * calibration.REFERENCE[name])
    assert forecast.expected("small", jobs, jobs) == (720.0, 1)  # twice as slow as the reference
    assert "about 6 min and 1 job of which nothing is known, of which 3 min now" in forecast.announced(
        "small", jobs, 2, 3
    )
    for j in jobs[:5]:  # which took a fourth of the reference here
        folder = job.folder("1_first", j.key)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"outputs": {}, "seconds": 15.0}))
    assert forecast.expected("small", jobs, jobs[5:]) == (15.0, 1)
    assert forecast.expected("other", jobs, jobs[5:]) == (15.0, 1)  # as long as other jobs of the notebook took here
    assert "7 jobs of 2 notebooks, 5 finished, 2 to run on 1 worker" in forecast.announced("small", jobs, 1)


def test_a_calibration_takes_seconds_and_the_reference_is_of_this_study(monkeypatch):
    begun = time.monotonic()
    assert 0 < calibration.step("small_cnn") < 60 and time.monotonic() - begun < 30
    known, networks = forecast._reference("small")
    assert {j.notebook.stem for j in grid.load("small")} == set(known) and all(0 < s < 3600 for s in known.values())
    assert set(networks.values()) <= set(calibration.REFERENCE)


def test_a_network_whose_packages_are_missing_is_as_slow_as_the_slowest(monkeypatch):
    def step(name):
        if name == "tiny_llama":
            raise ModuleNotFoundError
        return calibration.REFERENCE[name] * (3 if name == "mlp" else 2)

    monkeypatch.setattr(calibration, "step", step)
    assert calibration.pace(["mlp", "small_cnn", "tiny_llama"]) == pytest.approx(
        {"mlp": 3, "small_cnn": 2, "tiny_llama": 3}
    )
    assert calibration.pace(["tiny_llama"]) == {"tiny_llama": 1.0} and calibration.pace([]) == {}


def test_an_interrupt_is_answered_by_one_line(home):
    write(home, "1_first", WORK, "time.sleep(60)")
    grids(home, "profiles: {smoke: {}}\njobs: [{notebook: 1_first}]\n")
    run = driver(home, "--workers", "1", err=home / "err")
    wait_for(lambda: trace(home))
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    run.wait(60)
    assert run.returncode == 130
    assert (home / "err").read_text() == "\nunlearnkit: stopped; the same command goes on from here\n"


def test_a_changed_notebook_runs_again_and_outputs_do_not_count(home):
    grids(home, "profiles: {smoke: {}}\njobs:\n- {notebook: 1_first}\n")
    write(home, "1_first", "1 + 1")
    before = grid.load("smoke")[0].key
    book = nbformat.read(home / "notebooks" / "1_first.ipynb", 4)
    book.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    nbformat.write(book, home / "notebooks" / "1_first.ipynb")
    assert grid.load("smoke")[0].key == before
    write(home, "1_first", "1 + 2")
    assert grid.load("smoke")[0].key != before


def test_a_failure_is_shown_and_stops_only_those_that_wait_for_it(home, capfd):
    write(home, "1_bad", "x = 1 / n")
    write(home, "2_waits", "n")
    write(home, "3_free", "n")
    grids(
        home,
        "profiles: {smoke: {}}\n"
        "jobs:\n- {notebook: 1_bad}\n- {notebook: 2_waits, after: [1_bad]}\n- {notebook: 3_free}\n",
    )
    states = [o.state for o in batch.run(grid.load("smoke"), workers=1)]
    assert states == ["failed", "failed", "ran"]
    printed = capfd.readouterr()
    assert all(part in printed.err for part in ("x = 1 / n", "ZeroDivisionError", "a job that it waits for failed"))
    assert "ran 1, cached 0, failed 2" in printed.out
    assert len(list((job.paths.runs() / "1_bad").glob("failed-*.ipynb"))) == 1
    assert not [*(job.paths.runs() / "2_waits").glob("*")]


@pytest.mark.parametrize("cell", ["import os; os.kill(os.getpid(), 9)", "import os; os._exit(0)"])
def test_a_kernel_that_dies_is_a_failure(home, cell, capfd):
    write(home, "1_dies", cell, "1 + 1")
    grids(home, "profiles: {smoke: {}}\njobs:\n- {notebook: 1_dies}\n")
    assert [o.state for o in batch.run(grid.load("smoke"), workers=1)] == ["failed"]
    assert "1_dies" in capfd.readouterr().err


@pytest.fixture
def quick(home, monkeypatch):
    """Four jobs of three notebooks, whose kernels are not started: `quick(seconds)` says how long each is to have taken."""
    for name in ("1_first", "2_second", "3_waits"):
        write(home, name, WORK)
    grids(
        home,
        "profiles: {smoke: {n: [1, 2]}}\n"
        "jobs:\n- {notebook: 1_first, each: [n]}\n- {notebook: 2_second, set: {n: 9}}\n"
        "- {notebook: 3_waits, after: [1_first]}\n",
    )

    def take(seconds):
        def run(stem, path, parameters, key, *settings, **options):
            with open(home / "trace", "a", encoding="utf-8") as file:
                file.write(f"start {stem}\n")
            return job.Outcome(key, "ran", seconds)

        monkeypatch.setattr(job, "run", run)

    return take


def test_no_job_is_begun_that_would_outlast_its_minutes(home, quick, capfd):
    """By earlier jobs of the notebook; one that never ran is begun."""
    quick(seconds=1.0)
    earlier = job.folder("1_first", "earlier") / "manifest.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text(json.dumps({"seconds": 3600, "outputs": {}}))
    assert main(["study", "--profile", "smoke", "--workers", "1", "--minutes", "10"]) == 0
    assert [t[1] for t in trace(home)] == ["2_second"]
    printed = capfd.readouterr().out
    assert "4 jobs: ran 1, cached 0, failed 0" in printed
    assert "3 jobs are left (2 of 1_first, 1 of 3_waits): the same command goes on with them" in printed
    assert [o.state for o in batch.run(grid.load("smoke"), workers=1, minutes=200)] == ["ran"] * 4
    assert "left" not in capfd.readouterr().out.splitlines()[-1]


def test_jobs_of_this_run_say_how_long_the_next_takes(home, quick):
    """The first of a notebook is begun, since nothing is known of it; it takes too long for a second."""
    quick(seconds=3600.0)
    outcomes = batch.run(grid.load("smoke"), workers=1, minutes=10)
    assert [o.state for o in outcomes] == ["ran", "left", "ran", "left"]


def test_no_more_jobs_are_handed_out_than_there_are_workers(home, quick, monkeypatch):
    """Dask gives each at once to a worker, where it would wait behind a long one while another worker is idle."""
    quick(seconds=1.0)
    submit, given, open_jobs = batch._Where.submit, [], []

    def counted(self, j, place):
        open_jobs.append(sum(not future.done() for future in given))
        given.append(submit(self, j, place))
        return given[-1]

    monkeypatch.setattr(batch._Where, "submit", counted)
    assert [o.state for o in batch.run(grid.load("smoke"), workers=1)] == ["ran"] * 4
    assert open_jobs == [0] * 4


def test_minutes_that_have_passed_begin_nothing(home, quick):
    quick(seconds=1.0)
    assert [o.state for o in batch.run(grid.load("smoke"), workers=1, minutes=1e-6)] == ["left"] * 4
    assert trace(home) == []


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["driver", "worker", "fork server"])
def test_a_kill_loses_nothing_and_leaves_no_orphan(home, victim):
    gate = home / "gate"
    wait = f"while n == 2 and not Path({str(gate)!r}).exists(): time.sleep(0.1)"
    write(home, "1_first", WORK, wait)
    grids(home, "profiles: {smoke: {n: [1, 2]}}\njobs:\n- {notebook: 1_first, each: [n]}\n")
    run = driver(home, "--workers", "1")
    wait_for(lambda: any(t[1] == "2" for t in trace(home)))
    kernel = int(next(t[2] for t in trace(home) if t[1] == "2"))
    server = parent(kernel)
    worker = parent(server)
    os.kill({"driver": run.pid, "worker": worker, "fork server": server}[victim], signal.SIGKILL)
    if victim != "worker":  # whose job Dask gives to another
        run.wait(10)
    left = [kernel, server, *([worker] if victim != "fork server" else [])]
    wait_for(lambda: not any(map(alive, left)), 30)
    gate.touch()
    if victim != "worker":
        run = driver(home, "--workers", "1")
    printed = run.wait(120)
    assert run.returncode == 0, printed
    assert "failed 0" in printed
    assert [t[1] for t in trace(home)].count("1") == 1  # what was finished is not done again
    assert [t[1] for t in trace(home)].count("2") == 2


def test_a_running_scheduler_is_used(home):
    from distributed import LocalCluster

    write(home, "1_first", WORK, "import os\nassert 'MALLOC_TRIM_THRESHOLD_' not in os.environ")
    grids(home, "profiles: {smoke: {}}\njobs:\n- {notebook: 1_first}\n")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        outcomes = batch.run(grid.load("smoke"), scheduler=cluster.scheduler_address)
    assert [o.state for o in outcomes] == ["ran"]


def test_workers_keep_freed_memory_and_one_thread(monkeypatch):
    """Dask's own setting of the first makes training 1.7 times as slow."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)  # which a cluster of another test left in this process
    with batch.local_cluster(1) as client:
        (environment,) = client.run(lambda: dict(os.environ)).values()
    assert "MALLOC_TRIM_THRESHOLD_" not in environment and environment["OMP_NUM_THREADS"] == "1"


VISIBLE = """
import os, time
from unlearnkit.core import paths
with open(paths.root() / f"visible {n}", "w") as file:
    file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
while len([*paths.root().glob("visible *")]) < 2: time.sleep(0.05)
"""


def test_each_gpu_has_a_worker_that_sees_no_other(home, monkeypatch):
    """Faked by name: two GPUs make two workers, whatever the number of cores; neither job ends before both have begun."""
    monkeypatch.setattr(job, "gpus", lambda: ["GPU-a", "GPU-b"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    write(home, "1_first", VISIBLE)
    grids(home, "profiles: {smoke: {n: [1, 2]}}\njobs:\n- {notebook: 1_first, each: [n]}\n")
    assert [o.state for o in batch.run(grid.load("smoke"))] == ["ran", "ran"]
    assert {file.read_text() for file in home.glob("visible *")} == {"GPU-a", "GPU-b"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"  # the driver's own is left alone


@pytest.mark.parametrize(
    ("there", "visible", "names"),
    [(0, None, []), (3, None, ["0", "1", "2"]), (2, "5, 7", ["5", "7"]), (1, "GPU-x", ["GPU-x"]), (0, "0,1", [])],
)
def test_gpus_are_called_what_cuda_calls_them(monkeypatch, there, visible, names):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert job.gpus() == names


def test_a_scheduler_that_does_not_answer_is_named(home, monkeypatch):
    write(home, "1_first", WORK)
    grids(home, "profiles: {smoke: {}}\njobs:\n- {notebook: 1_first}\n")
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(UnlearnkitError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        batch.run(grid.load("smoke"), scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("profiles: {smoke: {}}\njobs: [{notebook: 1_frst}]", UnknownName, "g.yaml.*Did you mean '1_first'"),
        (
            "profiles: {smoke: {}}\njobs: [{notebook: 1_first, set: {m: 3}}]",
            UnknownName,
            "parameter of 1_first.ipynb 'm'",
        ),
        (
            "profiles: {smoke: {}}\njobs: [{notebook: 1_first, set: {n: x}}]",
            BadValue,
            "'n' of 1_first.ipynb must be int",
        ),
        ("profiles: {smoke: {}}\njobs: [{notebook: 1_first, with: [k]}]", UnknownName, "value in this profile 'k'"),
        ("profiles: {smoke: {}}\njobs: [{notebook: 1_first, afer: [x]}]", UnknownName, "Did you mean 'after'"),
        ("profiles: {smoke: {}}\njobs: [{notebook: 1_first, after: [x]}]", UnknownName, "earlier notebook"),
        ("profiles: {smoke: {}}", BadValue, "g.yaml: not a grid"),
        ("profiles: {small: {}}\njobs: []", BadValue, "no grid"),
    ],
)
def test_a_wrong_grid_is_named_before_anything_runs(home, text, error, message):
    write(home, "1_first", WORK)
    grids(home, text)
    with pytest.raises(error, match=message):
        grid.load("smoke")
    assert trace(home) == []


def test_only_takes_what_is_asked_for_and_what_it_waits_for(home):
    for name in ("1_first", "2_second", "3_third"):
        write(home, name, WORK)
    grids(
        home,
        "profiles: {smoke: {n: [1, 2]}}\n"
        "jobs:\n- {notebook: 1_first, each: [n]}\n- {notebook: 2_second, after: [1_first], makes: [T1]}\n"
        "- {notebook: 3_third}\n",
    )
    assert [j.notebook.stem for j in grid.load("smoke", ["T1"])] == ["1_first", "1_first", "2_second"]
    assert [j.notebook.stem for j in grid.load("smoke", ["3_third"])] == ["3_third"]
    assert [j.notebook.stem for j in grid.load("smoke", kept=True)] == ["2_second"]  # the one that publishes
    with pytest.raises(UnknownName, match="Did you mean 'T1'"):
        grid.load("smoke", ["T11"])


def test_jobs_come_in_the_order_of_the_grid_even_where_a_notebook_comes_twice(home):
    for name in ("1_first", "2_second"):
        write(home, name, WORK)
    grids(
        home,
        "profiles: {smoke: {}}\n"
        "jobs:\n- {notebook: 1_first, set: {n: 1}}\n- {notebook: 2_second, after: [1_first]}\n"
        "- {notebook: 1_first, set: {n: 2}, after: [2_second, 1_first], makes: [T1]}\n",
    )
    jobs = grid.load("smoke")
    assert [j.notebook.stem for j in jobs] == ["1_first", "2_second", "1_first"]
    assert jobs[2].after == {jobs[0].key, jobs[1].key}
    assert len(grid.load("smoke", ["T1"])) == 3


def test_a_job_waits_for_those_of_an_earlier_file_but_not_of_a_later_one(home):
    for name in ("1_first", "2_second"):
        write(home, name, WORK)
    grids(home, "profiles: {smoke: {n: [1, 2]}}\njobs:\n- {notebook: 1_first, each: [n]}\n")
    other = home / "notebooks" / "grids" / "h.yaml"
    other.write_text("profiles: {smoke: {}}\njobs:\n- {notebook: 2_second, after: [1_first]}\n")
    *first, last = grid.load("smoke")
    assert last.after == {j.key for j in first} and len(first) == 2
    other.rename(other.with_name("a.yaml"))
    with pytest.raises(UnknownName, match="a.yaml.*earlier notebook"):
        grid.load("smoke")


def test_parts_that_run_apart_are_what_the_tables_read():
    """Sets and methods of the dose-response run in jobs of their own; the last job finds all of them in the cache."""
    for table, name in (("T2", "50_dose_response"), ("T3", "54_text_dose_response")):
        *parts, last = (j.parameters for j in grid.load("small", [table]) if j.notebook.stem == name)
        asked = [str(method) for method in last["methods"]]
        made = [str(method) for part in parts for method in part["methods"]]
        assert set(made) == set(asked) and len(set(asked)) == len(asked)
        seeds = {(str({k: v for k, v in one.items() if k != "seeds"}), seed) for part in parts for one in part["sets"]
                 for seed in (one["seeds"] if isinstance(one["seeds"], list) else range(one["seeds"]))}  # fmt: skip
        assert seeds == {(str({k: v for k, v in one.items() if k != "seeds"}), seed)
                         for one in last["sets"] for seed in range(one["seeds"])}  # fmt: skip
        named = {
            m
            for f in last["families"].values()
            for m in ([f["method"]] if isinstance(f["method"], str) else f["method"])
        }
        labels = {label(*m) if isinstance(m, list) else m for m in last["methods"]}
        assert named <= labels | {"retrain"} and set(last["named"]) <= labels


def test_the_real_grids_are_sound():
    for profile in ("smoke", "small"):
        made = {i for j in grid.load(profile) for i in j.makes}
        assert {"T1", "T2", "F1", "F2", "F3"} <= made == set(grid.makes(profile))
    assert {"T2", "T2-protocols", "F3"} <= {i for j in grid.load("paper") for i in j.makes}


def test_what_the_profile_paper_runs_apart_is_what_its_tables_read():
    """Workers make methods one by one, and the tables ask for all: in the same configs, with the same options."""
    from dataclasses import fields

    from unlearnkit.images.config import config_grid
    from unlearnkit.study.protocols import protocols

    def configs(parameters: dict) -> list:
        known = {f.name for f in fields(Config)} | {"recipe", "seeds"}
        return config_grid(**{k: v for k, v in parameters.items() if k in known and k != "forget_ids"})

    made, asked = set(), set()
    for j in grid.load("paper"):
        p = j.parameters
        if j.notebook.stem == "30_unlearn":
            made |= {(str(c), p["method"], str(p.get("options", {}))) for c in configs(p)}
        elif j.notebook.stem == "41_classical_protocols":
            common = {k: p[k] for k in ("train_size", "max_pool_images", "test_size", "model", "recipe", "seeds")}
            names = p["protocols"] if isinstance(p["protocols"], list) else [p["protocols"]]
            grids = protocols([n for n in names if n != "subclass"], p["dataset"], **common)
            asked |= {
                (str(c), m, str(p["options"].get(m, {}))) for g in grids.values() for c in g for m in p["methods"]
            }
    quick = {"gradient_ascent", "ssd", "boundary_shrink", "boundary_expand"}  # of no pass over the retain set, or one
    assert {a for a in asked - made if a[1] not in quick} == set()
    assert made <= asked  # and nothing is run that no table shows
