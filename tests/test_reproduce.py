import json
import re

import pytest

import published
from unlearnkit.cli import main
from unlearnkit.core import paths
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.results import records, selection
from unlearnkit.runner import reproduce

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch):
    return published.project(tmp_path / "home", monkeypatch)


def run(capsys, *arguments):
    status = main(["reproduce", *arguments])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_one_run_is_made_again_and_is_equal(home, capsys):
    cache = paths.cache()
    status, printed = run(capsys, "T2", "--where", "method=scrub", "targets=canary", "copies=5", "seed=2")
    assert status == 0, printed
    assert "{'copies': [5], 'targets': ['canary'], 'methods': ['scrub'], 'seeds': 3}" in printed
    assert printed.startswith("REPRODUCED: 5 numbers, equal, on the same kind of machine\n00_small.ipynb with ")
    assert "same key" in printed and "5 equal, 1 clock" in printed and "noise state" in printed
    assert not cache.exists() and sorted(p.name for p in (home / "results").iterdir() if p.name[0] != ".") == [
        "README.md", "claims.yaml", "figures", "manifest.json", "scores", "tables",
    ]  # fmt: skip


def test_what_was_published_otherwise_differs(home, capsys):
    shifted = published.scores(["random", "canary"], [0, 5], shift=5.0)  # the seeds differ by 0.1
    published.publish(shifted, published.into("results"))
    status, printed = run(capsys, "T2", "--where", "method=scrub", "targets=canary", "copies=5")
    assert status == 1 and printed.startswith("NOT REPRODUCED: ")
    (line,) = [x for x in printed.splitlines() if x.split()[:1] == ["phi"] and "target" not in x and "test" not in x]
    before, after, noise, *state = line.split()[1:]  # of the row, not of a run
    assert (before, after, state) == ("7.11667", "2.11667", ["beyond", "noise"]) and 0.1 < float(noise) < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["T22", "--where", "method=scrub"], "Did you mean 'T2'? Known: F3, T1, T2"),
        (["T2", "--where", "metod=scrub"], "T2 has no column 'metod'; it has: dataset"),
        (["T2", "--where", "method=scurb"], "there is: clean, original, retrain, scrub"),
        (["T2", "--where", "method=scrub"], "4 rows of T2 fit; say which with --where:\ntargets=canary copies=0\n"),
        (["T2", "--where", "method=scrub", "copies=0", "targets=canary", "seed=7"], "seed=7; with the rest of the"),
        (["T1", "--where", "seed=0"], "T1 keeps no record of single seeds"),
        (["abcdef12"], "no table here keeps a record of a run 'abcdef12'"),
        (["T2", "--where", "method"], "--where takes NAME=VALUE, got 'method'"),
        (["T2", "--where", "similarity_level=", "method=scrub"], "4 rows of T2 fit"),  # an empty value is one
        (["T2", "--profile", "real"], "'real' has published nothing: run `unlearnkit study --profile real`"),
    ],
)
def test_a_selection_that_is_none_says_what_there_is(home, arguments, message, capsys):
    status, printed = run(capsys, *arguments)
    assert status == 2 and message in printed and "Traceback" not in printed


def test_a_run_is_found_by_its_key(home):
    runs = records.runs(published.scores(["canary"], [5], ["scrub"]))
    one = runs[(runs.method == "scrub") & (runs.seed == 1)].iloc[0]
    selected = selection.find_run(one.run, home / "results")
    assert selected.runs.run.tolist() == [one.run]
    assert {k: selected.where[k] for k in ("targets", "copies", "method", "seed")} == {
        "targets": "canary", "copies": 5, "method": "scrub", "seed": 1,
    }  # fmt: skip


def test_the_commands_that_a_report_shows_select_each_row_alone(home):
    folder = home / "results"
    table = records.table(folder / "tables" / "T2.csv")
    for i, line in enumerate(selection.commands("T2", "", table)):
        _, _, name, _, *where = line.split()
        selected = selection.find(name, dict(part.split("=") for part in where), folder)
        assert selected.row.equals(table.iloc[i]) and len(selected.runs) == 3


@pytest.mark.parametrize("file", ["README.md", "results/README.md"])
def test_what_the_prose_says_to_reproduce_is_one_run(file):
    (name, where), *more = re.findall(
        r"`unlearnkit reproduce (\S+) --where ([^`]+)`", (paths.root() / file).read_text()
    )
    selected = selection.find(name, dict(part.split("=") for part in where.split()), paths.root() / "results")
    assert len(selected.runs) == 1 and not more


def test_parameters_are_narrowed_to_a_run(tmp_path):
    source = "copies: list[int] = [0]\nplot_copies: int = 1\nextra_conditions: list[dict] = [{}]\n"
    source += 'seeds: list[int] = [0]\nmodel: str = "a"\nmethods: list[str] = []\n'
    book = {"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}]}
    (path := tmp_path / "n.ipynb").write_text(json.dumps(book))
    extra = [{"copies": 25, "strength": [0.1, 0.5]}, {"copies": 5}, {"strength": [0.9]}]
    given = {"copies": [0, 5, 25], "extra_conditions": extra, "publish": "results", "gone": 1}
    where = {"copies": 25, "strength": 0.5, "perturbation": "blur", "model": "another kind of model", "method": "clean"}
    assert reproduce.narrowed(path, given, where, [3]) == {
        "copies": [25], "plot_copies": 25, "extra_conditions": [{"copies": 25, "strength": [0.5]}],
        "seeds": [3], "methods": ["retrain"],
    }  # fmt: skip


def test_a_notebook_that_fails_is_the_message(home):
    file = home / "notebooks" / "00_small.ipynb"
    file.write_text(file.read_text().replace("parameters = check_parameters(", "raise ValueError('no more')  # ("))
    selected = selection.find("T2", {"method": "scrub", "targets": "canary", "copies": "5"}, home / "results")
    with pytest.raises(UnlearnkitError, match=r"(?s)00_small.ipynb published no T2 with .*no more"):
        reproduce.again(selected)
