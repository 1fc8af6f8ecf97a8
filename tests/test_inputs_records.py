"""Records that runs read, and that people edit, move and merge: tuned values, manifests of runs and of results."""

import json

import pytest

from unlearnkit.core.errors import StoreError, UnlearnkitError
from unlearnkit.methods import tuned_options
from unlearnkit.results import manifests
from unlearnkit.runner import job

RECORD = {
    "format": tuned_options.FORMAT,
    "method": "finetune",
    "dataset": "digits",
    "model": "small_cnn",
    "values": {"lr": 0.02},
    "defaults": {"lr": 0.01},
    "objective": {"default": 0.2, "best": 0.1, "n": 5},
    "trials": [{"options": {"lr": 0.01}, "gap": 0.2}, {"options": {"lr": 0.02}, "gap": 0.1}],
    "sources": {},
    "made": {"date": "2026-01-02"},
}


def found(values):
    """A record of a search that found these values."""
    return RECORD | {"values": values, "trials": [RECORD["trials"][0], {"options": values, "gap": 0.1}]}


DEEP = "[" * 200_000
TEXTS = {"nothing": "", "cut": '{"format": 1', "deep": DEEP, "twice": '{"format": 1, "format": 1}', "huge": "9" * 5000}
SHAPES = {
    "a list": [],
    "values that are a list": RECORD | {"values": ["lr"]},
    "values that are none": RECORD | {"values": None},
    "values that no trial had": RECORD | {"values": {"lr": 0.03}},
    "a gap that no trial had": RECORD | {"objective": {"default": 0.2, "best": 0.05, "n": 5}},
    "an option that there is not": found({"lrr": 0.1}),
    "an option of another type": found({"lr": [0.1]}),
    "a negative number": found({"epochs": -1}),
    "a method that is a number": RECORD | {"method": 3},
    "a method that is a list": RECORD | {"method": ["finetune"]},
    "a dataset that is none": RECORD | {"dataset": None},
    "an empty model": RECORD | {"model": ""},
    "no gap": RECORD | {"objective": {"n": 5}},
    "trials that are numbers": RECORD | {"trials": [1]},
    "sources by number": RECORD | {"sources": {"a": 1}},
    "no date": RECORD | {"made": {}},
    "another format": RECORD | {"format": "1"},
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_TUNED", str(tmp_path))
    place = tuned_options.place("finetune", "digits", "small_cnn")
    place.parent.mkdir(parents=True)
    return place


def test_a_whole_record_is_read(file):
    file.write_text(json.dumps(RECORD), encoding="utf-8")
    assert tuned_options.values("finetune", "digits", "small_cnn") == {"lr": 0.02}
    assert [row["method"] for row in tuned_options.listing()] == ["finetune"]


@pytest.mark.parametrize("what", [*TEXTS, *SHAPES])
def test_tuned_values_of_any_wrong_shape_are_one_line(file, what):
    file.write_text(TEXTS.get(what) if what in TEXTS else json.dumps(SHAPES[what]), encoding="utf-8")
    with pytest.raises(UnlearnkitError, match="finetune.json") as caught:
        tuned_options.values("finetune", "digits", "small_cnn")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000
    ((_, state, detail),) = tuned_options.states()
    assert (
        state == ("stale" if "option" in what or "negative" in what else "damaged") and detail
    )  # the code changed, too


def test_tuned_values_that_are_a_folder_are_one_line(file):
    file.mkdir()
    ((_, state, detail),) = tuned_options.states()
    assert state == "damaged" and "finetune.json cannot be read: Is a directory" in detail


@pytest.mark.parametrize(
    "text", [DEEP, '{"outputs": {}, "outputs": {}}', '{"outputs": {}, "seconds": 1e999}', "9" * 5000]
)
def test_a_run_manifest_of_any_wrong_shape_counts_as_not_run(tmp_path, monkeypatch, text):
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path))
    place = job.folder("1_first", "k") / "manifest.json"
    place.parent.mkdir(parents=True)
    place.write_text(text, encoding="utf-8")
    assert not job.wall_times("1_first")
    assert job.finished("1_first", "k") == ("1e999" in text)


@pytest.mark.parametrize("text", [DEEP, '{"T1": {}, "T1": {}}', "9" * 5000, "\ud83d"])
def test_a_results_manifest_of_any_wrong_shape_is_one_line(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(StoreError, match=r"^manifest.json in .*/ is not valid JSON") as caught:
        manifests.read(tmp_path)
    assert "\n" not in str(caught.value)
