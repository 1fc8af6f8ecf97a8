import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import published
from unlearnkit import results
from unlearnkit.core.errors import BadValue
from unlearnkit.results import records


def test_a_record_comes_back_as_it_was_and_names_its_runs(tmp_path):
    scores = published.scores(["canary"], [0, 5])
    name = records.write(scores, tmp_path, results.write_whole)
    back = records.read(tmp_path, {"files": [name]})
    index = ["run", "metric", "reference", "group"]
    pd.testing.assert_frame_equal(
        back.sort_values(index, ignore_index=True), scores.sort_values(index, ignore_index=True),
        check_dtype=False, rtol=1e-6,
    )  # fmt: skip
    runs = records.runs(back)
    assert len(runs) == 2 * 4 * 3 and {"seed", "method", "copies", "strength"} <= set(runs)
    assert not {"metric", "value", "group"} & set(runs)
    assert runs.strength.unique().tolist() == [0.3]  # what names a run keeps all its digits


def test_equal_records_are_one_file_and_no_record_is_left_behind(tmp_path, monkeypatch):
    home = published.project(tmp_path, monkeypatch)
    assert len(list((home / "results" / "scores").iterdir())) == 1  # T2 and F3 were made from the same
    published.publish(published.scores(["random"], [0]), published.into("results"))
    assert len(list((home / "results" / "scores").iterdir())) == 1
    assert {state for _, state, _ in results.verify()} == {"ok"}


def test_each_row_finds_its_own_runs_and_all_runs_are_found_once(tmp_path):
    scores = published.scores(["random", "canary"], [0, 5])
    runs = records.runs(scores)
    table = runs.groupby(["targets", "copies", "method", "strength"], as_index=False).size()
    behind = records.behind(table, runs)
    assert [len(keys) for keys in behind] == [3] * len(table)
    assert sorted(key for keys in behind for key in keys) == sorted(runs.run)
    for (_, row), keys in zip(table.iterrows(), behind):
        assert runs[runs.run.isin(keys)].method.unique().tolist() == [row.method]
    assert records.behind(pd.DataFrame({"run": ["a b", "c"]}), runs) == [["a", "b"], ["c"]]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_after_a_csv_kept_it(value):
    assert records.same(value, float(f"{value:.6g}")) and records.same(str(value), value)


def test_what_is_not_the_same():
    assert not records.same(0.3, 0.5) and not records.same("", 0) and not records.same("canary", "random")
    assert records.same(None, float("nan")) and records.same("5", 5.0) and not records.same(True, 1)


def test_a_selection_that_fits_nothing_says_what_there_is():
    rows = pd.DataFrame({"method": ["a", "b"], "copies": [5, 10]})
    with pytest.raises(BadValue, match="no column 'metod'; it has: method, copies"):
        records.select(rows, {"metod": "a"}, "T2")
    with pytest.raises(BadValue, match="copies=10; with the rest of the selection there is: 5"):
        records.select(rows, {"method": "a", "copies": "10"}, "T2")
    assert records.select(rows, {"copies": "10.0"}, "T2").method.tolist() == ["b"]
