"""Closed forms and properties of the metrics over many models, and of relearn time."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit.core.errors import BadValue
from unlearnkit.methods.contracts import same
from unlearnkit.metrics import metrics
from unlearnkit.metrics.contracts import outputs_from
from unlearnkit.metrics.ensembles import histogram_kl, lira, lira_accuracy, tpr_at
from unlearnkit.metrics.relearn_time import forget_loss, relearn_steps

SEEDS = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_models(margins: torch.Tensor):
    n = margins.shape[1]
    return outputs_from(torch.zeros(n, 2), [0] * n, ["target"] * n, margins=margins)


# --- KLoM ---


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 20), st.integers(1, 20), st.sampled_from([0.25, 0.5, 2.0]), st.integers(-8, 8))
def test_histogram_kl_is_at_least_0_and_sees_no_scale_or_shift(seed, n, m, scale, shift):
    a, b = (normal(seed, n, 5) * 64).round() / 64, (normal(seed + 1, m, 5) * 64).round() / 64  # exact under both
    value = histogram_kl(a, b)
    assert (value >= 0).all() and (histogram_kl(a, a) == 0).all() and value.shape == (5,)
    torch.testing.assert_close(histogram_kl(scale * a + shift, scale * b + shift), value)
    torch.testing.assert_close(histogram_kl(a.flip(0), b), value)
    assert (value <= math.log(1e5 + 1) + 1e-9).all()


def test_histogram_kl_clips_and_takes_a_single_value():
    far = torch.tensor([[1e6], [-1e6]], dtype=torch.float64)
    assert histogram_kl(far, far.clamp(-100, 100)).item() == 0
    one = torch.full((3, 2), 4.0)
    assert histogram_kl(one, one[:2]).tolist() == [0, 0]


def test_klom_of_two_draws_falls_with_the_number_of_models():
    """The noise floor: models made in the same way are not at 0, and the nearer the more there are."""
    floors = [
        metrics["KLoM"](of_models(normal(0, n, 50)), of_models(normal(1, n, 50)))["target"] for n in (8, 64, 4096)
    ]
    assert floors == pytest.approx([6.4, 0.64, 0.005], rel=0.15)
    far = metrics["KLoM"](of_models(normal(0, 64, 50) + 9), of_models(normal(1, 64, 50)))["target"]
    assert far > 5 * floors[1]


# --- U-LiRA ---


def test_u_lira_of_two_draws_is_a_coin_and_of_others_is_not():
    fresh = normal(0, 64, 40)
    assert lira_accuracy(normal(1, 64, 40), fresh).mean().item() == pytest.approx(0.5, abs=0.03)
    assert lira_accuracy(normal(1, 64, 40) + 8, fresh).mean().item() > 0.99
    assert lira_accuracy(fresh + 2, fresh).mean().item() == pytest.approx(0.841, abs=0.02)  # of N(0, 1) beyond -1
    assert lira_accuracy(fresh, fresh).tolist() == [0.5] * 40
    assert tpr_at(*lira(fresh, fresh)) == pytest.approx(0.01)
    assert tpr_at(*lira(normal(1, 64, 40) + 8, fresh)) > 0.99


def test_no_model_is_scored_by_what_it_was_fitted_on():
    """One model that stands alone: fitted on, it would be likely; held out, it is not."""
    inside, outside = normal(0, 8, 1), normal(1, 8, 1)
    inside[3] = 1e3
    scores = lira(inside, outside)[0]
    even = torch.distributions.Normal(inside[0::2].mean(), inside[0::2].std())
    other = torch.distributions.Normal(outside[0::2].mean(), outside[0::2].std())
    assert scores[3].item() == pytest.approx((even.log_prob(inside[3]) - other.log_prob(inside[3])).item())


def test_u_lira_needs_four_models_of_a_kind():
    with pytest.raises(BadValue, match="at least 4 models of each kind.*n_models"):
        lira(normal(0, 4, 2), normal(1, 3, 2))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(4, 12), st.integers(4, 12), st.floats(-3, 3))
def test_u_lira_is_a_share_and_names_no_side(seed, n, m, shift):
    a, b = normal(seed, n, 3) + shift, normal(seed + 1, m, 3)
    value = lira_accuracy(a, b)
    assert ((value >= 0) & (value <= 1)).all()
    torch.testing.assert_close(lira_accuracy(b, a), value)
    torch.testing.assert_close(lira_accuracy(3 * a + 1, 3 * b + 1), value)


def test_tpr_closed_forms_and_the_smallest_rate():
    outside = torch.arange(100.0)
    inside = torch.tensor([99.5, 98.5, 98.5, 10.0])
    assert tpr_at(inside, outside, 0.01) == pytest.approx(0.75)  # one of a hundred lies above 98.5
    assert tpr_at(inside, outside, 0.015) == pytest.approx(0.75)
    assert tpr_at(torch.tensor([98.0, 10.0]), outside, 0.015) == pytest.approx(0.25)  # half way to the tie at 98
    assert tpr_at(outside, outside, 0.05) == pytest.approx(0.05)
    with pytest.raises(BadValue, match=r"rate of 0\.001 cannot be resolved.*the smallest is 0\.01"):
        tpr_at(inside, outside, 0.001)
    few = of_models(normal(0, 8, 12))  # 96 scores
    assert metrics["U-LiRA-TPR"](few, few) == {} and metrics["U-LiRA"](few, few) == {"target": 0.5}


# --- relearn time ---


def test_relearning_takes_no_step_where_nothing_was_forgotten_and_some_elsewhere(models, request_):
    goal = forget_loss(models["original"], request_)
    assert relearn_steps(models["original"], request_, goal, seed=0, device="cpu") == 0
    before = copy.deepcopy(models["clean"])
    steps = [relearn_steps(models["clean"], request_, g, seed=0, device="cpu", lr=0.1) for g in (1.0, goal)]
    assert 0 < steps[0] < steps[1] <= 200
    assert same(models["clean"], before)


def test_relearning_counts_full_passes_in_batches_and_stops_at_the_limit(models, request_):
    args = {"seed": 0, "device": "cpu"}
    assert relearn_steps(models["clean"], request_, -1.0, at_most=7, batch_size=4, **args) == 7
    assert relearn_steps(models["clean"], request_, 0.0, at_most=5, lr=1e30, **args) == 5  # diverged: not arrived
    again = [relearn_steps(models["clean"], request_, 0.5, lr=0.1, batch_size=4, **args) for _ in range(2)]
    assert again[0] == again[1] > 0
