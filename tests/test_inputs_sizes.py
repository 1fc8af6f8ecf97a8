"""Sizes and numbers that make no sense are one line, before anything is computed; work does not grow with them."""

import pytest

from unlearnkit.core.errors import BadValue
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.train import Recipe
from unlearnkit.methods import methods
from unlearnkit.runner import notebook
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.train import TextRecipe

NAN = float("nan")
NEGATIVE = [
    *((Config, name) for name in ("max_pool_images", "test_size", "copies", "n_decoys", "n_targets", "train_size")),
    *(
        (TextConfig, name)
        for name in ("test_size", "copies", "lora", "n_targets", "train_size", "vocabulary", "context")
    ),
    *((Recipe, name) for name in ("epochs", "batch_size", "lr", "momentum", "weight_decay", "warmup", "smoothing")),
    *((TextRecipe, name) for name in ("epochs", "batch_size", "lr", "weight_decay", "warmup", "clip")),
]


@pytest.mark.parametrize(("made", "name"), NEGATIVE)
def test_a_negative_size_is_named(made, name):
    with pytest.raises(BadValue, match=rf"{name}'? must be (at least|above) .*, got -1"):
        made(**{name: -1})


@pytest.mark.parametrize("made", [Recipe, TextRecipe])
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
def test_what_is_no_number_is_named(made, name):
    with pytest.raises(BadValue, match=f"{name} must be .*, got nan"):
        made(**{name: NAN})


@pytest.mark.parametrize("seeds", [0, -3, 10**9, 10**40, [], ["a"]])
def test_a_number_of_seeds_that_makes_no_sense_is_named(seeds):
    with pytest.raises(BadValue, match="seeds"):
        config_grid(seeds=seeds)


COUNTS = [
    (name, row["name"])
    for name in ("finetune", "scrub", "sisa", "influence", "muda", "npo", "unsir", "diversify(finetune)", "rsu(scrub)")
    for row in methods[name].described()
    if row["type"] == "int"
]


@pytest.mark.parametrize(("method", "option"), COUNTS)
def test_a_negative_number_in_an_option_is_named(method, option):
    with pytest.raises(BadValue, match=f"option '{option}' of method .* must be at least [01], got -2"):
        methods[method].resolve({option: -2})


def test_an_option_that_counts_from_the_end_may_be_negative():
    assert methods["rmu"].resolve({"layer": -2})["layer"] == -2


def test_an_empty_batch_and_what_is_no_number_are_named():
    with pytest.raises(BadValue, match="'batch_size' of method 'finetune' must be at least 1, got 0"):
        methods["finetune"].resolve({"batch_size": 0})
    with pytest.raises(BadValue, match="'lr' of method 'finetune' must be a number, got nan"):
        methods["finetune"].resolve({"lr": NAN})


def test_lists_that_stand_for_any_number_of_configs_are_refused():
    values = list(range(100))
    with pytest.raises(BadValue, match="these lists of values make 2,000,000 configs, more than 100,000"):
        config_grid(seeds=2, copies=values, n_targets=values, train_size=values)


@pytest.mark.parametrize(("name", "value"), [("copies", -1), ("copies", [5, -1]), ("seeds", -2), ("train_size", -640)])
def test_a_negative_number_for_a_notebook_is_named(name, value):
    path = notebook.find("40_evaluate")
    with pytest.raises(BadValue, match=f"parameter '{name}' of 40_evaluate.ipynb must be at least 0, got -"):
        notebook.check_arguments(path, {name: value})
