"""An old name in a plugin, a grid or a `-p` gives the new one, in one line."""

import importlib.util

import pytest

from unlearnkit.core import registry
from unlearnkit.core.errors import UnknownName, UnlearnkitError, unknown
from unlearnkit.core.renamed import modules
from unlearnkit.images.config import config_grid
from unlearnkit.privacy_risk import rankers


def test_every_new_place_exists_and_no_old_one_does():
    for old, new in modules().items():
        assert importlib.util.find_spec(new), new
        assert not _there(old) or new.startswith(f"{old}."), old  # a module that became a package


def _there(name):
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:  # its package is gone, too
        return None


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("from unlearnkit.cell import cells", "unlearnkit.cell is now unlearnkit.images.config"),
        ("import unlearnkit.language.evidence", "unlearnkit.language is now unlearnkit.texts"),
        ("from unlearnkit.images.config import Cell", "'Cell' is now called 'Config'"),
        ("from unlearnkit.images.train import minimise", "minimise is now in unlearnkit.core.optimise"),
        ("from unlearnkit import evidence", "unlearnkit.evidence is now unlearnkit.images.outputs"),
        ("from data_builders.compose import compose", "data_builders.compose is now data_builders.build_task"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_a_plugin_by_the_old_names_is_told_the_new_ones(line, hint, tmp_path):
    (tmp_path / "mine.py").write_text(line + "\n")
    with pytest.raises(UnlearnkitError, match="mine.py") as error:
        registry._plugin(str(tmp_path / "mine.py"))
    assert hint in str(error.value) and "\n" not in str(error.value)


def test_a_ranker_by_its_old_name_is_told_the_new_one():
    with pytest.raises(UnknownName, match="it is now called 'lira_separation'"):
        rankers["lira_online"]


def test_a_parameter_by_its_old_name_is_told_the_new_one():
    with pytest.raises(KeyError, match="unknown parameter 'pool': it is now called 'max_pool_images'"):
        config_grid(pool=100)
    assert "Did you mean" in str(unknown("parameter", "poo", ["pool"]))
