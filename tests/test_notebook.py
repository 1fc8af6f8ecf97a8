import json
import re

import pytest

from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.core.parameters import Parameters
from unlearnkit.images.config import Config, config_grid
from unlearnkit.runner import notebook


def namespace(**values):
    return {"__annotations__": {"copies": list[int], "method": str, "rate": float}, "In": [], "_i": "", **values}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project with one notebook, which declares three parameters."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    (tmp_path / "notebooks" / "grids").mkdir(parents=True)
    source = 'copies: list[int] = [0]  # doses\nmethod: str = "ssd"  # which\npublish: str = ""  # where to'
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    (tmp_path / "notebooks" / "1_first.ipynb").write_text(json.dumps({"cells": [cell]}))
    return tmp_path


def test_what_the_annotations_admit_passes():
    notebook.check_parameters(namespace(copies=[1, 2], method="scrub", rate=1, json=json))
    notebook.check_parameters(namespace(copies=5))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"copys": [5]}, UnknownName, "unknown parameter 'copys'. Did you mean 'copies'"),
        ({"copies": "five"}, BadValue, "parameter 'copies' must be int, got 'five'"),
        ({"copies": [1, 2.5]}, BadValue, "parameter 'copies' must be"),
        ({"method": 7}, BadValue, "parameter 'method' must be str, got 7"),
    ],
)
def test_what_papermill_would_let_through_is_refused(values, error, message):
    with pytest.raises(error, match=message):
        notebook.check_parameters(namespace(**values))


def test_one_value_becomes_a_list_of_one():
    given = namespace(copies=5)
    notebook.check_parameters(given)
    assert given["copies"] == [5]


def test_the_parameters_of_a_notebook_are_those_that_its_cell_declares(home):
    kernel = {"copies": 5, "method": "scrub", "publish": "results", "In": [], "json": json}
    parameters = notebook.check_parameters(kernel, "1_first")
    assert parameters == {"copies": [5], "method": "scrub", "publish": "results"} and parameters.notebook == "1_first"
    assert kernel["copies"] == [5]
    kernel["copies"].append(6)
    assert parameters["copies"] == [5]  # as they were when they were checked


def test_a_notebook_can_run_twice_in_one_kernel_and_is_still_checked(home):
    kernel = {"copies": [5], "method": "scrub", "publish": ""}
    kernel["parameters"] = notebook.check_parameters(kernel, "1_first")
    kernel |= {"table": 7, "method": "ssd", "__annotations__": {"table": int}}  # what later cells leave behind
    assert notebook.check_parameters(kernel, "1_first") == {"copies": [5], "method": "ssd", "publish": ""}
    with pytest.raises(BadValue, match="parameter 'method' must be str, got 7"):
        notebook.check_parameters(kernel | {"method": 7}, "1_first")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            {"copys": [5]},
            UnknownName,
            "unknown parameter 'copys'. Did you mean 'copies'? Known: copies, method, publish",
        ),
        ({"copies": "five"}, BadValue, "parameter 'copies' must be int, got 'five'"),
    ],
)
def test_what_papermill_would_let_through_is_refused_by_the_declared_parameters(home, values, error, message):
    with pytest.raises(error, match=re.escape(message)):
        notebook.check_parameters({"method": "ssd", **values}, "1_first")


def test_a_copy_of_a_notebook_elsewhere_is_checked_by_what_its_kernel_declares(home):
    parameters = notebook.check_parameters(namespace(copies=5), "2_second")
    assert parameters == {"copies": [5]} and parameters.notebook == "2_second"
    with pytest.raises(UnknownName, match="Did you mean 'copies'"):
        notebook.check_parameters(namespace(copys=5), "2_second")


@pytest.mark.parametrize("path", notebook.notebooks(), ids=lambda p: p.stem)
def test_every_notebook_keeps_to_the_style(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    tagged = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1 and code[0] is tagged[0], "one parameters cell, before all other code"
    assert notebook.title(path).endswith("?"), "the title is a question"
    lines = "".join(tagged[0]["source"]).splitlines()
    assert lines and all(": " in line and " = " in line and "#" in line for line in lines), "annotated, with a reason"
    assert f'\nparameters = check_parameters(globals(), "{path.stem}")' in "".join(code[1]["source"])
    assert all(len("".join(c["source"]).splitlines()) <= 14 for c in code[1:]), "cells stay short"
    text = "".join("".join(c["source"]) for c in code)
    assert not re.search(r"notebook=|\bto=|[\"'](to|notebook)[\"']:", text), "publish takes both from the parameters"
    for cell in code:
        assert "raises-exception" not in cell["metadata"].get("tags", [])
        for output in cell["outputs"]:
            assert output["output_type"] != "error" and output.get("name") != "stderr"
            text = json.dumps(output.get("data", {}).get("text/plain", "")) + json.dumps(output.get("text", ""))
            assert not re.search(r"Warning|/(?:home|root|Users|tmp|work)/", text)
    assert all(c["execution_count"] for c in code), "stored with its outputs"


@pytest.mark.parametrize("path", notebook.notebooks(), ids=lambda p: p.stem)
def test_papermill_sees_the_same_parameters(path):
    """papermill cannot read every annotation, and then warns of parameters that are there."""
    import papermill

    assert set(papermill.inspect_notebook(str(path))) == set(notebook.parameters(path))


def test_arguments_are_checked_without_running():
    path = notebook.find("30_unlearn")
    notebook.check_arguments(path, {"copies": 5, "method": "scrub"})
    with pytest.raises(UnknownName, match=r"parameter of 30_unlearn.ipynb 'metod'. Did you mean 'method'"):
        notebook.check_arguments(path, {"metod": "scrub"})
    with pytest.raises(BadValue, match="'seeds' of 30_unlearn.ipynb must be int"):
        notebook.check_arguments(path, {"seeds": "5"})
    with pytest.raises(UnknownName, match="Did you mean '30_unlearn'"):
        notebook.find("30_unlern")


def test_parameters_give_those_of_a_grid():
    given = {"copies": [0, 5], "seeds": 2, "recipe": {"epochs": 1}, "methods": ["scrub"], "publish": ""}
    configs = config_grid(**Parameters(given, "n").of(Config))
    assert [(c.copies, c.seed, c.recipe.epochs) for c in configs] == [(0, 0, 1), (0, 1, 1), (5, 0, 1), (5, 1, 1)]
