import json

import pytest

import batches
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.core.registry import Registry, check_type, plugin_names

PLUGIN = '''
from unlearnkit.methods import method
from unlearnkit.core.optimise import minimise

@method("halve_loss", source="mine")
def halve_loss(model, task, *, seed, device="auto", lr: float = 0.1):
    """One step on half the loss."""
    return minimise(model, lambda net: iter([0.5 * task.losses(net, task.forget).mean()]), lr=lr, device=device)
'''


def test_a_plugin_named_in_the_environment_is_listed(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(PLUGIN)
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", str(tmp_path / "mine.py"))
    status, said = batches.command("list", "methods", "--json", err=tmp_path / "err")
    assert status == 0, (tmp_path / "err").read_text()
    mine = {row["name"]: row for row in json.loads(said)}["halve_loss"]
    assert mine["options"] == {"lr": {"default": 0.1, "type": "float"}} and mine["source"] == "mine"


def test_plugin_files_are_named_by_their_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", "mine.py, my.module")
    assert plugin_names() == [str(tmp_path / "mine.py"), "my.module"]


def test_a_plugin_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", "no_such_module")
    status, said = batches.command("list", "methods")
    assert status == 2 and "no_such_module" in said and "Traceback" not in said


def test_unknown_names():
    registry = Registry("fruit")
    registry.register("apple")(lambda: 1)
    assert "apple" in registry and len(registry) == 1 and registry["apple"]() == 1
    with pytest.raises(UnknownName, match="unknown fruit 'aple'. Did you mean 'apple'"):
        registry["aple"]


@pytest.mark.parametrize(
    ("value", "hint"),
    [(1, float), (1, int), ([1, 2], list[int]), ("a", str | None), (None, str | None), ({"a": 1}, dict), (True, bool)],
)
def test_types_that_fit(value, hint):
    check_type("x", value, hint)


@pytest.mark.parametrize(("value", "hint"), [("1", int), (1.5, int), (True, float), ([1, "a"], list[int]), (None, str)])
def test_types_that_do_not(value, hint):
    with pytest.raises(BadValue, match="x must be"):
        check_type("x", value, hint)
