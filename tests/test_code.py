import importlib
import re
import subprocess
import sys
import types

import pytest

import unlearnkit
from unlearnkit.core import code_digest as code
from unlearnkit.core.store import Spec
from unlearnkit.images.tasks import pool_artefact
from unlearnkit.methods import methods


def digest(text):
    return code._digest(text)


def test_comments_docstrings_and_layout_do_not_count():
    a = digest('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    assert a == digest("def f(x):  # why\n\n    return (x\n            + 1)\n")
    assert a != digest("def f(x):\n    return x + 2\n")
    assert digest("x = 'a'") != digest("x = 'b'")


def test_a_method_depends_on_its_own_file_and_what_it_imports_only():
    found = code.digests([methods["scrub"]])
    assert {
        "unlearnkit.methods.scrub",
        "unlearnkit.core.optimise",
        "unlearnkit.core.divergence",
        "data_builders.task",
    } <= set(found)
    assert not {"unlearnkit.methods.finetune", "unlearnkit.figures", "unlearnkit.study", "unlearnkit.core.store"} & set(
        found
    )


def test_a_function_from_elsewhere_counts_by_its_own_source(tmp_path, monkeypatch):
    made = []
    for body in ("return 1", "return 2"):
        path = tmp_path / f"mine{len(made)}.py"
        path.write_text(f"from unlearnkit.core.divergence import kl\ndef f():\n    {body}\n")
        module = types.ModuleType(path.stem)
        module.__file__ = str(path)
        exec(path.read_text(), module.__dict__)
        monkeypatch.setitem(sys.modules, path.stem, module)
        made.append(code.digests([module.f]))
    own = [{v for k, v in found.items() if not k.startswith("unlearnkit.")} for found in made]
    assert own[0] != own[1]
    assert all("unlearnkit.core.divergence" in m for m in made)


PROJECT = {
    "toolbox/__init__.py": "",
    "toolbox/low.py": "def scale(x):\n    return 2 * x\n",
    "toolbox/high.py": "from toolbox.low import scale\n\n"
    "def run(x):\n    from toolbox import low\n    return scale(x) + low.scale(1)\n",
}


def key_of(folder, files, monkeypatch, module="toolbox.high"):
    """The key of what `run` computes, in a project of these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(code, "PACKAGES", ("toolbox",))
    monkeypatch.setattr(code, "HOME", folder)
    monkeypatch.syspath_prepend(folder)
    for cached in (code._sources, code._digests, code._fingerprints, code._imports, code._digest):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "toolbox"]:
        monkeypatch.delitem(sys.modules, name)
    return Spec("thing", {"x": 1}, [importlib.import_module(module).run]).key


def test_a_pure_move_changes_no_key(tmp_path, monkeypatch):
    before = key_of(tmp_path / "a", PROJECT, monkeypatch)
    moved = {
        "toolbox/__init__.py": "",
        "toolbox/core/__init__.py": "",
        "toolbox/core/scaling.py": PROJECT["toolbox/low.py"],
        "toolbox/top.py": PROJECT["toolbox/high.py"]
        .replace("from toolbox.low import scale", "from toolbox.core.scaling import scale")
        .replace("from toolbox import low", "from toolbox.core import scaling as low"),
    }
    assert key_of(tmp_path / "b", moved, monkeypatch, "toolbox.top") == before
    sources = {"toolbox.low": digest(PROJECT["toolbox/low.py"]), "toolbox.high": digest(PROJECT["toolbox/high.py"])}
    assert code.changed(sources) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("toolbox/low.py", "2 * x", "2 + x"),  # one operator, in what is imported
        ("toolbox/high.py", "scale(x) +", "scale(x) -"),
        ("toolbox/high.py", "from toolbox.low import scale", "from toolbox.other import scale"),  # another function
        ("toolbox/high.py", "import scale\n", "import scale\nfrom toolbox.other import scale as _\n"),
    ],
)
def test_a_change_of_one_operator_or_of_what_is_imported_changes_the_key(file, old, new, tmp_path, monkeypatch):
    files = PROJECT | {"toolbox/other.py": "def scale(x):\n    return 3 * x\n"}
    before = key_of(tmp_path / "a", files, monkeypatch)
    assert old in files[file]
    assert key_of(tmp_path / "b", files | {file: files[file].replace(old, new)}, monkeypatch) != before


def test_the_package_of_the_data_counts():
    found = code.digests([pool_artefact])
    assert {"data_builders", "data_builders.raw_images", "data_builders.sources"} <= set(found)


def test_current_finds_a_module_or_says_it_is_gone():
    assert code.current("unlearnkit.core.optimise") == code.digests([methods["scrub"]])["unlearnkit.core.optimise"]
    assert code.current("unlearnkit.no_such") is None


def test_what_a_run_writes_does_not_make_the_code_dirty(tmp_path, monkeypatch):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    def version():
        code.version.cache_clear()
        return code.version()

    monkeypatch.setattr(code, "HOME", tmp_path)
    files = ["a.py", "results/manifest.json", "results/real/tables/T1.csv", "results/tuned/digits/mlp/scrub.json"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert version() == unlearnkit.__version__  # no checkout
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    (tmp_path / "new.txt").write_text("not tracked")
    clean = version()
    assert re.fullmatch("[0-9a-f]{12}", clean)
    for name in files[1:3]:
        (tmp_path / name).write_text("2")
    (tmp_path / files[1]).rename(tmp_path / "results" / "moved.json")
    assert version() == clean
    for name in (files[3], files[0]):  # runs read tuned values
        (tmp_path / name).write_text("2")
        assert version() == f"{clean}-dirty"
        git("checkout", name)
    code.version.cache_clear()
