"""What may be said of numbers that were made again."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unlearnkit.core.provenance import provenance
from unlearnkit.images.config import Config
from unlearnkit.runner import comparison, reproduce, retraining
from unlearnkit.runner.comparison import state

NAN = math.nan
ELSEWHERE = "threads 1, here 2"


def numbers(**states):
    rows = [{"state": name.replace("_", " "), "run": "abc (same key)"} for name, n in states.items() for _ in range(n)]
    return pd.DataFrame(rows)


def test_states():
    assert state("phi", 1.0, 1.000001) == "equal" and state("phi", "", NAN) == "equal"
    assert state("phi", 1.0, 1.0005) == "close" and state("phi", 0.0, 5e-6) == "close"
    assert state("phi", 1.0, 1.01, 0.02) == "within noise" and state("phi", 1.0, 1.01, 0.005) == "beyond noise"
    assert state("phi", 1.0, NAN, 0.1) == "beyond noise" and state("phi", 1.0, 1.01) == "no spread known"
    assert state("RTE", 1.0, 2.0) == state("RTE_low", 1.0, 2.0) == "clock"


def test_noise_is_how_far_apart_two_seeds_are():
    draws = np.random.default_rng(0).normal(3, 2, (2000, 7))  # 5 seeds that are known, and two to compare
    beyond = [abs(a - b) > comparison.difference_of_seeds(known) for *known, a, b in draws]
    assert 0.03 < np.mean(beyond) < 0.07
    assert math.isnan(comparison.difference_of_seeds([1.0])) and comparison.difference_of_seeds([2.0, 2.0, NAN]) == 0
    half = stats.t.ppf(0.975, 4) * 2 / math.sqrt(5)
    assert comparison.difference_of_means(3 - half, 3 + half) == pytest.approx(half * math.sqrt(2))


@pytest.mark.parametrize(
    ("states", "elsewhere", "line", "stands"),
    [
        ({"equal": 5, "clock": 2}, "", "REPRODUCED: 5 numbers, equal, on the same kind of machine", True),
        ({"equal": 5, "close": 1}, ELSEWHERE, "REPRODUCED: 6 numbers, the same but for the order of sums, not on", True),
        ({"equal": 5, "within_noise": 3}, ELSEWHERE, "WITHIN NOISE: 3 of 8 numbers differ, by less than seeds do", True),
        ({"equal": 5, "within_noise": 3}, "", "they should be equal here: did a library change?", True),
        ({"equal": 39, "beyond_noise": 2}, ELSEWHERE, "WITHIN NOISE: 2 of 41 by more, as 1 in 20 may", True),
        ({"equal": 38, "beyond_noise": 3}, ELSEWHERE, "NOT REPRODUCED: 3 of 41 numbers differ by more than", False),
        ({"no_spread_known": 1}, ELSEWHERE, "CANNOT BE SAID: 1 numbers differ, without a spread", True),
        ({"no_spread_known": 1}, "", "NOT REPRODUCED: 1 of 1 numbers", False),
    ],
)  # fmt: skip
def test_the_verdict_and_whether_the_numbers_stand(states, elsewhere, line, stands):
    said, found = comparison.verdict(numbers(**states), elsewhere)
    assert line in said and found is stands and "\n" not in said


def test_a_changed_key_is_said():
    said, _ = comparison.verdict(numbers(beyond_noise=2).assign(run=f"abc ({comparison.ANOTHER_KEY})"), "")
    assert "code or data changed since, see `unlearnkit verify`" in said


def test_the_kind_of_machine():
    here = provenance()
    assert comparison.other_kind(here, here) == ""
    assert comparison.other_kind(here | {"date": "", "processor_model": "another"}, here) == ""
    other = comparison.other_kind(here | {"instructions": ["avx2"], "threads": 99}, here)
    assert other.startswith("instructions avx2, here ") and ", threads 99, here " in other
    assert "does not say on which instructions" in comparison.other_kind({"processor": "x86_64"}, here)


def test_scores_of_single_targets_become_means_over_those_of_the_row():
    targets = {
        "target": [1, 2, 3],
        "score": [1.0, 3.0, 9.0],
        "rank": 0.5,
        "label_given": [1.0, 0.0, 1.0],
        "divergence": 0.1,
    }
    record = pd.DataFrame(targets).assign(copies=[5, 5, 0], TA=0.9, RA=1.0, RA_similar=1.0, run="a", seed=0, method="scrub",
                                          steps=3.0, seconds=1.0, processor="x", n_decoys=9)  # fmt: skip
    means = comparison.tidy(record, {"copies": 5, "method": "another", "elsewhere": 1})
    by_name = means.set_index(["metric", "group"]).value
    assert by_name["score", "target"] == 2 and by_name["label_given", "target"] == 0.5 and by_name["TA", "all"] == 0.9
    assert set(means.run) == {"a"} and comparison.tidy(pd.DataFrame({"run": ["a"]}), {}) is None


NEAR = ["expand(retrain)", {"near": "text"}]
SETS = [
    {"dataset": "mnist", "model": "mlp", "seeds": 5, "methods": []},
    {"dataset": "digits", "model": "mlp", "seeds": 2},
]
WHOLE = {
    "sets": SETS,
    "arms": [{"targets": ["canary", "random"], "n_targets": 9, "copies": [0, 25]}, {"targets": "canary", "copies": 5}],
    "methods": ["scrub", NEAR],
    "memory": "results/full/targets",
}


@pytest.mark.parametrize(
    ("where", "seeds", "sets", "methods"),
    [
        ({"dataset": "mnist", "method": "retrain-again"}, [3], [SETS[0] | {"seeds": [3]}], []),
        ({"dataset": "digits", "method": "scrub"}, [0, 1], [SETS[1] | {"seeds": [0, 1]}], ["scrub"]),
        ({"dataset": "digits", "method": "expand(retrain)(near=text)"}, [1], [SETS[1] | {"seeds": [1]}], [NEAR]),
    ],
)  # fmt: skip
def test_of_whole_data_sets_one_is_trained_anew_with_all_of_its_arms(where, seeds, sets, methods):
    """Every dose is in one training set, and remembered scores would be compared with themselves."""
    path = reproduce.notebook.find("50_dose_response")
    found = reproduce.narrowed(path, WHOLE, where | {"targets": "canary", "copies": 25}, seeds)
    assert found["sets"] == sets and found["methods"] == methods and found["arms"] == WHOLE["arms"]
    assert "memory" not in found and reproduce.notebook.parameters(path)["memory"][1] == ""


def test_what_is_trained_is_said_with_its_time():
    said = retraining.forecast(
        {"sets": [SETS[1] | {"train_size": 640, "recipe": {"epochs": 2}}], "methods": ["scrub"]}, 1
    )
    assert said.startswith("trains 14 models of mlp on digits: about ")
    brief, long = (
        retraining.seconds_to_train(Config(model="mlp", recipe=Config.recipe.__class__(epochs=n))) for n in (1, 40)
    )
    assert 0 < brief < long
