"""`precision: auto` becomes what this processor computes natively, before any key; bf16 where it is slow is said once."""

import dataclasses

import pandas as pd
import pytest
import torch

from unlearnkit.core import precision, provenance
from unlearnkit.images.config import Config
from unlearnkit.images.train import Recipe
from unlearnkit.study.memory import Memory, identity, in_kept_precision
from unlearnkit.study.rows import Row
from unlearnkit.texts.train import TextRecipe


@pytest.fixture
def kind(monkeypatch):
    """A processor with these instruction sets, of which torch takes this part."""

    def take(instructions, capability="AVX512"):
        monkeypatch.setattr(precision, "instructions", lambda: tuple(instructions))
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        precision._say_if_slow.cache_clear()

    yield take
    precision._say_if_slow.cache_clear()


NATIVE = [
    (("avx2", "avx512f", "avx512_bf16"), "AVX512", "bf16"),
    (("avx2", "avx512f", "amx_bf16"), "AVX512", "bf16"),
    (("avx2", "avx512f"), "AVX512", "fp32"),
    (("avx2", "avx512f", "avx512_bf16"), "AVX2", "fp32"),  # ATEN_CPU_CAPABILITY=avx2
    (("asimd", "bf16"), "DEFAULT", "bf16"),
    (("default",), "DEFAULT", "fp32"),  # a system that does not say
]


@pytest.mark.parametrize(("instructions", "capability", "word"), NATIVE)
def test_auto_is_a_concrete_word_before_any_key(kind, instructions, capability, word):
    kind(instructions, capability)
    for recipe in (Recipe, TextRecipe):
        assert recipe(precision="auto").precision == word == recipe(precision="auto").as_dict()["precision"]
        assert recipe(precision="auto") == recipe(precision=word) and hash(recipe()) is not None
        assert recipe(precision="bf16").precision == "bf16" and recipe(precision="fp32").precision == "fp32"
    auto, concrete = (Config(recipe=Recipe(precision=p)) for p in ("auto", word))
    assert identity(Row(auto, "retrain")) == identity(Row(concrete, "retrain"))
    assert provenance.provenance()["instructions"] == list(provenance.instructions())


@pytest.mark.parametrize(
    ("ratio", "said"), [(4.1, "it takes 4.1 times as long as fp32; say precision: auto"), (0.6, "")]
)
def test_bf16_that_is_emulated_is_said_once_with_what_it_costs(kind, monkeypatch, capsys, ratio, said):
    kind(("avx2",), "AVX2")
    monkeypatch.setattr(precision, "slowness", lambda device: ratio)
    for _ in range(2):
        precision.say_if_slow("bf16", "cpu")
        precision.say_if_slow("fp32", "cpu")
    err = capsys.readouterr().err
    assert err.count("\n") == bool(said) and said in err


def test_where_bf16_is_native_nothing_is_measured_or_said(kind, monkeypatch, capsys):
    kind(("avx2", "avx512_bf16"))
    monkeypatch.setattr(precision, "slowness", None)
    precision.say_if_slow("bf16", "cpu")
    assert capsys.readouterr().err == ""


def test_how_much_slower_is_measured():
    assert 0.05 < precision.slowness("cpu", repeats=1) < 100


def test_kept_scores_go_on_in_their_precision_where_auto_would_be_another_here(kind, tmp_path):
    kind(("avx2", "avx512_bf16"))
    arms = [{"targets": "canary", "n_targets": 2, "copies": 1}]
    made = Config(arms=arms, recipe=Recipe(precision="auto"))
    Memory(tmp_path, made)[Row(made, "retrain")] = pd.DataFrame({"score": [1.0]})
    kind(("avx2",), "AVX2")
    here = Config(arms=arms, recipe=Recipe(precision="auto"))
    assert here.recipe.precision == "fp32" and in_kept_precision(here, tmp_path) == made
    assert in_kept_precision(here, None) == here  # nothing is kept
    asked = dataclasses.replace(here, recipe=Recipe(precision="fp32"))
    assert in_kept_precision(asked, tmp_path).recipe.precision == "fp32"  # a person said so
    Memory(tmp_path, asked)[Row(asked, "retrain")] = pd.DataFrame({"score": [2.0]})
    assert in_kept_precision(here, tmp_path) == asked


def test_two_processes_that_remember_at_a_time_lose_nothing(tmp_path):
    config = Config(arms=[{"targets": "canary", "n_targets": 2, "copies": 1}])
    rows = [Row(config, name) for name in ("retrain", "clean", "original")]
    one, other = Memory(tmp_path, config), Memory(tmp_path, config)
    one[rows[0]] = pd.DataFrame({"score": [1.0, 1.5]})
    other[rows[1]] = pd.DataFrame({"score": [2.0]})
    one[rows[2]] = pd.DataFrame({"score": [3.0]})
    found = [Memory(tmp_path, config)[row].score.tolist() for row in rows]
    assert found == [[1.0, 1.5], [2.0], [3.0]] and not [*tmp_path.glob("*.lock")]
