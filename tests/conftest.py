"""Shared fixtures: a task of a few hundred real digits, and a cache of its own for each test."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

import batches
from data_builders import datasets
from data_builders.build_task import build_task
from unlearnkit.core.compute import generator
from unlearnkit.images.models import Classifier, build, fresh
from unlearnkit.images.outputs import forward_task
from unlearnkit.images.request import request_of
from unlearnkit.images.train import Recipe, fit
from unlearnkit.runner import forked_kernels

PROJECT = (
    "study",
    "figures",
    "analysis.tables",
    "results",
    "own_model",
    "metrics",
    "wrappers",
    "texts.domain",
    "tuning",
)
PROJECT = (
    *(f"unlearnkit.{room}" for room in PROJECT),
    "unlearnkit.runner.notebook",
    "matplotlib_inline.backend_inline",
)
RECIPE = Recipe(epochs=15, batch_size=32, lr=0.1)  # enough to fit the canaries


def pytest_configure(config):
    """Notebooks under nbval start as those of a batch do: forked from one process that has imported torch and the like.

    Here it has imported the project, too, whose code does not change meanwhile: each kernel would take 1 to 2 s for it.
    """
    if config.getoption("nbval", False) or config.getoption("nbval_lax", False):
        forked_kernels.use()
        if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):  # who runs tests
            batches.serve(*forked_kernels.PRELOADED, *PROJECT)


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
    return build_task(raw, targets="canary", n_targets=10, copies=4, train_size=250, seed=1)


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
    return request_of(task, RECIPE)


def short(request):
    """With every third of the samples that stay: for what does not depend on how many these are."""
    return dataclasses.replace(request, retain=request.retain[::3])


@pytest.fixture
def short_request(request_):
    return short(request_)


@pytest.fixture(scope="session")
def all_outputs(_models, task):
    """Of initial, original, retrain and clean, with all that any metric needs.

    The margins stand for 12 models each: the one there is, and noise as between seeds.
    """
    cost = {"seconds": 2.0, "steps": 10, "peak_mib": 1.0}
    forwarded = {name: forward_task(model, task, features=True, cost=cost) for name, model in _models.items()}
    noise = {name: torch.randn(12, len(task.y), generator=generator(0, name)) for name in forwarded}
    return {
        name: dataclasses.replace(outputs, margins=outputs.phi + noise[name], relearn_steps=3, attack_class=0)
        for name, outputs in forwarded.items()
    }


@pytest.fixture(scope="session")
def class_task(raw):
    return build_task(raw, targets="class", forget_ids=[3], copies=0, train_size=250, seed=1)


@pytest.fixture(scope="session")
def _normed(task):
    """The original of a net with running statistics."""
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 32), nn.ReLU()]
    net = Classifier(nn.Sequential(*layers), nn.Linear(32, 10))
    return fit(fresh(net, 1), task.training_set("original"), RECIPE, seed=1)


@pytest.fixture
def normed(_normed):
    return copy.deepcopy(_normed)
