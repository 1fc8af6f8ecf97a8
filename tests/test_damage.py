"""Every kind of file that the study reads, damaged as files are: set aside, refused in one line, or read as it was."""

import random
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from test_inputs_records import RECORD
from unlearnkit import listing, results
from unlearnkit.core import store as store_module
from unlearnkit.core.errors import BadValue, StoreError, UnlearnkitError
from unlearnkit.core.parameters import Parameters
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.methods import tuned_options
from unlearnkit.report.sources import Result
from unlearnkit.results import manifests, numbers, publishing, selection
from unlearnkit.runner import job
from unlearnkit.study.memory import Memory
from unlearnkit.study.rows import Row
from unlearnkit.tuning import record

BROKEN_DISK = Path("/proc/self/mem")  # to read its first byte fails with EIO, for root, too


def damaged(file: Path, flips: int = 12):
    """Each way in which `file` is damaged, by name, while it is so; afterwards it is whole again."""
    whole, draw = file.read_bytes(), random.Random(file.suffix)
    contents = {
        "emptied": b"",
        "half": whole[: len(whole) // 2],
        "cut by a byte": whole[:-1],
        "zeroed": bytes(len(whole)),
        "its end zeroed": whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
        "another version's": b'{"format": 99, "digest": "0", "key": "0", "files": {}}',
        "longer": whole + b"\0",
    }
    for place in sorted(draw.sample(range(len(whole)), flips)):
        changed = bytes([whole[place] ^ 1 << draw.randrange(8)])
        contents[f"byte {place} flipped"] = whole[:place] + changed + whole[place + 1 :]
    ways = {what: (lambda content=content: file.write_bytes(content)) for what, content in contents.items()}
    ways["a folder"] = file.mkdir
    if BROKEN_DISK.exists():
        ways["unreadable"] = lambda: file.symlink_to(BROKEN_DISK)
    for what, damage in ways.items():
        remove(file)
        damage()
        yield what
    remove(file)
    file.write_bytes(whole)


def remove(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    file.unlink(missing_ok=True)


def said_in_one_line(error: Exception) -> bool:
    return "\n" not in str(error) and len(str(error)) < 1000


# --- artefacts of the store ---

TABLE = pd.DataFrame({"score": [0.5, 0.25], "name": ["a", "b"]})
WRITE = {
    "model.safetensors": lambda file: save_file({"w": torch.arange(60.0)}, file),
    "info.json": lambda file: file.write_text('{"n_classes": 10}'),
    "table.parquet": lambda file: TABLE.to_parquet(file),
}


@pytest.mark.parametrize("files", [[name] for name in WRITE] + [[*WRITE]], ids=[*WRITE, "an archive"])
def test_an_artefact_is_set_aside_and_made_anew(tmp_path, files, capsys):
    store, spec, whole = Store(tmp_path / "cache"), Spec("thing", {"files": files}), tmp_path / "whole"

    def make(folder):
        for name in files:
            WRITE[name](folder / name)
        return {"loss": 0.125}

    store.get(spec, make)
    shutil.copytree(store.root / "thing", whole)
    stored = sorted(path.name for path in whole.iterdir())
    assert len(stored) == 2
    for name in stored:
        shutil.copytree(whole, store.root / "thing", dirs_exist_ok=True)
        for what in damaged(store.root / "thing" / name):
            store_module._verified.clear()
            found = store.get(spec, make)
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and "is damaged (" in said and "set aside and computed anew" in said, what
            assert found.info == {"loss": 0.125}
            for file in files:
                assert (found.folder / file).read_bytes() == (make_again(tmp_path, file)).read_bytes(), (what, file)
            shutil.rmtree(store.root / "thing")
            shutil.copytree(whole, store.root / "thing")


def make_again(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        WRITE[name](folder / name)
    return folder / name


# --- runs: their manifests and executed notebooks ---


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A results folder with the table T1 and the figure F1, and the run that made them."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / "runs"))
    parameters = Parameters({"publish": "results"}, "1_first")
    runs = pd.DataFrame({"run": ["a", "b"], "metric": "TA", "value": [0.5, 0.25]})
    figure = plt.figure()
    roots = [results.publish]
    files = results.publish("T1", pd.DataFrame({"v": [1.0]}), parameters=parameters, runs=["c"], roots=roots)
    files += results.publish("F1", pd.DataFrame({"v": [2.0]}), figure, parameters=parameters, runs=runs, roots=roots)
    plt.close(figure)
    beside = tmp_path / "runs" / "1_first" / "beside"
    beside.mkdir(parents=True)
    (beside / "notebook.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    (beside / "log.jsonl").write_text("".join(f'["output", "results/{file}"]\n' for file in files))
    job._publish(beside, "1_first", "k", {"publish": "results"}, 2.5, job.Places.of())
    assert job.finished("1_first", "k") and job.wall_times("1_first") == [2.5]
    return tmp_path / "results"


def test_a_run_whose_manifest_is_damaged_runs_again(folder, capsys):
    file, refused = job.folder("1_first", "k") / "manifest.json", 0
    whole = job._read(file)
    for what in damaged(file, flips=40):
        if job.finished("1_first", "k"):  # the name of a part that nothing needs has changed
            assert "flipped" in what and job.outputs(file) == whole["outputs"]
        else:
            refused += capsys.readouterr().err.endswith(
                "1_first/k/manifest.json is not a job's manifest: the job runs again\n"
            )
            assert job.wall_times("1_first") == []
    assert refused > 40 and job.finished("1_first", "k")


def test_a_run_whose_notebook_is_damaged_runs_again(folder, capsys):
    file = job.folder("1_first", "k") / "notebook.ipynb"
    (result,) = (r for r in reported(folder) if r.name == "T1")
    assert result.executed == file
    for what in damaged(file):
        assert not job.finished("1_first", "k"), what
        assert capsys.readouterr().err == "1_first/k/notebook.ipynb is damaged or gone: the job runs again\n"
        (result,) = (r for r in reported(folder) if r.name == "T1")
        assert result.executed is None, what
    assert job.finished("1_first", "k")


def reported(folder):
    return [
        Result(name, "", folder, entry or {}, state, "")
        for name, (entry, state, _) in publishing.states(folder).items()
    ]


# --- published results ---


def test_a_published_file_is_refused_by_every_reader_and_made_again(folder):
    files = {file: name for name, entry in manifests.read(folder).items() for file in entry["files"]}
    assert sorted(Path(file).suffix for file in files) == [".csv", ".csv", ".parquet", ".png"]
    for file, name in files.items():
        for what in damaged(folder / file, flips=4):
            numbers._read.clear()
            ((state, detail),) = [row[1:] for row in results.verify(folder) if row[0] == name]
            assert state == "damaged" and file in detail and "\n" not in detail, what
            assert not job.finished("1_first", "k"), what
            assert [r.file(Path(file).suffix) for r in reported(folder) if r.name == name] == [None], what
            for read in readers(name, Path(file).suffix, folder):
                with pytest.raises(UnlearnkitError) as caught:
                    read()
                assert said_in_one_line(caught.value), what
        assert {row[1] for row in results.verify(folder)} == {"ok"}


def readers(name: str, ending: str, folder: Path):
    """What reads such a file of this result."""
    yield lambda: selection.find(name, {}, folder)
    if ending == ".csv":
        yield lambda: results.published(name)
        yield lambda: (numbers.number(f"{name} v", folder), numbers.check_tables(folder))  # as `unlearnkit readme` does
    elif ending == ".png":
        yield lambda: results.published_figure(name)


def test_the_manifest_of_results_is_refused_or_the_result_is_damaged(folder, capsys):
    file, refused, named = folder / "manifest.json", 0, 0
    whole = manifests.read(folder)
    for what in damaged(file, flips=150):
        manifests._listed.clear()
        try:
            states = [row[1] for row in results.verify(folder, expected=["T1", "F1"])]
        except StoreError as error:
            assert said_in_one_line(error) and "restore it from git, or delete it" in str(error), what
            refused += 1
        else:
            named += set(states) != {"ok"}
            same = {k: {p: v for p, v in e.items() if p != "digest"} for k, e in whole.items()}
            assert set(states) != {"ok"} or all(
                same[k].items() <= e.items() for k, e in manifests.read(folder).items()
            ), what
    assert refused > 20 and named > 80


@pytest.mark.parametrize("change", [{"rows": 3}, {"runs": ["d"]}, {"sources": {}}, {"parameters": {"copies": [5]}}])
def test_what_a_manifest_says_of_a_result_cannot_be_changed(folder, change):
    manifest = manifests.read(folder)
    manifest["T1"] |= change
    (folder / "manifest.json").write_text(publishing._json(manifest))
    assert [row for row in results.verify(folder) if row[0] == "T1"] == [
        ("T1", "damaged", "its entry in manifest.json is not what was written; restore it from git or run `make study`")
    ]


# --- records without a manifest ---


def test_kept_scores_are_refused(tmp_path):
    config = Config(arms=[{"targets": "canary", "n_targets": 2, "copies": 1}])
    rows = [Row(config, name) for name in ("retrain", "clean")]
    draw = np.random.default_rng(0)
    kept = [
        pd.DataFrame({"score": draw.standard_normal(200), "n": range(200), "run": "a", "level": ["", None] * 100})
        for _ in rows
    ]
    memory, refused = Memory(tmp_path, config), 0
    for row, scores in zip(rows, kept):
        memory[row] = scores
    assert memory.file
    for what in damaged(memory.file, flips=80):
        try:
            found = [Memory(tmp_path, config)[row] for row in rows]
        except BadValue as error:
            assert said_in_one_line(error) and " is damaged (" in str(error), what
            assert str(error).endswith("): restore it from git, or delete it to measure it anew"), what
            refused += 1
        else:  # in a part that says how it was written
            assert "flipped" in what and all(map(same_scores, found, kept)), what
    assert refused > 60 and same_scores(Memory(tmp_path, config)[rows[0]], kept[0])


def same_scores(found, scores) -> bool:
    return found is not None and found.astype(object).where(found.notna(), None).equals(
        scores.astype(object).where(scores.notna(), None)
    )


def test_tuned_values_are_refused_or_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_TUNED", str(tmp_path))
    monkeypatch.setattr(record.tuned_options, "stale", lambda content: [])
    file = tuned_options.place("finetune", "digits", "small_cnn")
    file.parent.mkdir(parents=True)
    file.write_text(record._one_line_per_entry(RECORD))
    refused = 0
    for what in damaged(file, flips=150):
        try:
            assert tuned_options.values("finetune", "digits", "small_cnn") == RECORD["values"], what
            assert "flipped" in what or what == "cut by a byte"  # the end of the last line
        except UnlearnkitError as error:
            assert said_in_one_line(error) and "finetune.json" in str(error), what
            refused += 1
    assert refused > 100


def test_a_list_that_was_kept_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path))
    rows = [{"name": "a", "epochs": 3}]
    assert listing._stored("things", lambda _: rows) == rows
    (file,) = (tmp_path / "lists").iterdir()
    for what in damaged(file):
        assert listing._stored("things", lambda _: rows) == rows, what
