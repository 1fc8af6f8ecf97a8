"""Rows: resolved once, checked early, and scored as far as the time allows."""

import pandas as pd
import pytest

from unlearnkit import study
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.core.statistics import in_row_order, interval_columns
from unlearnkit.images.config import config_grid
from unlearnkit.study import reference_models, scoring
from unlearnkit.study.rows import resolve_row
from unlearnkit.texts.config import TextConfig

TINY = {"n_targets": 4, "train_size": 60, "copies": 0, "recipe": {"epochs": 1}}


@pytest.fixture
def grid():
    return config_grid(seeds=2, **TINY)


def test_a_row_knows_all_options_and_its_label_those_given(grid):
    row = resolve_row(grid[0], "finetune", {"epochs": 3})
    assert row.resolved["epochs"] == 3 and {"lr", "batch_size"} <= set(row.resolved) and row.is_method
    assert (row.label, resolve_row(grid[0], "finetune").label) == ("finetune(epochs=3)", "finetune")
    assert study.unlearn(grid[0], "finetune", {"epochs": 3}).artefact.manifest["params"]["options"] == row.resolved
    assert not any(resolve_row(grid[0], name).is_method for name in (*study.BASELINES, study.INITIAL))


def test_rows_without_a_meaning_are_left_out(grid):
    (of_classes,) = config_grid(seeds=1, **{**TINY, "targets": "class"})
    rows = study.applicable_rows([*grid, of_classes], ["original", "finetune", "unsir"])  # unsir forgets whole classes
    assert [row.name for row in rows] == ["original", "finetune"] * 2 + ["original", "finetune", "unsir"]
    assert [row.config for row in rows[::2]] == [grid[0], grid[1], of_classes, of_classes]
    assert not study.applicable_rows([], ["finetune"])
    with pytest.raises(NotApplicable, match="no meaning for these targets: npo, unsir"):
        study.applicable_rows(grid, ["unsir", "npo"])
    assert [row.name for row in study.applicable_rows([grid[0], TextConfig()], ["npo"])] == ["npo"]


def test_a_method_may_stand_with_several_sets_of_options(grid):
    names = ["original", ("finetune", {}), ("finetune", {"epochs": 1})]
    assert [row.label for row in study.applicable_rows(grid[:1], names)] == [
        "original",
        "finetune",
        "finetune(epochs=1)",
    ]
    names = {grid[0]: ["finetune"], grid[1]: ["scrub"]}
    rows = study.applicable_rows(grid, names, {"finetune": {"epochs": 2}})
    assert [(row.config.seed, row.label) for row in rows] == [(0, "finetune(epochs=2)"), (1, "scrub")]


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (["original", "scurb"], None, UnknownName, "Did you mean 'scrub'"),
        (["scrub"], {"scrub": {"lrr": 1.0}}, UnknownName, "Did you mean 'lr'"),
        ([("scrub", {"lr": "1"})], None, BadValue, "must be float"),
    ],
)
def test_wrong_names_and_options_are_named(grid, names, options, error, message):
    with pytest.raises(error, match=message):
        study.applicable_rows(grid, names, options)


# --- within a time ---


class Clock:
    """A clock on which every row takes ten minutes."""

    def __init__(self):
        self.rows = 0

    def monotonic(self) -> float:
        return 600.0 * self.rows

    def counted(self, function):
        def scores(*args, **kwargs):
            self.rows += 1
            return function(*args, **kwargs)

        return scores


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(scoring, "time", clock)
    monkeypatch.setattr(scoring, "scores", clock.counted(scoring.scores))
    return clock


def test_no_row_is_begun_that_would_outlast_the_time(grid, clock, capsys):
    names = ["original", "finetune", "unsir"]  # the last has no meaning here: four rows
    assert study.scores_within(0, grid, names).empty and clock.rows == 0
    found = study.scores_within(35, grid, names)
    assert clock.rows == 3 and set(found.seed) == {0}  # the second seed is not whole
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]  # no progress of `scores`
    assert len(said) == 1 + 3 + 1 and said[-1].endswith("no time for row 4 of 4: the same call goes on there")
    assert "finetune of digits" in said[2] and said[2].endswith("15 min left")


def test_the_same_call_goes_on_where_it_was(grid, clock, monkeypatch):
    names = ["original", "retrain", "finetune"]
    first = study.scores_within(45, grid, names, metrics=["UA", "TA"])
    assert set(first.seed) == {0}
    with monkeypatch.context() as patch:  # what was finished is read
        patch.setattr(reference_models, "_train", None)
        assert study.scores_within(45, grid[:1], names, metrics=["UA", "TA"]).equals(first)
    clock.rows = 0
    whole = study.scores_within(1000, grid, names, metrics=["UA", "TA"])
    keys = ["seed", "method", "metric"]
    expected = study.scores(grid, names, metrics=["UA", "TA"]).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(whole.sort_values(keys, ignore_index=True), expected)


# --- columns and order ---


def test_interval_columns():
    assert interval_columns("x", [1.0, float("nan")]) == {"x": 1.0, "x_low": None, "x_high": None}
    assert interval_columns("x", []) == {"x": None, "x_low": None, "x_high": None}
    assert interval_columns("x", {"mean": 1, "low": 0, "high": 2, "n": 3}) == {"x": 1, "x_low": 0, "x_high": 2}


def test_methods_stand_between_the_references():
    names = ["clean", "scrub", "initial", "retrain", "clean-again", "finetune", "original"]
    table = in_row_order(pd.DataFrame({"dataset": ["b", "a"] * 7, "method": names * 2}))
    assert table.dataset.tolist() == ["a"] * 7 + ["b"] * 7
    expected = ["original", "retrain", "finetune", "scrub", "clean", "clean-again", "initial"]
    assert table.method.tolist() == expected * 2
