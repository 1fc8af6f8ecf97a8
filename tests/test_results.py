import json
import shutil

import pandas as pd
import pytest
from matplotlib.figure import Figure

from unlearnkit import results
from unlearnkit.core.errors import BadValue, StoreError, UnknownName
from unlearnkit.core.parameters import Parameters
from unlearnkit.runner import grid

pytestmark = pytest.mark.slow

EXPECTED = grid.makes("small")


def origin(to="results", **parameters):
    return {
        "parameters": Parameters({**parameters, "publish": to}, "x"),
        "runs": ["b a", "c"],
        "roots": [results.publish],
    }


@pytest.fixture(scope="module")
def _published(tmp_path_factory):
    home = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_HOME", str(home))
        for name in EXPECTED:
            figure = Figure() if name.startswith("F") else None
            results.publish(name, pd.DataFrame({"v": [1.0, 0.1 + 0.2]}), figure, **origin(copies=[1]))
    return home / "results"


@pytest.fixture
def folder(_published, tmp_path, monkeypatch):
    """All that the small profile publishes: made once, and a copy for each test."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    return shutil.copytree(_published, tmp_path / "results")


def states(folder):
    return {name: state for name, state, _ in results.verify(folder, EXPECTED)}


def test_what_was_published_is_whole_and_says_where_it_came_from(folder):
    assert set(states(folder).values()) == {"ok"}
    entry = json.loads((folder / "manifest.json").read_text())["F1"]
    assert entry["runs"] == ["a", "b", "c"] and entry["rows"] == 2 and entry["notebook"] == "x"
    assert set(entry["files"]) == {"figures/F1.csv", "figures/F1.png"}
    assert entry["made"]["libraries"]["torch"] and entry["parameters"] == {
        "copies": [1]
    }  # but not where it was written to


def test_results_of_another_profile_stand_beside(folder):
    results.publish("T1", pd.DataFrame({"v": [1]}), **origin("results/real"))
    by_name = states(folder)
    assert by_name["T1"] == by_name["real/T1"] == "ok"
    assert "real/T2" not in by_name  # only what another profile has published is expected of it


def test_nothing_is_published_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    assert results.publish("T1", pd.DataFrame(), **origin("")) == [] and not list(tmp_path.iterdir())


def test_damage_is_seen(folder):
    (folder / "tables" / "T1.csv").write_text("v\n2\n")
    (folder / "figures" / "F1.png").unlink()
    by_name = states(folder)
    assert by_name["T1"] == "damaged" and by_name["F1"] == "missing" and by_name["T2"] == "ok"


def test_a_result_that_was_never_made_is_missing(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["T2"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert states(folder)["T2"] == "missing"


def test_changed_code_makes_stale_not_damaged(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["T1"]["sources"]["unlearnkit.results"] = "0" * 16
    manifest["T2"]["sources"]["unlearnkit.gone"] = "0" * 16
    del manifest["T1"]["digest"], manifest["T2"]["digest"]  # as in manifests of before there was one
    (folder / "manifest.json").write_text(json.dumps(manifest))
    by_name = {name: (state, detail) for name, state, detail in results.verify(folder)}
    assert by_name["T1"][0] == by_name["T2"][0] == "stale" and "unlearnkit.results" in by_name["T1"][1]


def test_a_broken_manifest_is_named(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="not valid JSON"):
        results.verify(folder)


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch):
    before = (folder / "tables" / "T1.csv").read_text()

    def full(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(StoreError, match="No space left"):
        results.publish("T1", pd.DataFrame({"v": [9]}), **origin())
    assert (folder / "tables" / "T1.csv").read_text() == before
    assert len(list((folder / "tables").iterdir())) == sum(name.startswith("T") for name in EXPECTED)


# --- what is published, read back ---


def test_a_published_table_and_figure_come_back(folder):
    assert results.published("T2").equals(pd.DataFrame({"v": [1.0, 0.3]}))  # to the digits that a CSV keeps
    assert results.published("F3", "small").v.tolist() == [1.0, 0.3]  # the data behind a figure
    results.publish("T2", pd.DataFrame({"v": [7]}), **origin("results/real"))
    assert results.published("T2", "real").v.tolist() == [7]
    picture, described = results.published_figure("F3"), results.published_figure("F3", alt="Influence by copies")
    assert picture.data == (folder / "figures" / "F3.png").read_bytes()
    assert picture._repr_mimebundle_()[1]["image/png"]["alt"] == "Figure F3, drawn from 2 rows with the columns v"
    assert described._repr_mimebundle_()[1]["image/png"]["alt"] == "Influence by copies"


@pytest.mark.parametrize(
    ("read", "error", "message"),
    [
        (lambda: results.published("T22"), UnknownName, "unknown published table 'T22'. Did you mean 'T2'"),
        (lambda: results.published("T22"), UnknownName, "To make it: `unlearnkit study --only T22`"),
        (lambda: results.published_figure("T2"), UnknownName, "unknown published figure 'T2'"),
        (lambda: results.published("T2", "real"), BadValue, "'real' has published nothing: run `unlearnkit study"),
        (lambda: results.published("T3"), StoreError, "tables/T3.csv is not there: restore it from git"),
    ],
)
def test_what_is_not_published_is_named(folder, read, error, message):
    (folder / "tables" / "T3.csv").unlink()
    with pytest.raises(error, match=message):
        read()


def test_the_expected_results_are_those_that_the_grids_make(tmp_path, monkeypatch):
    assert {"T1", "T2", "F3", "T3", "T9"} <= set(EXPECTED)
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    (tmp_path / "notebooks" / "grids").mkdir(parents=True)
    for name, text in (
        ("a", "{small: {}}\njobs: [{notebook: x, makes: [T1, F1]}, {notebook: y}]"),
        ("b", "{full: {}}\njobs: []"),
    ):
        (tmp_path / "notebooks" / "grids" / f"{name}.yaml").write_text(f"profiles: {text}")
    assert grid.makes("small") == ["F1", "T1"] and grid.makes("full") == []
    assert [row[:2] for row in results.verify(expected=grid.makes("small"))] == [("F1", "missing"), ("T1", "missing")]


def test_many_changed_modules_are_a_short_line(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["T1"]["sources"] |= {f"unlearnkit.gone_{i}": "0" * 16 for i in range(100)}
    del manifest["T1"]["digest"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    ((state, detail),) = [row[1:] for row in results.verify(folder) if row[0] == "T1"]
    assert state == "stale" and "and 96 more; run `make study`" in detail and len(detail) < 200
