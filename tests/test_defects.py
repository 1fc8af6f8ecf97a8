"""Defects of public code that are neither a method's nor a metric's: each check must fail on a broken copy.

Those of methods are in unlearnkit/methods/contracts.py with mutants.py, those of metrics in
unlearnkit/metrics/contracts.py with mutants_metrics.py.
"""

import dataclasses

import pytest
import torch

from conftest import RECIPE
from data_builders.build_task import build_task
from data_builders.task import ROLES
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import mean_interval
from unlearnkit.images.models import build
from unlearnkit.images.outputs import forward_task
from unlearnkit.images.train import Recipe, fit
from unlearnkit.metrics import score

# --- an interval over one seed -----------------------------------------------------------------------------------------


def one_seed_has_no_interval(interval):
    row = interval([0.5])
    assert (row["mean"], row["n"]) == (0.5, 1)
    assert row["low"] is None and row["high"] is None, "an interval of one seed"


def of_width_zero(values):
    return {"mean": values[0], "low": values[0], "high": values[0], "n": len(values)}


def not_a_number(values):
    spread = float("nan") if len(values) < 2 else float(torch.tensor(values).std())
    return {"mean": values[0], "low": values[0] - spread, "high": values[0] + spread, "n": len(values)}


def test_one_seed_has_no_interval():
    one_seed_has_no_interval(mean_interval)
    for mutant in (of_width_zero, not_a_number):
        with pytest.raises(AssertionError, match="an interval of one seed"):
            one_seed_has_no_interval(mutant)


# --- a schedule whose last change never comes --------------------------------------------------------------------------


def schedule_ends_where_it_says(optimiser, steps: int):
    sgd, schedule = optimiser()
    rates = []
    for _ in range(steps):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    assert max(rates) > 100 * rates[-1], "the rate does not come down within the training"


def test_the_schedule_ends_within_the_training():
    weights, steps = [torch.zeros(1, requires_grad=True)], 100

    def milestones_beyond_the_end():
        sgd = torch.optim.SGD(weights, 0.1)
        return sgd, torch.optim.lr_scheduler.MultiStepLR(sgd, [steps + 20, steps + 50], gamma=1e-3)

    schedule_ends_where_it_says(lambda: Recipe(epochs=10, batch_size=10).optimiser(weights, 100), steps)
    with pytest.raises(AssertionError, match="does not come down"):
        schedule_ends_where_it_says(milestones_beyond_the_end, steps)


# --- a retrain that knows what it must not -----------------------------------------------------------------------------


def targets_are_as_unknown_as_the_test_set(model, task):
    """An impossible UA: on an i.i.d. split retrain's forget accuracy is its test accuracy, within four deviations."""
    scores = score(forward_task(model, task), {}, ["FA", "TA"]).set_index("metric").value
    n, m = len(task.index("target")), len(task.index("test"))
    spread = (max(scores.TA * (1 - scores.TA), 0.01) * (1 / n + 1 / m)) ** 0.5
    assert abs(scores.FA - scores.TA) < 4 * spread, "the targets are not as unknown as the test set"


def test_retrain_knows_targets_as_little_as_the_test_set(raw):
    task = build_task(raw, targets="canary", n_targets=60, copies=0, train_size=600, seed=3)
    honest = dataclasses.replace(task, y=task.y.clone())
    canaries = torch.isin(task.role, torch.tensor([ROLES.index("target")]))
    honest.y[canaries] = true_labels(raw, task)[canaries]
    net = build("small_cnn", (1, 8, 8), 10, 0)
    retrain = fit(net, honest.training_set("retrain"), RECIPE, seed=0)
    targets_are_as_unknown_as_the_test_set(retrain, honest)
    labels_leaked = fit(net, task.training_set("original"), RECIPE, seed=0)
    with pytest.raises(AssertionError, match="not as unknown"):
        targets_are_as_unknown_as_the_test_set(labels_leaked, task)


def true_labels(raw, task):
    of = dict(zip([*raw.ids.tolist(), *raw.test_ids.tolist()], [*raw.y.tolist(), *raw.test_y.tolist()], strict=True))
    return torch.tensor([of[i] for i in task.source.tolist()])


# --- sets that overlap -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["test", "decoy", "validation"])
def test_a_builder_that_lets_training_samples_leak_is_caught(raw, role):
    task = build_task(raw, copies=2, train_size=250, seed=1).check()
    row, trained = int(task.index(role)[0]), int(task.index("filler")[0])
    by_id, by_pixels = task.source.clone(), task.x.clone()
    by_id[row], by_pixels[row] = task.source[trained], task.x[trained]
    for broken in ({"source": by_id}, {"x": by_pixels}):
        with pytest.raises(BadValue, match="must be disjoint"):
            dataclasses.replace(task, **broken).check()
