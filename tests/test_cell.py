import pytest

from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.images.config import Config, config_grid


def test_every_combination_once():
    grid = config_grid(seeds=2, copies=[0, 5], strength=[0.1, 0.3])
    assert len(grid) == 2 * (1 + 2)  # without copies, strength means nothing
    assert {c.strength for c in grid if not c.copies} == {0.0}


def test_one_value_or_several():
    assert config_grid(seeds=1, copies=5) == config_grid(seeds=[0], copies=[5])
    assert config_grid(recipe={"epochs": 3})[0].recipe.epochs == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"copys": 3}, UnknownName, "Did you mean 'copies'"),
        ({"copies": "5"}, BadValue, "'copies' must be int, got '5'"),
        ({"copies": 2.5}, BadValue, "'copies' must be int"),
        ({"dataset": 3}, BadValue, "'dataset' must be str"),
        ({"recipe": {"epoch": 3}}, UnknownName, "Did you mean 'epochs'"),
        ({"seeds": 0}, BadValue, "at least one"),
        ({"seeds": "3"}, BadValue, "'seeds' must be"),
    ],
)
def test_bad_values_are_named(change, error, message):
    with pytest.raises(error, match=message):
        config_grid(**change)


def test_only_what_the_task_depends_on_is_in_its_parameters():
    assert Config(model="mlp").task_params() == Config().task_params()
    assert Config(seed=1).task_params() != Config().task_params()
