"""Plugins that users bring: whatever is wrong with one is one line, at every look."""

import pytest

from unlearnkit.cli import main
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.core.registry import Registry, load_plugins
from unlearnkit.methods import methods

METHOD = """
from unlearnkit.methods import method
@method({!r}, source="mine")
def m(model, request, *, seed, device="auto"):
    "Mine."
    return model
"""


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    """The registry as it was before is put back."""
    len(methods)
    before = dict(methods._entries)
    yield
    methods._entries.clear()
    methods._entries.update(before)


def plugin(monkeypatch, *files):
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", ",".join(map(str, files)))
    monkeypatch.setattr(methods, "_loaded", False)


def test_two_plugins_of_one_file_name_are_both_there(tmp_path, monkeypatch):
    for folder in ("a {b}", "c"):  # a name with spaces and braces is like any other
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(METHOD.format(f"of_{folder[0]}"), encoding="utf-8")
    plugin(monkeypatch, tmp_path / "a {b}" / "mine.py", tmp_path / "c" / "mine.py")
    assert {"of_a", "of_c"} <= set(methods)


BROKEN = {  # what the file's line after METHOD says: the message
    "x = = 1": "SyntaxError: invalid syntax",
    "not_there": "{line}: NameError: name 'not_there' is not defined",
    "1 / 0": "{line}: ZeroDivisionError: division by zero",
    "import no_such_module": "{line}: ModuleNotFoundError: No module named 'no_such_module'",
    "raise SystemExit('bye')": "{line}: SystemExit: bye",
    "x = 1\0": "source code string cannot contain null bytes",
    "raise ValueError('one\\ntwo')": "{line}: ValueError: one two",
    "from unlearnkit.core.errors import BadValue as B; raise B('no')": "{line}: BadValue: no",
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_plugin_is_one_line_at_every_look(tmp_path, monkeypatch, code):
    (tmp_path / "p.py").write_text(METHOD.format("half") + code, encoding="utf-8")
    message = BROKEN[code].format(line=f"in line {METHOD.count(chr(10)) + 1}")
    plugin(monkeypatch, tmp_path / "p.py")
    for _ in range(2):
        with pytest.raises(UnlearnkitError, match="p.py") as caught:
            set(methods)
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_says_what_is_wrong_with_a_plugin(tmp_path, monkeypatch, capsys):
    (tmp_path / "p.py").write_text("1 / 0", encoding="utf-8")
    plugin(monkeypatch, tmp_path / "p.py")
    assert main(["list", "method", "scrub"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "p.py" in said and "ZeroDivisionError" in said


@pytest.mark.parametrize("name", ["no_such_module", "not there.py", "~/not_there.py"])
def test_a_plugin_that_is_not_there_is_one_line(monkeypatch, name):
    plugin(monkeypatch, name)
    with pytest.raises(UnlearnkitError, match="UNLEARNKIT_PLUGINS names .*no.* cannot be imported: "):
        load_plugins()


def test_an_interrupt_is_no_fault_of_a_plugin(tmp_path, monkeypatch):
    (tmp_path / "p.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    plugin(monkeypatch, tmp_path / "p.py")
    registry = Registry("thing")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            len(registry)


def test_a_long_error_of_a_plugin_is_cut(tmp_path, monkeypatch):
    (tmp_path / "p.py").write_text("raise ValueError('x' * 10**6)", encoding="utf-8")
    plugin(monkeypatch, tmp_path / "p.py")
    with pytest.raises(UnlearnkitError, match="p.py") as caught:
        load_plugins()
    assert len(str(caught.value)) < 2000
