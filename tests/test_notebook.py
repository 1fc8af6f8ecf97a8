import ast
import json
import re
import sys
from types import ModuleType

import pytest

from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.core.parameters import Parameters
from unlearnkit.images.config import Config, config_grid
from unlearnkit.runner import notebook, parameters_cell

CELL = 'copies: list[int] = [0]\nmethod: str = "ssd"\nrate: float = 0.1'
STARTUP = """
import json
import numpy as np
data, seed, name, copies, method = {"a": 1}, "none", "me", None, 7
table = scores = grid = task = model = 3.5
tick = lambda: None
note: str = "annotated"
"""  # what people keep in IPython's startup files


def namespace(*injected, **values):
    """What a kernel holds after a parameters cell, and cells that papermill has put below it."""
    return {"In": ["", CELL, *injected], "_i": "", "copies": [0], "method": "ssd", "rate": 0.1, **values}


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


def test_a_name_that_the_notebook_lacks_is_refused_where_papermill_injects_it(home):
    for name in ("", "1_first", "2_second"):  # known by its name or not
        with pytest.raises(UnknownName, match=re.escape("unknown parameter 'copys'. Did you mean 'copies'? Known:")):
            notebook.check_parameters(namespace("# Parameters\ncopys = [5]\n", copys=[5]), name)
    parameters = notebook.check_parameters(namespace("# Parameters\ncopies = 5\n", copies=5), "2_second")
    assert parameters == {"copies": [5], "method": "ssd", "rate": 0.1} and parameters.notebook == "2_second"


def test_a_name_without_annotation_in_the_parameters_cell(home):
    kernel = {"In": ["", "copies = [3]\nmethod: str = 'ssd'"], "copies": [3], "method": "ssd"}
    assert notebook.check_parameters(kernel, "1_first") == {"copies": [3], "method": "ssd"}  # annotated in the file
    with pytest.raises(BadValue, match=r"'copies' in the parameters cell has no annotation: write copies: int = "):
        notebook.check_parameters(kernel, "2_second")
    kernel["In"] = ["", "copies: Copies = [3]"]
    with pytest.raises(BadValue, match=r"a parameter is annotated 'Copies'; known types: int, "):
        notebook.check_parameters(kernel)


def test_parameters_are_what_the_cell_declares_not_whatever_is_in_globals(home):
    for name in ("", "1_first", "2_second"):
        kernel = {"In": [""]}
        for dose in (25, 5):  # the kernel keeps what the first run left
            for source in (
                CELL.replace("[0]", f"[{dose}]"),
                "check_parameters()",
                "task: float = 3.5; publish = task; task",
            ):
                kernel["In"].append(source)
                if source[:5] != "check":
                    exec(source, kernel)
                    continue
                assert notebook.check_parameters(kernel, name) == {"copies": [dose], "method": "ssd", "rate": 0.1}
        kernel |= {"method": 7}
        with pytest.raises(BadValue, match="parameter 'method' must be str, got 7"):
            notebook.check_parameters(kernel, name)


def test_without_the_kernels_cells_the_file_declares_or_else_the_annotations(home):
    kernel: dict = {}
    exec(f"{CELL}\ntask = publish = 3.5", kernel)
    assert set(notebook.check_parameters(kernel)) == {"copies", "method", "rate"}
    assert set(notebook.check_parameters(kernel | {"publish": ""}, "1_first")) == {"copies", "method", "publish"}


def test_the_parameters_cell_is_the_last_one_that_declares_any_of_the_notebook():
    cells = ["", CELL, "%%bash\n1 +", "x: int = 3", "y = x + 1", "for i in x: z: int = i"]
    assert parameters_cell.last(cells).annotations == {"x": "int"}
    assert set(parameters_cell.last(cells, ["copies"]).annotations) == {"copies", "method", "rate"}
    assert parameters_cell.last(cells[2:], ["copies"]) is None and parameters_cell.last([]) is None


# --- every notebook, again and again in one kernel ---


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython as a kernel runs it, in this process, with what startup files left in it."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config as Traits

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    hooks, main = (sys.displayhook, sys.excepthook), sys.modules["__main__"]
    traits = Traits(HistoryManager={"enabled": False}, InteractiveShell={"colors": "nocolor"})
    shell = InteractiveShell(config=traits, user_module=ModuleType("kernel"))
    shell.run_cell(STARTUP).raise_error()
    yield shell
    sys.displayhook, sys.excepthook = hooks
    sys.modules["__main__"] = main
    sys.modules.pop("kernel", None)


def run(shell, source):
    shell.run_cell(source, store_history=True).raise_error()


def changed(value):
    """Another value of the type."""
    if isinstance(value, list):
        return [changed(v) for v in value] or value
    if isinstance(value, dict | bool | str):
        return {"bool": not value, "str": f"{value}x", "dict": value}[type(value).__name__]
    return value + 1


@pytest.mark.parametrize("path", notebook.notebooks(), ids=lambda p: p.stem)
def test_every_notebook_takes_its_parameters_again_and_again_in_one_kernel(path, shell):
    declared = {name: value for name, (_, value) in notebook.parameters(path).items()}
    cell, check, *later = notebook.sources(path)
    run(shell, cell)
    run(shell, check)
    assert shell.user_ns["parameters"] == declared and shell.user_ns["parameters"].defaults
    names = {
        n.id for c in later for n in ast.walk(ast.parse(c)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    shell.user_ns.update(dict.fromkeys(names, 3.5))  # whatever the later cells leave behind
    name = next(n for n, value in declared.items() if changed(value) != value)
    new = declared | {name: changed(declared[name])}
    tree = ast.parse(cell)
    for line in tree.body:
        line.value = ast.parse(repr(new[line.target.id]), mode="eval").body
    run(shell, ast.unparse(tree))
    run(shell, check)
    assert shell.user_ns["parameters"] == new and not shell.user_ns["parameters"].defaults
    assert shell.user_ns[name] == new[name] != declared[name]


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "line", "other"), [
    ("12_near_duplicates", "show: int = 8", "show: int = 4"),
    ("01_your_own_model", "copies: int = 5", "copies: int = 2"),
])  # fmt: skip
def test_a_whole_notebook_runs_again_and_again_in_one_kernel(stem, line, other, shell, monkeypatch):
    """The cheapest; those that take longer run their first two cells twice, above."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = notebook.sources(notebook.find(stem))
    assert line in cells[0]
    for declared in (line, other):
        for source in [cells[0].replace(line, declared), *cells[1:]]:
            run(shell, source)
        name, value = declared.split(": int = ")
        assert shell.user_ns["parameters"][name] == int(value)


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
def test_no_line_breaks_between_a_value_and_its_interval(path):
    """By `unlearnkit.core.statistics.unbroken`, which holds wherever a notebook is shown; run the notebook again."""
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", []):
            assert not re.search(r"\d \[-?\d", "".join(output.get("data", {}).get("text/html", "")))


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
