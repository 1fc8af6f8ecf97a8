"""Thirty kills at random times: of processes at one cache, and of driver, worker, fork server and kernel of a batch."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

import batches
from batches import WORK, alive, driver, grids, parent, trace, wait_for, write
from unlearnkit.core import store as store_module
from unlearnkit.core.store import Spec, Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc"),
]
KEYS, KILLS = 150, 26


def specs():
    return [Spec("thing", {"i": i}) for i in range(KEYS)]


def content(i):
    return f"{i} " * 2000


def compute(root: str, trace: str) -> None:
    """All keys in batches of five, some milliseconds each; what was made is noted when it is complete."""
    store_module._verified.clear()
    store_module._swept.clear()
    these = specs()

    def make(missing, publish):
        for i, folder in missing:
            (folder / "a.txt").write_text(content(start + i))
            time.sleep(0.004)
            (folder / "b.txt").write_text("whole")
            with open(trace, "a", encoding="utf-8") as file:
                file.write(f"{start + i}\n")
            publish(i, {"i": start + i})

    for start in range(0, KEYS, 5):
        Store(Path(root)).get_many(these[start : start + 5], make)


def test_processes_that_share_a_cache_and_are_killed_at_random_lose_and_repeat_nothing(tmp_path):
    draw, fork = random.Random(0), multiprocessing.get_context("fork")
    notes, root = tmp_path / "notes", tmp_path / "cache"
    specs()  # the program's digests, which the processes then have

    def begin():
        process = fork.Process(target=compute, args=(str(root), str(notes)))
        process.start()
        return process

    running = [begin() for _ in range(3)]
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.005, 0.06))
        i = draw.randrange(len(running))
        running[i].kill()
        running[i].join()
        running[i] = begin()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    store_module._verified.clear()
    for i, spec in enumerate(specs()):
        found = Store(root).read(spec)
        assert found and (found.folder / "a.txt").read_text() == content(i) and found.info == {"i": i}
    made = notes.read_text().split()
    assert len(made) <= KEYS + KILLS and set(made) == {str(i) for i in range(KEYS)}
    store_module._swept.clear()
    Store(root).get(Spec("other", {}), lambda folder: (folder / "x").write_text("x") and None)
    assert not [*(root / "locks").iterdir()] and not [*(root / "making").iterdir()] and not (root / "damaged").exists()


ARTEFACT = """
from unlearnkit.core.store import Spec, Store
def make(folder):
    time.sleep(0.2)
    (folder / "x").write_text(str(n))
    with open(paths.root() / "made", "a") as file:
        file.write(f"{n} ")
Store().get(Spec("thing", {"n": n}), make)
"""


def test_a_batch_whose_parts_are_killed_at_random_goes_on_and_ends(tmp_path, monkeypatch):
    """Driver, worker, fork server and kernel; the same command until it has ended well."""
    home, draw, jobs = batches.home(tmp_path / "home", monkeypatch), random.Random(1), 8
    write(home, "1_first", WORK, ARTEFACT)
    grids(home, f"profiles: {{smoke: {{n: {list(range(jobs))}}}}}\njobs:\n- {{notebook: 1_first, each: [n]}}\n")
    victims = ["driver", "worker", "fork server", "kernel"]
    draw.shuffle(victims)
    run, started = driver(home, "--workers", "1"), []
    for victim in victims:
        if run.returncode is not None or not alive(run.pid):
            run = driver(home, "--workers", "1")
        before = len(trace(home))
        wait_for(lambda before=before, run=run: len(trace(home)) > before or not alive(run.pid), 60)
        kernel = int(trace(home)[-1][2])
        if not alive(kernel):
            continue
        chain = {"kernel": kernel, "fork server": parent(kernel)}
        chain["worker"] = parent(chain["fork server"])
        chain["driver"] = run.pid
        started += chain.values()
        time.sleep(draw.uniform(0, 0.15))
        try:
            os.kill(chain[victim], signal.SIGKILL)
        except ProcessLookupError:  # the job has ended meanwhile, and its kernel with it
            continue
        if victim == "driver":
            run.wait(30)
    run.wait(120)
    wait_for(lambda: not any(map(alive, started)), 30)
    last = driver(home, "--workers", "1")
    said = last.wait(120)
    assert last.returncode == 0 and f"{jobs} jobs: ran" in said and "failed 0" in said, said
    store_module._verified.clear()
    for n in range(jobs):
        assert (Store().read(Spec("thing", {"n": n})).folder / "x").read_text() == str(n)
    made = (home / "made").read_text().split()
    assert len(made) <= jobs + len(victims) and set(made) == {str(n) for n in range(jobs)}
