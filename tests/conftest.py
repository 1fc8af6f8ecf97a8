"""Shared fixtures: a task of a few hundred real digits, and a cache of its own for each test."""

import copy

import pytest
import torch

from data_builders import datasets
from data_builders.compose import compose
from unlearnkit.evidence import take
from unlearnkit.models import build
from unlearnkit.train import Recipe, fit

RECIPE = Recipe(epochs=15, batch_size=32, lr=0.1)  # enough to fit the canaries


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """No test reads or writes the user's cache, runs or tuned values."""
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("UNLEARNKIT_TUNED", str(tmp_path / "tuned"))


@pytest.fixture(scope="session")
def raw():
    return datasets["digits"]()


@pytest.fixture(scope="session")
def task(raw):
    return compose(raw, targets="canary", n_targets=10, copies=4, train_size=250, seed=1)


@pytest.fixture(scope="session")
def _models(task):
    net = build("small_cnn", (1, 8, 8), 10, seed=1)
    parts = ("original", "retrain", "clean")
    return {"initial": net} | {p: fit(net, task.training_set(p), RECIPE, seed=1) for p in parts}


@pytest.fixture
def models(_models):
    """initial, original, retrain, clean: copies, so that a test cannot spoil another's."""
    return copy.deepcopy(_models)


@pytest.fixture
def request_(task):
    return task.request(RECIPE)


@pytest.fixture(scope="session")
def evidences(_models, task):
    cost = {"seconds": 2.0, "steps": 10, "peak_mib": 1.0}
    return {name: take(model, task, cost=cost) for name, model in _models.items() if name != "initial"}


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Bit-identical parameters and buffers."""
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)
