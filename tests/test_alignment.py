"""Dimensional alignment as a loss, and what goes around it: gradients where they are delicate, ranks, effective rank."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from test_metrics_features import SEEDS, matrix, random, rotation
from unlearnkit.core.alignment import alignment, alignment_loss, directions, effective_rank, moment, principal, spectrum
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable


def test_the_loss_is_minus_the_square_of_the_alignment():
    main = directions(random(0, 50, 7), rank=3)
    for centred in (False, True):
        value = alignment(random(1, 20, 7), main, centred=centred).item()
        assert alignment_loss(random(1, 20, 7), main, centred=centred).item() == pytest.approx(-(value**2))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_its_gradient_is_right(n, centred):
    main = directions(random(0, 50, 5), rank=2)
    forget = random(n, n, 5).requires_grad_()
    if n == 1 and centred:  # one sample has no covariance
        assert alignment_loss(forget, main, centred=True).item() == 0
        return
    assert torch.autograd.gradcheck(lambda v: alignment_loss(v, main, centred=centred), (forget,))


@pytest.mark.parametrize("main", [matrix([1.0, 0], [0, 1], [0, 0]), matrix([0.0], [0], [1])])
def test_its_gradient_is_right_within_the_directions_and_across_them(main):
    """Where DA is 1 or 0, the square has a gradient of 0, and the root would have none."""
    inside = matrix([2.0, 1, 0], [1, -1, 0]).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: alignment_loss(v, main), (inside,))
    alignment_loss(inside, main).backward()
    assert inside.grad.abs().max() < 1e-12


def test_repeated_eigenvalues_harm_no_gradient():
    """All eigenvalues of R are equal, and of F: the derivative of an eigenvector would divide by 0."""
    features = torch.eye(4, dtype=torch.float64).requires_grad_()
    main = directions(features, rank=2)
    assert not main.requires_grad
    assert torch.autograd.gradcheck(lambda v: alignment_loss(v, main), (features.detach().requires_grad_(),))
    alignment_loss(features, directions(features, rank=2)).backward()
    assert features.grad.isfinite().all()


def test_at_zero_features_loss_and_gradient_are_zero():
    main = directions(random(0, 20, 4), rank=2)
    for dtype in (torch.float32, torch.float64):
        for centred in (False, True):
            forget = torch.zeros(6, 4, dtype=dtype, requires_grad=True)
            loss = alignment_loss(forget, main, centred=centred)
            loss.backward()
            assert loss == 0 and torch.equal(forget.grad, torch.zeros_like(forget))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 8), st.integers(1, 20), st.sampled_from([1e-300, 1e-30, 1e-6, 1.0, 1e30, 1e200]))
def test_rotation_scale_and_order_change_neither_loss_nor_gradient(seed, width, n, scale):
    retain, forget, q = random(seed, 25, width), random(seed + 1, n, width), rotation(seed + 2, width)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    grads = []
    for kept, gone in ((retain, forget), (retain @ q, scale * (forget @ q)[order])):
        gone = gone.detach().requires_grad_()
        loss = alignment_loss(gone, directions(kept, rank=2))
        loss.backward()
        grads.append((loss.item(), gone.grad))
    assert grads[0][0] == pytest.approx(grads[1][0], abs=1e-9)
    torch.testing.assert_close(scale * grads[1][1], (grads[0][1] @ q)[order], atol=1e-8, rtol=1e-6)


def test_descent_moves_features_into_the_directions():
    main = directions(random(0, 50, 6), rank=2)
    forget = random(1, 10, 6).requires_grad_()
    before = alignment(forget.detach(), main).item()
    step = torch.optim.SGD([forget], lr=1.0)
    for _ in range(300):
        step.zero_grad()
        alignment_loss(forget, main).backward()
        step.step()
    assert alignment(forget.detach(), main).item() > 0.99 > before


def test_a_rank_beyond_features_or_samples_is_refused_with_the_most_there_is():
    assert directions(random(0, 5, 9), rank=5).shape == (9, 5)
    with pytest.raises(BadValue, match="rank 6 asked for: 5 samples have at most 5 directions"):
        directions(random(0, 5, 9), rank=6)
    with pytest.raises(BadValue, match="rank 5 asked for: 5 samples, centred, have at most 4"):
        directions(random(0, 5, 9), rank=5, centred=True)
    with pytest.raises(BadValue, match="width of the features, 4"):
        directions(random(0, 20, 4), rank=5)


def test_features_without_directions():
    with pytest.raises(NotApplicable, match="all features are 0"):
        directions(torch.zeros(5, 3))
    with pytest.raises(NonFiniteLoss, match="not finite"):
        directions(torch.full((5, 3), math.nan))


def test_effective_rank_closed_forms():
    assert effective_rank(torch.eye(7, dtype=torch.float64)) == pytest.approx(7)
    assert effective_rank(moment(matrix([1.0, 2, 3], [-2, -4, -6]))) == pytest.approx(1)
    assert effective_rank(torch.zeros(3, 3, dtype=torch.float64)) == 0
    shares = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert effective_rank(torch.diag(9 * shares)) == pytest.approx(2**1.5)  # the entropy is 1.5 bits
    assert spectrum(torch.diag(shares.flip(0))).tolist() == pytest.approx(shares.tolist())


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 9), st.integers(1, 20), st.floats(1e-3, 1e3))
def test_effective_rank_sees_no_rotation_and_no_scale(seed, width, n, scale):
    v = random(seed, n, width)
    value = effective_rank(moment(v))
    assert 1 - 1e-9 <= value <= min(n, width) + 1e-9
    assert effective_rank(moment(scale * v @ rotation(seed, width))) == pytest.approx(value, rel=1e-6)


def test_collapse_onto_one_direction_is_seen_by_the_effective_rank_alone():
    retain = random(0, 60, 8)
    main = directions(retain)
    collapsed = torch.ones(20, 1, dtype=torch.float64) @ main[:, :1].T
    assert alignment(collapsed, main).item() == pytest.approx(1) and effective_rank(moment(collapsed)) == pytest.approx(
        1
    )
    assert principal(moment(retain)).shape == main.shape
