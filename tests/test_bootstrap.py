import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit.core import bootstrap
from unlearnkit.core.errors import BadValue

SEEDS = np.repeat(np.arange(5), 20)


def test_the_weights_are_a_draw_of_seeds_and_then_of_their_targets():
    w = bootstrap.weights(SEEDS)
    assert w.shape == (2000, 100) and (w.sum(1) == 100).all()
    by_seed = w.reshape(2000, 5, 20).sum(2)
    assert (by_seed % 20 == 0).all() and (by_seed == 0).any()  # a seed comes as a whole number of times
    assert abs(w.mean() - 1) < 0.01 and w.max() > 3


def test_the_same_seeds_are_drawn_for_every_arm_and_targets_anew():
    one, same, other = (bootstrap.weights(SEEDS, arm=arm) for arm in ("m = 0", "m = 0", "m = 25"))
    assert (one == same).all() and (one != other).any()
    assert (one.reshape(2000, 5, 20).sum(2) == other.reshape(2000, 5, 20).sum(2)).all()


def test_the_spread_is_that_of_both_levels():
    """Values that differ by seed alone have the standard error of 5 seeds, not that of 100 targets."""
    rng = np.random.default_rng(0)
    of_seeds = rng.normal(size=5)
    draws = bootstrap.means(np.repeat(of_seeds, 20), bootstrap.weights(SEEDS))
    assert draws.std() == pytest.approx(of_seeds.std() / np.sqrt(5), rel=0.05)
    of_targets = rng.normal(size=100)
    alone = bootstrap.means(of_targets, bootstrap.weights(np.zeros(100)))  # one seed: its targets
    assert alone.std() == pytest.approx(of_targets.std() / 10, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(1, 4))
def test_an_interval_of_shares_is_within_their_bounds_and_holds_the_mean(values, n_seeds):
    found = bootstrap.mean(values, [i % n_seeds for i in range(len(values))], n_draws=200)
    assert 0 <= found["low"] <= found["mean"] + 1e-12 and found["mean"] - 1e-12 <= found["high"] <= 1 + 1e-12


def test_methods_on_the_same_targets_are_compared_paired():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=100) * 5  # what a target's own difficulty adds to both
    a, b = hard + 0.5, hard + rng.normal(size=100) * 0.1
    w = bootstrap.weights(SEEDS)
    paired = bootstrap.means(a, w) - bootstrap.means(b, w)
    apart = bootstrap.means(a, w) - bootstrap.means(b, bootstrap.weights(SEEDS, arm="other"))
    assert paired.std() < 0.1 * apart.std() and not bootstrap.holds_zero(paired)


def test_a_value_that_is_not_there_is_left_out():
    w = bootstrap.weights(SEEDS)
    values = np.where(np.arange(100) % 2, np.nan, 3.0)
    assert np.allclose(bootstrap.means(values, w), 3)


def test_a_ratio_of_nothing_is_no_number():
    assert np.isnan(bootstrap.ratio(np.ones(3), np.array([1.0, 0.0, 2.0]))).tolist() == [False, True, False]


def test_p_values_by_hand():
    assert bootstrap.p_value(np.full(1999, 0.3)) == pytest.approx(2 / 2000)
    assert bootstrap.p_value(np.array([-1.0, 1.0] * 50)) == 1
    assert bootstrap.p_equivalent(np.full(1999, 0.05), 0.1) == pytest.approx(1 / 2000)
    assert bootstrap.p_equivalent(np.full(1999, 0.2), 0.1) == 1  # surely not 0, and surely not equivalent
    assert bootstrap.p_equivalent(np.array([0.0, 0.2] * 50), 0.1) > 0.4
    with pytest.raises(BadValue, match="must be above 0"):
        bootstrap.p_equivalent(np.zeros(3), 0.0)


def test_holm_by_hand():
    found = bootstrap.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9})
    assert found == pytest.approx({"a": 0.04, "b": 0.09, "c": 0.09, "d": 0.9})
    assert bootstrap.holm({}) == {}


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(BadValue, match="there is no target"):
        bootstrap.weights([])
