"""What is damaged, full, too long or too slow is one clear line, and the work goes on or is done again."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pandas as pd
import pytest

import batches
import published
from batches import WORK, grids, trace, write
from unlearnkit import results
from unlearnkit.cli import main
from unlearnkit.core import disk
from unlearnkit.core.errors import StoreError
from unlearnkit.core.parameters import Parameters
from unlearnkit.core.store import Spec, Store
from unlearnkit.results import manifests, records
from unlearnkit.runner import batch, grid, job, kernels
from unlearnkit.runner.limits import Limits, slowness

ONE = "profiles: {smoke: {}}\njobs:\n- {notebook: 1_first}\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    return batches.home(tmp_path / "home", monkeypatch)


# --- manifests of runs ---

WRONG = ["", "{", "[]", "7", "{}", '{"outputs": null}', '{"outputs": [1]}', '{"outputs": {"a": 3}}', "\0", '"outputs"']


@pytest.mark.parametrize("text", WRONG)
def test_a_run_manifest_of_any_wrong_shape_is_named_and_the_job_counts_as_not_run(text, capsys):
    file = job.folder("1_first", "k" * 20) / "manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert not job.finished("1_first", "k" * 20)
    said = capsys.readouterr().err
    assert said == f"1_first/{'k' * 20}/manifest.json is not a job's manifest: the job runs again\n"
    assert job.wall_times("1_first") == [] and job.outputs(file) is None


def test_a_run_manifest_that_is_a_folder_or_no_text_is_named(capsys):
    for i, make in enumerate((Path.mkdir, lambda file: file.write_bytes(b"\xff\xfe\xff"))):
        file = job.folder("1_first", str(i)) / "manifest.json"
        file.parent.mkdir(parents=True)
        make(file)
        assert not job.finished("1_first", str(i)) and "is not a job's manifest" in capsys.readouterr().err
    assert job.wall_times("1_first") == []


@pytest.mark.slow
def test_a_job_with_a_damaged_manifest_runs_again(home, capfd):
    write(home, "1_first", WORK)
    grids(home, ONE)
    (j,) = grid.load("smoke")
    assert job.run("1_first", str(j.notebook), {}, j.key).state == "ran"
    (job.folder("1_first", j.key) / "manifest.json").write_text("[]")
    assert job.run("1_first", str(j.notebook), {}, j.key).state == "ran"
    assert job.run("1_first", str(j.notebook), {}, j.key).state == "cached" and len(trace(home)) == 2
    assert not [*(job.paths.runs() / "locks").iterdir()] and "is not a job's manifest" in capfd.readouterr().err


# --- manifests of results ---


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A results folder with T1 and T2."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    for name in ("T1", "T2"):
        publish(name)
    return tmp_path / "results"


def publish(name):
    parameters = Parameters({"publish": "results", "copies": [1]}, "1_first")
    results.publish(name, pd.DataFrame({"v": [1.0]}), parameters=parameters, runs=["a"], roots=[results.publish])


def change(folder, to):
    """Write the manifest with T1's entry changed by `to`."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["T1"] = to(manifest["T1"])
    file.write_text(json.dumps(manifest))
    manifests._listed.clear()  # the change may be within one tick of the clock


def ran(name):
    """As a job that published this table would have left its manifest."""
    file = job.folder("1_first", name) / "manifest.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    table = job.paths.root() / "results" / "tables" / f"{name}.csv"
    file.write_text(json.dumps({"outputs": {f"results/tables/{name}.csv": job._digest(table)}}))
    return job.finished("1_first", name)


@pytest.mark.parametrize(
    "to",
    [
        lambda entry: None,
        lambda entry: [],
        lambda entry: "T1",
        lambda entry: {k: v for k, v in entry.items() if k != "files"},
        lambda entry: entry | {"files": ["tables/T1.csv"]},
        lambda entry: entry | {"files": {"tables/T1.csv": 5}},
        lambda entry: entry | {"files": {}},
        lambda entry: entry | {"made": {}},
        lambda entry: entry | {"runs": [["a"]]},
        lambda entry: entry | {"sources": None},
        lambda entry: entry | {"rows": "one"},
    ],
)
def test_an_entry_of_any_wrong_shape_is_damaged_and_its_job_runs_again(folder, to):
    assert ran("T1") and ran("T2")
    change(folder, to)
    states = {name: (state, detail) for name, state, detail in results.verify(folder)}
    assert states["T2"][0] == "ok" and states["T1"][0] == "damaged"
    assert states["T1"][1].startswith("its entry in manifest.json ") and "\n" not in states["T1"][1]
    assert not ran("T1") and ran("T2")
    publish("T1")
    assert ran("T1") and {state for _, state, _ in results.verify(folder)} == {"ok"}


def test_results_without_a_manifest_are_made_again(folder):
    assert ran("T1")
    (folder / "manifest.json").unlink()
    assert not ran("T1")


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_manifest_that_is_none_is_refused_by_readers_and_set_aside_by_jobs(folder, text, capsys):
    (folder / "manifest.json").write_text(text)
    manifests._listed.clear()
    with pytest.raises(StoreError, match=r"^manifest.json in results/ .*: restore it from git, or delete it and run"):
        results.verify(folder)
    assert not ran("T1")
    publish("T1")
    assert capsys.readouterr().err.count("it is kept as manifest.damaged.json") == 1
    assert (folder / "manifest.damaged.json").read_text() == text
    assert ran("T1") and not ran("T2")


def test_reproduce_refuses_what_is_not_as_it_was_written(tmp_path, monkeypatch, capsys):
    home = published.project(tmp_path / "home", monkeypatch)
    select = ["reproduce", "T2", "--where", "method=scrub", "targets=canary", "copies=5"]
    (record,) = (home / "results" / "scores").iterdir()
    whole = record.read_bytes()
    records.read(home / "results", {"files": [f"scores/{record.name}"]}).assign(value=0.0).to_parquet(record)
    assert main(select) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"unlearnkit: T2 is damaged: scores/{record.name} is not what was written; restore it from git"
    )
    assert said.count("\n") == 1
    run = published.scores(["canary"], [5], ["scrub"]).run.iloc[0]
    assert main(["reproduce", run]) == 2 and "is damaged: scores/" in capsys.readouterr().err
    record.unlink()
    assert main(select) == 2 and f"T2 is missing: scores/{record.name} is not there" in capsys.readouterr().err
    record.write_bytes(whole)
    table = home / "results" / "tables" / "T2.csv"
    table.write_text(table.read_text().replace("2.1", "2.2"))
    assert main(select) == 2 and "T2 is damaged: tables/T2.csv" in capsys.readouterr().err


# --- folders ---


def test_a_folder_of_runs_that_cannot_be_one_is_named(home, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / "file" / "runs"))
    write(home, "1_first", WORK)
    outcome = job.run("1_first", str(home / "notebooks" / "1_first.ipynb"), {}, "k")
    assert outcome.state == "failed" and not trace(home)
    assert outcome.error.startswith(f"cannot write to the folder of runs ({tmp_path}/file/runs): a part of its path is")
    assert "UNLEARNKIT_RUNS" in outcome.error


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "it is read-only")])
def test_a_full_disk_under_the_runs_is_named(home, monkeypatch, code, reason):
    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    write(home, "1_first", WORK)
    monkeypatch.setattr(job, "execute", lambda *_: "")
    monkeypatch.setattr(job, "_publish", full)
    outcome = job.run("1_first", str(home / "notebooks" / "1_first.ipynb"), {}, "k")
    assert outcome.state == "failed" and reason in outcome.error and "UNLEARNKIT_RUNS" in outcome.error


def test_results_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to the results \(.*/results\): "):
        publish("T1")
    (tmp_path / "results").unlink()
    (tmp_path / "results" / "tables" / "T1.csv").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot write T1.csv in .*/results/tables: Is a directory"):
        publish("T1")


def test_no_folder_for_temporary_files_is_named(monkeypatch):
    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/x']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(StoreError, match="no folder for temporary files can be written: No usable .* set TMPDIR"):
        kernels.short_folder()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda **_: os.mkdir("/proc/none"))
    with (
        pytest.raises(StoreError, match="no temporary folder can be made in .*; free some space, or set TMPDIR"),
        kernels.temporary_folder("x-"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("fork", [False, True])
def test_a_folder_for_temporary_files_may_have_a_name_of_any_length(home, tmp_path, monkeypatch, fork):
    long = tmp_path / ("x" * 120) / ("y" * 120)
    long.mkdir(parents=True)
    cell = "import tempfile\nopen(paths.root() / 'folder', 'w').write(tempfile.gettempdir())"
    write(home, "1_first", WORK, cell)
    grids(home, ONE)
    if fork:
        run = batches.driver(home, "--workers", "1", settings={"TMPDIR": str(long)})
        said = run.wait(60)
        assert run.returncode == 0, said
    else:
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("TMPDIR", str(long))
        outcome = job.run("1_first", str(home / "notebooks" / "1_first.ipynb"), {}, "k")
        assert outcome.state == "ran", outcome.error
    assert (home / "folder").read_text() == str(long)  # the notebook's own files go where the user said


def test_where_no_folder_is_short_kernels_take_ports(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "short_folder", lambda: str(long))
    (long := tmp_path / ("x" * 120)).mkdir()
    with kernels.configured({}, None) as (config, _):
        assert not config.KernelManager
    monkeypatch.setattr(kernels, "short_folder", lambda: "/tmp")
    with kernels.configured({}, None) as (config, _):
        folder = Path(config.KernelManager.ip).parent
        assert config.KernelManager.transport == "ipc" and folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


# --- jobs that do not end ---


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_job_that_takes_too_long_is_stopped_with_all_that_it_started(home):
    child = "import subprocess; p = subprocess.Popen(['sleep', '600']); (paths.root() / 'child').write_text(str(p.pid))"
    write(home, "1_first", WORK, child, "time.sleep(600)")
    outcome = job.run("1_first", str(home / "notebooks" / "1_first.ipynb"), {}, "k", limit=4.0)
    assert outcome.state == "failed" and outcome.seconds < 30
    assert outcome.error == "stopped after 4 s, the most a job may take: see --job-minutes"
    pids = [int(trace(home)[0][2]), int((home / "child").read_text())]
    batches.wait_for(lambda: not any(map(batches.alive, pids)), 10)
    assert not kernels.JobKernelManager._running


def test_the_longest_that_a_job_may_take_is_said_beforehand(home):
    assert 1.0 <= slowness(1) < 1000
    earlier = job.folder("2_long", "earlier") / "manifest.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text(json.dumps({"seconds": 3600, "outputs": {}}))
    limits = Limits(None, 1.5)
    assert limits("1_first") == 6 * 3600 and limits("2_long") == 10 * 3600
    said = limits.said(["1_first", "2_long"])
    assert said.startswith("a job is stopped after 6.0 h (4 h, and this machine takes 1.5 times as long")
    assert "by earlier ones: 2_long 10.0 h" in said and "--job-minutes" in said
    given = Limits(30.0, 1.5)
    assert given("2_long") == 1800 and given.said(["2_long"]) == "a job is stopped after 30 min"


@pytest.mark.slow
def test_the_command_takes_the_longest_that_a_job_may_take(home, capfd):
    write(home, "1_first", WORK, "time.sleep(600)")
    grids(home, ONE)
    with batches.forked_workers():
        outcomes = batch.run(grid.load("smoke"), workers=1, job_minutes=0.1)
    assert [o.state for o in outcomes] == ["failed"] and "stopped after 6 s" in outcomes[0].error
    assert capfd.readouterr().out.startswith("a job is stopped after 6 s\n")


# --- machines that others use, too ---


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users by number here")
def test_a_cache_that_others_can_write_is_named_once(tmp_path, monkeypatch, capsys):
    cache = tmp_path / "cache"
    cache.mkdir()
    Store(cache)
    assert capsys.readouterr().err == ""
    (other := tmp_path / "other").mkdir()
    other.chmod(0o777)
    Store(other), Store(other)
    assert capsys.readouterr().err == (
        f"the cache ({other}) can be written by every user here, so what it holds may be anyone's: `chmod o-w {other}`, or "
        "set UNLEARNKIT_CACHE to a folder of your own\n"
    )
    disk._looked_at.clear()
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    monkeypatch.setattr(disk, "SUPERUSER", -1)
    Store(cache)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"the cache ({cache}) belongs to another user (number " in said


def test_a_group_reads_what_one_of_it_made(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    before = os.umask(0o002)
    try:
        artefact = Store(tmp_path / "cache").get(
            Spec("thing", {}), lambda folder: (folder / "a").write_text("a") and None
        )
        parent = tmp_path / "runs" / "1_first"
        parent.mkdir(parents=True)
        beside = Path(tempfile.mkdtemp(dir=parent))
        (beside / "notebook.ipynb").write_text("{}")
        job._publish(beside, "1_first", "k", {}, 1.0, job.Places(tmp_path, tmp_path / "runs"))
    finally:
        os.umask(before)
    made = [parent / "k", *(parent / "k").iterdir(), tmp_path / "cache" / "thing", *artefact.folder.folder.iterdir()]
    assert len(made) >= 6
    assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o775", "0o664"}
