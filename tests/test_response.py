"""Influence against measured similarity."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit import figures, study
from unlearnkit.analysis.measured_similarity import (
    SIMILARITY_MEASURES,
    buildable,
    influence_by_similarity,
    isotonic_r2,
    variance_explained,
)
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.images.config import config_grid

pytestmark = pytest.mark.slow

TINY = {"n_targets": 2, "train_size": 40, "copies": 2, "targets": "canary", "recipe": {"epochs": 24, "batch_size": 20}}


def test_what_a_similarity_measure_explains():
    x = np.array([0.2, 0.4, 0.6, 0.8, 0.3, 0.5, 0.7, 0.9])
    kinds = np.array(["a"] * 4 + ["b"] * 4)
    one_curve = isotonic_r2(x, x**2, kinds)
    assert one_curve[:2] == pytest.approx((1, 1)) and one_curve[2] > 0.8
    kind_alone = isotonic_r2(x, np.where(kinds == "a", 0.0, 1.0) + 1e-3 * x, kinds)
    assert kind_alone[2] < 0.05 < kind_alone[1] < 0.5


def test_a_condition_that_cannot_be_built_is_listed_and_the_others_stay():
    grid = config_grid(**TINY, perturbation=["noise", "pixel_neighbours"], similarity_level=["ssim~0.6"], seeds=2)
    kept, lost = buildable(grid)
    assert {c.perturbation for c in kept} == {"noise"} and len(kept) == 2
    assert lost.perturbation.tolist() == ["pixel_neighbours"] and "leave similarity_level empty" in lost.why[0]


def scores_of(influence: dict, seeds: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A score table in which retrain has these residual influences for (kind, strength), and its responses; similarity
    measures rise with them."""
    rng, rows, responses = np.random.default_rng(0), [], []
    for (kind, strength), value in influence.items():
        config = dict.fromkeys(CONDITION_COLUMNS, "") | {
            "dataset": "d",
            "perturbation": kind,
            "strength": strength,
            "train_size": 1,
            "copies": 1,
        }
        for seed in range(seeds):
            noise = rng.normal(0, 1e-3)
            for method, phi in (("original", 1.0), ("clean", 0.0), ("retrain", value + noise)):
                of = {
                    "method": method,
                    "seed": seed,
                    "metric": "influence",
                    "group": "target",
                    "reference": "",
                    "value": phi,
                }
                rows.append(config | of)
        responses.append(
            config
            | {"method": "retrain", "residual_influence": value}
            | dict.fromkeys(SIMILARITY_MEASURES, 1 - strength)
        )
    return pd.DataFrame(rows), pd.DataFrame(responses)


def test_one_curve_for_all_kinds_is_found_and_two_are_told_apart():
    same = scores_of({(k, s): 1 - s for k in "ab" for s in (0.1, 0.2, 0.3, 0.4, 0.5)})
    apart = scores_of({(k, s): (1 - s) * (k == "a") for k in "ab" for s in (0.1, 0.2, 0.3, 0.4, 0.5)})
    one, two = (variance_explained(*t).set_index("similarity_measure").loc["ssim"] for t in (same, apart))
    assert (
        one.r2_leave_kind_out > 0.9
        and one.r2_leave_kind_out_low <= one.r2_leave_kind_out <= one.r2_leave_kind_out_high + 1e-9
    )
    assert two.r2_leave_kind_out < 0 and (one.n_conditions, one.n_seeds) == (10, 4)


def test_too_few_conditions_are_an_error():
    with pytest.raises(BadValue, match="3 conditions of 1 perturbations.*at least 4 of 2"):
        variance_explained(*scores_of({("a", s): 1 - s for s in (0.1, 0.2, 0.3)}))


def test_from_tasks_to_the_figure():
    grid, _ = buildable(config_grid(**TINY, perturbation="noise", strength=[0.2, 0.6], seeds=2))
    found = influence_by_similarity(grid, study.reference_scores(grid))
    assert (
        len(found) == 6
        and found.ssim.is_monotonic_decreasing
        and (found.residual_influence[found.method == "original"] == 1).all()
    )
    figure, data = figures.plot_influence_by_similarity(found)
    assert len(figure.axes) == len(SIMILARITY_MEASURES) and set(data.method) <= {"retrain"}
