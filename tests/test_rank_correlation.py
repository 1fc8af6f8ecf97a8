import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit.core.rank_correlation import over_samples, over_seeds, partial_given_two, partial_spearman, spearman

few = st.lists(st.integers(0, 6), min_size=6, max_size=20)


@pytest.mark.filterwarnings("ignore:An input array is constant")
@settings(max_examples=60, deadline=None)
@given(few, st.randoms(use_true_random=False))
def test_spearman_is_pandas_with_ties_too(a, random):
    b = [random.randint(0, 6) for _ in a]
    expected = pd.Series(a).corr(pd.Series(b), method="spearman")
    assert spearman(a, b) == pytest.approx(expected, nan_ok=True, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(few, st.randoms(use_true_random=False))
def test_partial_is_the_closed_form_of_three_correlations(a, random):
    b, c = ([random.randint(0, 6) for _ in a] for _ in range(2))
    ab, ac, bc = spearman(a, b), spearman(a, c), spearman(b, c)
    if not np.isfinite([ab, ac, bc]).all() or max(abs(ac), abs(bc)) > 0.999:
        return
    expected = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    assert partial_spearman(a, b, c) == pytest.approx(expected, abs=1e-6)


def test_a_constant_has_no_correlation_and_holding_one_fixed_changes_nothing():
    a, b = np.arange(8.0), np.array([3, 1, 4, 1, 5, 9, 2, 6])
    assert np.isnan(spearman(a, np.ones(8)))
    assert np.isnan(partial_spearman(a, b, a)) and np.isnan(partial_spearman(b, np.exp(a), a))
    assert partial_spearman(a, b, np.ones(8)) == pytest.approx(spearman(a, b))


def test_what_both_owe_to_a_third_is_taken_out():
    g = np.random.default_rng(0)
    common = g.normal(size=3000)
    a, b = common + g.normal(size=3000), common + g.normal(size=3000)
    assert spearman(a, b) > 0.4 and abs(partial_spearman(a, b, common)) < 0.05


def test_with_two_equal_measurements_nothing_is_corrected_and_with_noisy_ones_it_is():
    g = np.random.default_rng(0)
    common = g.normal(size=(40, 200))
    a, b = common + g.normal(size=common.shape), common + g.normal(size=common.shape)
    assert partial_given_two(a, b, common, common) == pytest.approx(partial_spearman(a, b, common))
    one, other = common + g.normal(size=common.shape), common + g.normal(size=common.shape)
    assert partial_spearman(a, b, (one + other) / 2).mean() > 0.15
    assert abs(partial_given_two(a, b, one, other).mean()) < 0.05
    assert np.isnan(partial_given_two(a, b, one, -one)).all()  # not reliable at all


def test_interval_over_samples_covers_the_true_value():
    g = np.random.default_rng(1)
    true, hits = 6 / np.pi * np.arcsin(0.5 / 2), 0  # of Gaussians with correlation 0.5
    for _ in range(60):
        a = g.normal(size=(3, 60))
        b = 0.5 * a + np.sqrt(0.75) * g.normal(size=a.shape)
        low, high = over_samples(spearman, [[x, y] for x, y in zip(a, b)], rounds=200)
        hits += low <= true <= high
    assert hits >= 51  # 95% of 60 are 57, and fewer than 51 have a chance of 1%


def test_seeds_without_a_value_are_left_out_and_counted():
    a, b = np.arange(9.0), np.array([2, 0, 1, 5, 3, 4, 8, 6, 7])
    found = over_seeds(spearman, [[a, b], [a, b[::-1]], [a, np.ones(9)]])
    assert found["n"] == 2 and found["samples"] == 18
    assert found["mean"] == pytest.approx(0, abs=1e-12)
    assert found["low_samples"] < 0 < found["high_samples"]
    nothing = over_seeds(spearman, [[a, np.ones(9)]])
    assert nothing["n"] == 0 and nothing["mean"] is None
    one = over_seeds(spearman, [[a, b]])
    assert one["low"] is None and one["low_samples"] < one["mean"] <= one["high_samples"]
