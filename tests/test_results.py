import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from unlearnkit import results
from unlearnkit.core.errors import StoreError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    for name in results.EXPECTED:
        figure = Figure() if name.startswith("F") else None
        origin = {"notebook": "x", "parameters": {"copies": [1]}, "runs": ["b a", "c"], "roots": [results.publish]}
        results.publish(name, pd.DataFrame({"v": [1.0, 0.1 + 0.2]}), figure, to="results", **origin)
    return tmp_path / "results"


def states(folder):
    return {name: state for name, state, _ in results.verify(folder)}


def test_what_was_published_is_whole_and_says_where_it_came_from(folder):
    assert set(states(folder).values()) == {"ok"}
    entry = json.loads((folder / "manifest.json").read_text())["F1"]
    assert entry["runs"] == ["a", "b", "c"] and entry["rows"] == 2 and entry["notebook"] == "x"
    assert set(entry["files"]) == {"figures/F1.csv", "figures/F1.png"}
    assert entry["made"]["libraries"]["torch"]


def test_results_of_another_profile_stand_beside(folder):
    origin = {"notebook": "x", "parameters": {}, "runs": [], "roots": []}
    results.publish("T1", pd.DataFrame({"v": [1]}), to="results/real", **origin)
    found = states(folder)
    assert found["T1"] == found["real/T1"] == "ok"
    assert "real/T2" not in found  # only what another profile has published is expected of it


def test_nothing_is_published_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    made = results.publish("T1", pd.DataFrame(), to="", notebook="x", parameters={}, runs=[], roots=[])
    assert made == [] and not list(tmp_path.iterdir())


def test_damage_is_seen(folder):
    (folder / "tables" / "T1.csv").write_text("v\n2\n")
    (folder / "figures" / "F1.png").unlink()
    found = states(folder)
    assert found["T1"] == "damaged" and found["F1"] == "missing" and found["T2"] == "ok"


def test_a_result_that_was_never_made_is_missing(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["T2"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert states(folder)["T2"] == "missing"


def test_changed_code_makes_stale_not_damaged(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["T1"]["sources"]["unlearnkit.results"] = "0" * 16
    manifest["T2"]["sources"]["unlearnkit.gone"] = "0" * 16
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = {name: (state, detail) for name, state, detail in results.verify(folder)}
    assert found["T1"][0] == found["T2"][0] == "stale" and "unlearnkit.results" in found["T1"][1]


def test_a_broken_manifest_is_named(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="not valid JSON"):
        results.verify(folder)


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch):
    before = (folder / "tables" / "T1.csv").read_text()

    def full(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    origin = {"notebook": "x", "parameters": {}, "runs": [], "roots": []}
    with pytest.raises(StoreError, match="No space left"):
        results.publish("T1", pd.DataFrame({"v": [9]}), to="results", **origin)
    assert (folder / "tables" / "T1.csv").read_text() == before
    assert len(list((folder / "tables").iterdir())) == sum(name.startswith("T") for name in results.EXPECTED)
