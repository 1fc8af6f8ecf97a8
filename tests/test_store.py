import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from unlearnkit.core import archive
from unlearnkit.core import store as store_module
from unlearnkit.core.errors import StoreError
from unlearnkit.core.store import Spec, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def write(text="hello"):
    calls = []

    def make(folder: Path):
        calls.append(1)
        (folder / "data.txt").write_text(text)
        return {"length": len(text)}

    make.calls = calls
    return make


def forget_what_was_read():
    """As in a new process."""
    store_module._verified.clear()


def test_computed_once_then_read(store):
    make = write()
    first = store.get(Spec("thing", {"a": 1}), make)
    forget_what_was_read()
    again = store.get(Spec("thing", {"a": 1}), make)
    assert len(make.calls) == 1 and again.key == first.key
    assert (again.folder / "data.txt").read_text() == "hello" and again.info == {"length": 5}


@pytest.mark.parametrize(
    "other",
    [
        Spec("thing", {"a": 2}),
        Spec("thing", {"a": 1, "b": 0}),
        Spec("other", {"a": 1}),
        Spec("thing", {"a": 1}, parents=["x"]),
        Spec("thing", {"a": 1}, roots=[Spec]),
    ],
)
def test_a_change_in_any_part_misses(store, other):
    make = write()
    store.get(Spec("thing", {"a": 1}), make)
    store.get(other, make)
    assert len(make.calls) == 2


def test_the_order_of_parameters_is_no_change():
    assert Spec("t", {"a": 1, "b": 2}).key == Spec("t", {"b": 2, "a": 1}).key


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "manifest", "info", "list", "folder", "another's"])
def test_a_damaged_artefact_is_named_set_aside_and_recomputed(store, damage, capsys):
    spec, make = Spec("thing", {}), write()
    folder = store.get(spec, make).folder
    manifest = store.root / "thing" / f"{spec.key}.json"
    if damage == "truncate":
        (folder / "data.txt").write_text("hel")
    elif damage == "alter":
        (folder / "data.txt").write_text("jello")
    elif damage == "remove":
        (folder / "data.txt").unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:40])
    elif damage == "info":  # what it says of itself is protected, too
        manifest.write_text(manifest.read_text().replace('"length": 5', '"length": 6'))
    elif damage == "list":
        manifest.write_text("[]")
    elif damage == "folder":
        manifest.unlink()
        manifest.mkdir()
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"key": "0" * 20}))
    forget_what_was_read()
    again = store.get(spec, make)
    assert len(make.calls) == 2 and (again.folder / "data.txt").read_text() == "hello"
    assert f"thing {spec.key} is damaged" in capsys.readouterr().err
    assert len(list((store.root / "damaged").iterdir())) == 1


def test_a_failing_maker_leaves_nothing(store):
    def make(folder):
        (folder / "half").write_text("...")
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        store.get(Spec("thing", {}), make)
    assert not (store.root / "thing").exists() and not list((store.root / "making").iterdir())


def test_what_was_finished_before_a_failure_stays(store):
    specs = [Spec("thing", {"i": i}) for i in range(3)]

    def make(missing, publish):
        for i, folder in missing:
            if i == 2:
                raise RuntimeError("killed here")
            (folder / "x").write_text(str(i))
            publish(i, {})

    with pytest.raises(RuntimeError):
        store.get_many(specs, make)
    seen = []

    def rest(missing, publish):
        seen.extend(i for i, _ in missing)
        (missing[0][1] / "x").write_text("2")
        publish(2, {})

    found = store.get_many(specs, rest)
    assert seen == [2] and [(a.folder / "x").read_text() for a in found] == ["0", "1", "2"]


def test_equal_specs_are_computed_once(store):
    seen = []

    def make(missing, publish):
        for i, folder in missing:
            seen.append(i)
            (folder / "x").write_text("1")
            publish(i, {})

    a, b = store.get_many([Spec("thing", {}), Spec("thing", {})], make)
    assert seen == [0] and a == b


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_explained_and_nothing_half_written_stays(store, code):
    def make(folder):
        (folder / "half").write_text("...")
        raise OSError(code, os.strerror(code))

    with pytest.raises(StoreError, match="UNLEARNKIT_CACHE"):
        store.get(Spec("thing", {}), make)
    assert not (store.root / "thing").exists() and not list((store.root / "making").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_disk(store):
    def make(folder):
        os.symlink("/dev/full", folder / "data")
        with open(folder / "data", "w", encoding="utf-8") as file:
            file.write("x" * 100_000)

    with pytest.raises(StoreError, match="the disk is full"):
        store.get(Spec("thing", {}), make)


def test_values_that_are_no_json_are_refused():
    with pytest.raises(StoreError, match="plain values"):
        Spec("thing", {"a": object()})
    with pytest.raises(StoreError, match="plain values"):
        Spec("thing", {"a": float("nan")})


SCRIPT = """
import sys, time
from pathlib import Path
from unlearnkit.core.store import Spec, Store
def make(folder):
    (folder / "x").write_text("half")
    print("started", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "x").write_text("whole")
Store(Path(sys.argv[1])).get(Spec("thing", {}), make)
print("done", flush=True)
"""


def start(root, seconds):
    command = [sys.executable, "-c", SCRIPT, str(root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_one_key_compute_it_once(store):
    runs = [start(store.root, 1.5) for _ in range(2)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert sorted(o.count("started") for o in outputs) == [0, 1]
    assert all("done" in o for o in outputs)


def test_a_killed_process_leaves_nothing_that_is_used_and_frees_its_lock(store):
    run = start(store.root, 60)
    assert run.stdout.readline() == "started\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    begun = time.monotonic()
    artefact = store.get(Spec("thing", {}), write("whole"))
    assert time.monotonic() - begun < 5
    assert (artefact.folder / "data.txt").read_text() == "whole" and not (artefact.folder / "x").exists()


def test_publishing_a_key_that_another_machine_published_first_is_harmless(store):
    """As if locks did not reach across a network share."""
    spec = Spec("thing", {})

    def make(folder):
        Store(store.root)._publish(spec, _filled(folder.parent / "theirs", "theirs"), {}, 0.0)
        _filled(folder, "ours", exist=True)

    assert (store.get(spec, make).folder / "x").read_text() == "theirs"


def _filled(folder, text, exist=False):
    folder.mkdir(exist_ok=exist)
    (folder / "x").write_text(text)
    return folder


def inodes(folder):
    return len([*folder.rglob("*")])


def test_an_artefact_takes_two_inodes_and_leaves_no_lock(store):
    specs = [Spec("thing", {"i": i}) for i in range(30)]

    def make(missing, publish):
        for i, folder in missing:
            (folder / "x").write_text(str(i))
            publish(i, {})

    store.get_many(specs, make)
    assert inodes(store.root / "thing") == 2 * 30
    assert not [*(store.root / "locks").iterdir()]


def test_what_killed_processes_left_is_swept(store):
    run = start(store.root, 60)
    assert run.stdout.readline() == "started\n"
    run.kill()
    run.wait()
    locks = store.root / "locks"
    (locks / ("0" * 20)).touch()
    assert len([*locks.iterdir()]) == 2 and len([*(store.root / "making").iterdir()]) == 1
    (store.root / "making" / ("1" * 20 + "-x")).mkdir()  # whose lock another process has taken and dropped since
    store_module._swept.clear()
    store.get(Spec("other", {}), write())
    assert not [*locks.iterdir()] and not [*(store.root / "making").iterdir()]


BATCH = """
import sys, time
from pathlib import Path
from unlearnkit.core.store import Spec, Store
def make(missing, publish):
    print("has", *[i for i, _ in missing], flush=True)
    for i, folder in missing:
        time.sleep(0.4)
        (folder / "x").write_text("batch")
        publish(i, {})
Store(Path(sys.argv[1])).get_many([Spec("thing", {"i": i}) for i in range(8)], make)
"""


@pytest.mark.slow
def test_who_waits_for_a_published_key_does_not_wait_for_its_batch(store):
    """The batch takes 3.2 s; its first artefact is there after 0.4 s, and a key that it does not make is free at once."""
    batch = subprocess.Popen([sys.executable, "-c", BATCH, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert batch.stdout.readline() == "has 0 1 2 3 4 5 6 7\n"
    begun, make = time.monotonic(), write("mine")
    first, other = store.get_many([Spec("thing", {"i": 0}), Spec("other", {})], lambda missing, publish: [
        publish(i, make(folder)) for i, folder in missing
    ])  # fmt: skip
    took = time.monotonic() - begun
    assert took < 1.6 and batch.poll() is None, took
    assert (first.folder / "x").read_text() == "batch" and (other.folder / "data.txt").read_text() == "mine"
    assert len(make.calls) == 1
    batch.wait()


@pytest.mark.slow
def test_equal_batches_of_two_processes_are_one(store):
    runs = [subprocess.Popen([sys.executable, "-c", BATCH, str(store.root)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)]  # fmt: skip
    said = sorted(run.communicate(timeout=60)[0] for run in runs)
    assert said == ["", "has 0 1 2 3 4 5 6 7\n"]


def test_what_another_fails_to_make_is_made_here(store):
    """In threads: the second waits for the first, which fails."""
    begun, fail = threading.Event(), threading.Event()
    failed = []

    def bad(folder):
        begun.set()
        fail.wait(10)
        raise ValueError("boom")

    def first():
        with pytest.raises(ValueError, match="boom"):
            store.get(Spec("thing", {}), bad)
        failed.append(1)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(10)
    threading.Timer(0.2, fail.set).start()
    assert (store.get(Spec("thing", {}), write("second")).folder / "data.txt").read_text() == "second"
    thread.join()
    assert failed == [1]


def test_a_cache_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to the cache \(.*file/cache\): a part of its path is a file"):
        Store(tmp_path / "file" / "cache").get(Spec("thing", {}), write())


def test_a_manifest_is_found_by_its_key_and_a_changed_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path))
    spec = Spec("thing", {"a": {1: 2}})
    Store().get(spec, write())
    assert store_module.described(spec.key)["info"] == {"length": 5}
    file = tmp_path / "thing" / f"{spec.key}.json"
    file.write_text(file.read_text().replace('"length": 5', '"length": 6'))
    assert store_module.described(spec.key) is None


def several(folder):
    for name, text in (("a.txt", "A"), ("b.json", "[]"), ("c.bin", "C" * 1000)):
        (folder / name).write_text(text)


@pytest.mark.parametrize(("limit", "expected"), [(2000, 2), (1000, 4)])
def test_several_small_files_are_one_and_read_as_before(store, monkeypatch, limit, expected):
    monkeypatch.setattr(store_module, "PACKED", limit)
    spec = Spec("thing", {})
    files = store.get(spec, several).folder
    assert inodes(store.root / "thing") == expected and files.names == ["a.txt", "b.json", "c.bin"]
    for _ in range(2):
        assert [(files / name).read_text() for name in files.names] == ["A", "[]", "C" * 1000]
        assert not (files / "d").exists()
        forget_what_was_read()
        files = store.get(spec, several).folder
        if limit == 2000:
            (files / "a.txt").unlink()  # as somebody who cleans the temporary folder
    (stored,) = [p for p in (store.root / "thing").iterdir() if p.name.endswith(("zip", "a.txt"))]
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    forget_what_was_read()
    assert store.read(spec) is None


def unpack_and(end: str, root: Path, place: Path) -> Path:
    """The folder that a process unpacks `thing` to below `place`, before it ends in a way of its own."""
    code = "import os, signal, sys; from pathlib import Path; from unlearnkit.core.store import Spec, Store; "
    code += f"print((Store(Path(sys.argv[1])).read(Spec('thing', {{}})).folder / 'a.txt').parent, flush=True); {end}"
    env = os.environ | {"TMPDIR": str(place), "TEMP": str(place)}
    run = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, env=env)
    folder = Path(run.stdout.strip())
    assert folder.is_relative_to(place), run.stderr
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals, no forks")
def test_what_was_unpacked_goes_with_its_process(store, tmp_path):
    """Also with one that is forked, as kernels of a batch are; what a killed one leaves goes when the next unpacks."""
    store.get(Spec("thing", {}), several)
    assert not unpack_and("", store.root, tmp_path).exists()
    assert not unpack_and(
        "from multiprocessing.util import _exit_function as e; e(); os._exit(0)", store.root, tmp_path
    ).exists()
    left = unpack_and("os.kill(os.getpid(), signal.SIGKILL)", store.root, tmp_path)
    assert left.exists()
    (tmp_path / "unlearnkit-another").mkdir()  # another version's, or one that is just being made
    assert not unpack_and("", store.root, tmp_path).exists()
    assert not left.exists() and [p.name for p in tmp_path.glob("unlearnkit-*")] == ["unlearnkit-another"]


def test_what_a_living_process_has_unpacked_stays(store, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    archive._scratch.cache_clear()
    store.get(Spec("thing", {}), several)
    forget_what_was_read()
    ours = store.read(Spec("thing", {})).folder / "a.txt"
    assert not unpack_and("", store.root, tmp_path).exists()
    assert ours.exists() and ours.is_relative_to(tmp_path)
    archive._scratch.cache_clear()
