import re
import subprocess
import sys
import types

import unlearnkit
from unlearnkit.core import code_digest as code
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
