"""Batches on schedulers that others started: whose jobs run, on which workers, and what happens when something is gone."""

import contextlib
import importlib
import json
import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import batches
from batches import WORK, alive, grids, trace, wait_for, write
from unlearnkit.cli import main
from unlearnkit.runner import batch, cluster, grid, job, workers

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Port .* is already in use")]
ONE = "profiles: {smoke: {}}\njobs:\n- {notebook: 1_first}\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    return batches.home(tmp_path / "home", monkeypatch)


@contextlib.contextmanager
def threads(n):
    """A scheduler, and one worker of n threads, in this process."""
    with LocalCluster(n_workers=bool(n), threads_per_worker=max(n, 1), processes=False, dashboard_address=None) as held:
        yield held.scheduler_address


def test_jobs_in_threads_of_one_process_keep_their_own_logs(home):
    """Neither ends before both have begun, or half a minute has passed, and each notes one output of its own."""
    both = """
trace, end = paths.root() / 'trace', time.monotonic() + 30
while len(trace.read_text().splitlines()) < 2 and time.monotonic() < end:
    time.sleep(0.05)
"""
    note = "(paths.root() / f'out{n}').write_text(str(n)); paths.note('output', f'out{n}')"
    write(home, "1_first", WORK, both, note)
    grids(home, "profiles: {smoke: {n: [1, 2]}}\njobs:\n- {notebook: 1_first, each: [n]}\n")
    jobs = grid.load("smoke")
    with threads(2) as address:
        assert [o.state for o in batch.run(jobs, scheduler=address)] == ["ran"] * 2
    for j in jobs:
        manifest = json.loads((job.folder("1_first", j.key) / "manifest.json").read_text())
        assert list(manifest["outputs"]) == [f"out{j.parameters['n']}"]
    assert "UNLEARNKIT_JOB_LOG" not in os.environ


def test_two_checkouts_on_one_scheduler_never_serve_each_other(tmp_path, monkeypatch, capfd):
    """The same notebook and code in two homes, while the scheduler still holds the first one's outcome."""
    with threads(1) as address, Client(address) as client:
        held = []
        for name in ("one", "two"):
            there = batches.home(tmp_path / name, monkeypatch)
            monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / name / "runs"))
            write(there, "1_first", WORK)
            grids(there, ONE)
            if name == "one":
                (j,) = grid.load("smoke")
                where = batch._Where(client, address, batch.environment(), lambda stem: 600.0)
                held.append(where.submit(j, 0))
                assert held[0].result().state == "ran"
            else:
                assert grid.load("smoke")[0].key == j.key
                assert main(["study", "--profile", "smoke", "--scheduler", address]) == 0
            assert len(trace(there)) == 1 and (tmp_path / name / "runs" / "1_first" / j.key / "manifest.json").is_file()


def test_relative_settings_mean_the_drivers_folder(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("CACHE", "RUNS", "DATA", "TUNED")
    for name in names:
        monkeypatch.setenv(f"UNLEARNKIT_{name}", name.lower())
    monkeypatch.setenv("UNLEARNKIT_HOME", "home")
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", "mine.py, json")
    given = batch.environment()
    assert all(given[f"UNLEARNKIT_{name}"] == str(tmp_path / name.lower()) for name in names)
    assert given["UNLEARNKIT_HOME"] == str(home) and given["UNLEARNKIT_PLUGINS"] == f"{tmp_path}/mine.py,json"


def test_a_job_whose_manifest_the_driver_does_not_see_has_not_run(home, monkeypatch, capfd):
    monkeypatch.setattr(job, "run", lambda stem, path, parameters, key, *more, **options: job.Outcome(key, "ran", 1.0))
    monkeypatch.setattr(workers, "NEVER_SEEN", 0.3)
    write(home, "1_first", WORK)
    grids(home, ONE)
    with threads(1) as address:
        assert main(["study", "--profile", "smoke", "--scheduler", address]) == 1
    said = capfd.readouterr().err
    assert f"its manifest is not in {job.paths.runs() / '1_first'} as this machine sees it" in said


def test_a_folder_that_workers_do_not_share_is_named_and_no_job_begins(home, monkeypatch, capfd):
    """The worker sees another folder under the name of the cache: as on a machine of its own."""
    write(home, "1_first", WORK)
    grids(home, ONE)
    monkeypatch.setattr(workers, "NEVER_SEEN", 0.5)
    look = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda p: look(p) and not (p.name[:8] == ".shared-" and "cache" in p.parts))
    with threads(1) as address:
        assert main(["study", "--profile", "smoke", "--scheduler", address]) == 2
    said = capfd.readouterr().err
    assert "does not see the cache, " in said and "UNLEARNKIT_CACHE" in said and said.count("\n") == 1
    assert not trace(home) and not [*Path(os.environ["UNLEARNKIT_RUNS"]).glob(".shared-*")]


def test_a_job_whose_tables_the_driver_does_not_see_has_not_run(home, monkeypatch, capfd):
    """The manifest is shared, and what the job published is not."""

    def run(stem, path, parameters, key, *more, **options):
        (folder := job.folder(stem, key)).mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"outputs": {"results/tables/T1.csv": "0" * 64}}))
        return job.Outcome(key, "ran", 1.0)

    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(workers, "NEVER_SEEN", 0.3)
    write(home, "1_first", WORK)
    grids(home, ONE)
    with threads(1) as address:
        assert main(["study", "--profile", "smoke", "--scheduler", address]) == 1
    assert f"what it published is not in {home} as this machine sees it" in capfd.readouterr().err


def answer(**changes):
    there = {"versions": workers.versions() | {"commit": "abc"}, "stale": False, "folders": []}
    there |= {"processor": "P (avx2)", "instructions": ["avx2"], "slowness": 1.0}
    return there | {k: v for k, v in changes.items() if k in there} | {
        "versions": there["versions"] | {k: v for k, v in changes.items() if k not in there}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ({"w1": answer()}, ""),
        ({"w1": answer(), "w2": answer(code="other")}, "worker w2: has other code (commit abc, here "),
        ({"w1": answer(torch="1.0"), "w2": answer(torch="1.0")}, "worker w1 and 1 more: has torch 1.0, here 2."),
        ({"w1": answer(unlearnkit="0.0")}, "worker w1: has unlearnkit 0.0, here "),
        ({"w1": answer(stale=True)}, "worker w1: was started before the code changed: start it anew"),
        ({"w1": answer(folders=["it cannot write to /x"])}, "worker w1: it cannot write to /x"),
        ({"w1": ValueError("odd")}, "worker w1: answers by ValueError: odd"),
        (
            {"w1": answer(), "w2": answer(instructions=["avx2", "amx_bf16"], processor="Q (avx2 amx_bf16)")},
            "worker w1 has the processor P (avx2), worker w2 Q (avx2 amx_bf16): digits would depend on who computes",
        ),
    ],
)
def test_a_worker_that_is_not_fit_is_one_clear_line(answers, line):
    found = workers.mismatches(answers)
    assert found.startswith(line) and "\n" not in found and bool(found) == bool(line)


def test_a_worker_that_came_later_and_differs_refuses(home, monkeypatch, capfd):
    monkeypatch.setattr(
        workers,
        "wait_until_fit",
        lambda *_: workers.Fit(workers.versions() | {"torch": "1.0", "instructions": ""}, 1.0),
    )
    write(home, "1_first", WORK)
    grids(home, ONE)
    with threads(1) as address:
        assert main(["study", "--profile", "smoke", "--scheduler", address]) == 2
    said = capfd.readouterr().err
    assert "which came later, has torch 2" in said and said.count("\n") == 1 and not trace(home)


def test_it_is_said_that_there_is_no_worker_then_every_minute(home, monkeypatch, capfd):
    class Stop(Exception):
        pass

    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        if now[0] > 140:
            raise Stop

    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(workers.time, "sleep", sleep)

    class Alone:
        def run_on_scheduler(self, *_):
            return None

        def run(self, *_, **options):
            return {} if now[0] < 100 else {"tcp://w:1": ModuleNotFoundError("No module named 'unlearnkit'")}

    with pytest.raises(Stop):
        workers.wait_until_fit(Alone(), "tcp://s:8786", batch.environment())
    lines = capfd.readouterr().out.splitlines()
    assert lines == [
        "no job can begin yet: the scheduler at tcp://s:8786 has no worker: start one with `dask worker tcp://s:8786 "
        "--nthreads 1`, or wait for the queue"
    ] * 2 + [
        "no job can begin yet: worker tcp://w:1 runs without this package: start it in this environment (No module named "
        "'unlearnkit')"
    ]


# --- the embedded cluster ---


def ports(pid):
    """The TCP ports at which a process listens."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text(encoding="utf-8").splitlines()[1:]
    ]
    listening = {f"socket:[{line[9]}]": int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A"}
    held = [os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink()]
    return {listening[name] for name in held if name in listening}


def asked(port, context=None):
    """What a port answers to a stranger: b"" if nothing."""
    try:
        stranger = socket.create_connection(("127.0.0.1", port), timeout=5)
        with context.wrap_socket(stranger) if context else stranger as stranger:
            stranger.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            return stranger.recv(100)
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for ports in /proc")
def test_no_other_user_reaches_the_embedded_cluster():
    """Each port of driver, nanny and worker wants the certificate of this cluster, and none serves pages."""
    before = ports(os.getpid())
    unverified = ssl._create_unverified_context()
    with cluster.local_cluster(1) as client:
        (worker,) = client.run(os.getpid).values()
        opened = (ports(os.getpid()) - before) | ports(worker)
        assert len(opened) == 3 and client.submit(sum, [1, 2]).result() == 3
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for port in opened:
            assert not asked(port) and not asked(port, unverified)
        with pytest.raises(OSError):
            Client(address.replace("tls", "tcp"), timeout=2)


def test_what_makes_the_certificate_is_named_if_it_is_missing(home, monkeypatch, capfd):
    write(home, "1_first", WORK)
    grids(home, ONE)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert main(["study", "--profile", "smoke"]) == 2
    assert "needs cryptography: pip install 'unlearnkit[notebooks]'" in capfd.readouterr().err


# --- processes of their own ---

# a worker whose scheduler is gone gives its job half a minute to end: here a second
IMPATIENT = """
from functools import partialmethod
from distributed import Worker
Worker.close = partialmethod(Worker.close, timeout=1)
"""


def _dask(what: str, arguments: list[str], without: str) -> None:
    """`dask scheduler` or `dask worker`. without: a package that it is not to find."""
    for name in [name for name in sys.modules if name.split(".")[0] == without]:
        sys.modules[name] = None
    importlib.import_module(f"distributed.cli.dask_{what}").main(arguments)


@contextlib.contextmanager
def dask(what, *arguments, without=""):
    process = batches.Started(_dask, what, list(arguments), without)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "5s")  # 30 s by default, once a peer is gone
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")  # imports nothing anew
    file = tmp_path / "scheduler.json"
    where = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with dask("scheduler", *where) as held:
        wait_for(lambda: file.exists() and file.read_text().strip().endswith("}"))
        held.address = json.loads(file.read_text())["address"]
        yield held


def worker(scheduler, folder, *more, **options):
    where = ("--local-directory", str(folder), "--nthreads", "1", "--no-dashboard", "--preload", IMPATIENT, *more)
    return dask("worker", scheduler.address, *where, **options)


def test_a_worker_without_the_package_is_said(home, tmp_path, scheduler):
    with worker(scheduler, tmp_path, "--no-nanny", without="unlearnkit"), Client(scheduler.address) as client:
        client.wait_for_workers(1)
        answers, why = workers._look(client, scheduler.address, batch.environment() | contents(), "token")
    assert not answers and "runs without this package: start it in this environment" in why


def contents():
    settings = batch.environment()
    return {f"{n}:contents": workers.contents(Path(settings[n]), *workers.READ[n]) for n in workers.READ}


@pytest.fixture
def two_jobs(home):
    """Of which the second waits until the file `gate` is there."""
    wait = "while n == 2 and not (paths.root() / 'gate').exists(): time.sleep(0.1)"
    write(home, "1_first", WORK, wait)
    grids(home, "profiles: {smoke: {n: [1, 2]}}\njobs:\n- {notebook: 1_first, each: [n]}\n")


@pytest.mark.usefixtures("two_jobs")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_gone_loses_nothing(home, tmp_path, scheduler, end, capfd):
    with worker(scheduler, tmp_path, "--no-nanny"):
        run = batches.driver(home, "--scheduler", scheduler.address)
        wait_for(lambda: any(t[1] == "2" for t in trace(home)))
        os.kill(run.pid, end)
        said = run.wait(60)
        if end == signal.SIGINT:
            assert run.returncode == 130 and "Traceback" not in said, said
            assert said.endswith("\nunlearnkit: stopped; the same command goes on from here\n")
        (home / "gate").touch()
        assert main(["study", "--profile", "smoke", "--scheduler", scheduler.address]) == 0
    assert "failed 0" in capfd.readouterr().out
    assert sorted(t[1] for t in trace(home)) == ["1", "2"]


@pytest.mark.usefixtures("two_jobs")
def test_a_scheduler_that_is_gone_is_said_and_its_jobs_end(home, tmp_path, scheduler, capfd):
    with worker(scheduler, tmp_path):
        run = batches.driver(home, "--scheduler", scheduler.address)
        wait_for(lambda: any(t[1] == "2" for t in trace(home)))
        kernel = int(next(t[2] for t in trace(home) if t[1] == "2"))
        scheduler.kill()
        said = run.wait(60)
        assert run.returncode == 2 and "Traceback" not in said, said
        (line,) = [text for text in said.splitlines() if text.startswith("unlearnkit: ")]
        assert said.splitlines()[-1] == line and f"the scheduler at {scheduler.address} is gone" in line
        wait_for(lambda: not alive(kernel), 60)
    (home / "gate").touch()
    with threads(1) as address:
        assert main(["study", "--profile", "smoke", "--scheduler", address]) == 0
    assert "2 jobs: ran 1, cached 1, failed 0" in capfd.readouterr().out
    assert sorted(t[1] for t in trace(home)) == ["1", "2", "2"]
