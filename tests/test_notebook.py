import json
import re

import pytest

from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.runner import notebook


def namespace(**values):
    return {"__annotations__": {"copies": list[int], "method": str, "rate": float}, "In": [], "_i": "", **values}


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


@pytest.mark.parametrize("path", notebook.notebooks(), ids=lambda p: p.stem)
def test_every_notebook_keeps_to_the_style(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    tagged = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1 and code[0] is tagged[0], "one parameters cell, before all other code"
    assert notebook.title(path).endswith("?"), "the title is a question"
    lines = "".join(tagged[0]["source"]).splitlines()
    assert lines and all(": " in line and " = " in line and "#" in line for line in lines), "annotated, with a reason"
    assert "check_parameters(globals())" in "".join(code[1]["source"])
    assert all(len("".join(c["source"]).splitlines()) <= 14 for c in code[1:]), "cells stay short"
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
