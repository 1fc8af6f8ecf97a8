"""Closed forms and properties of the metrics that read features."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit.core.alignment import alignment, moment, principal
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.metrics import left_out, metrics, probes
from unlearnkit.metrics.contracts import outputs_from
from unlearnkit.metrics.features import dimensional_alignment, entanglement, linear_cka
from unlearnkit.metrics.probes import (
    TOLERANCE,
    clusters,
    fitted_head,
    mutual_information,
    nearest_labels,
    pairwise_f1,
    split,
)
from unlearnkit.metrics.subsample import drawn

SEEDS = st.integers(0, 2**31)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed: int, width: int) -> torch.Tensor:
    return torch.linalg.qr(random(seed, width, width)).Q


def matrix(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# --- dimensional alignment ---


def test_alignment_closed_forms():
    retain = matrix([3.0, 0, 0], [0, 2, 0], [0, 0, 0.1])  # energies 9, 4, 0.01
    directions = principal(moment(retain))
    assert directions.abs().tolist() == pytest.approx(np.eye(3)[:, :2])
    along, across = matrix([1.0, 0, 0]), matrix([0, 0, 1.0])
    assert alignment(along, directions).item() == pytest.approx(1)
    assert alignment(across, directions).item() == pytest.approx(0)
    half = matrix([1.0, 0, 1.0])  # its moment is (1 0 1)(1 0 1)^T, of norm 2; what lies in U has norm sqrt 2
    assert alignment(half, directions).item() == pytest.approx(2**-0.5)
    both = matrix([1.0, 0, 0], [0, 0, 2.0])  # moments 1 and 4, of which 1 lies in U
    assert alignment(both, directions).item() == pytest.approx(1 / 17**0.5)


def test_it_is_the_formula_read_literally():
    retain, forget = random(0, 50, 7), random(1, 20, 7)
    u, s, _ = torch.linalg.svd(retain.T, full_matrices=False)
    rank = int((s.square().cumsum(0) / s.square().sum() < 0.95).sum()) + 1
    f, u = forget.T, u[:, :rank]
    expected = torch.linalg.norm(f @ f.T @ u @ u.T) / torch.linalg.norm(f @ f.T)
    assert alignment(forget, principal(moment(retain))).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.9, 1), (0.91, 2), (0.99, 2), (1.0, 3)])
def test_the_rank_is_the_smallest_that_holds_the_energy(energy, rank):
    directions = principal(torch.diag(matrix([0.9, 0.09, 0.01])[0]), energy=energy)
    assert directions.shape == (3, rank)


def test_options_and_their_errors():
    m = moment(random(0, 30, 5))
    assert principal(m, rank=2).shape == (5, 2)
    for wrong in ({"energy": 0.0}, {"energy": 1.1}, {"rank": 0}, {"rank": 6}):
        with pytest.raises(BadValue):
            principal(m, **wrong)
    with pytest.raises(NotApplicable, match="all features are 0"):
        principal(torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(NotApplicable, match="are 0"):
        alignment(torch.zeros(2, 5), principal(m))
    with pytest.raises(BadValue, match="at least one sample"):
        moment(torch.zeros(0, 5))
    shifted = random(0, 30, 5) + 100
    torch.testing.assert_close(moment(shifted, centred=True), moment(random(0, 30, 5), centred=True))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 9), st.integers(1, 30), st.floats(0.3, 1.0), st.floats(1e-3, 1e3))
def test_alignment_is_a_share_that_rotation_and_scale_leave_alone(seed, width, n, energy, scale):
    retain, forget, q = random(seed, 25, width), random(seed + 1, n, width), rotation(seed + 2, width)
    value = alignment(forget, principal(moment(retain), energy=energy)).item()
    turned = alignment(scale * forget @ q, principal(moment(retain @ q), energy=energy)).item()
    assert -1e-12 <= value <= 1 + 1e-12 and turned == pytest.approx(value, abs=1e-9)
    more = [alignment(forget, principal(moment(retain), rank=r)).item() for r in range(1, width + 1)]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(more)) and more[-1] == pytest.approx(1)


# --- CKA and entanglement ---


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(3, 30), st.integers(1, 6), st.integers(1, 6), st.floats(1e-2, 1e2))
def test_cka_sees_no_rotation_scale_or_shift(seed, n, wide, other, scale):
    a, b = random(seed, n, wide), random(seed + 1, n, other)
    value = linear_cka(a, b)
    assert -1e-12 <= value <= 1 + 1e-9 and linear_cka(b, a) == pytest.approx(value)
    assert linear_cka(scale * a @ rotation(seed, wide) + 3, b) == pytest.approx(value, abs=1e-9)
    assert linear_cka(a, a @ rotation(seed, wide)) == pytest.approx(1)


def test_cka_closed_forms():
    a = matrix([1.0, 0], [-1, 0], [0, 1], [0, -1])
    assert linear_cka(a, a[:, :1]) == pytest.approx(2**-0.5)  # (2^2) / (sqrt 8 * 2)
    assert linear_cka(a[:, :1], a[:, 1:]) == 0
    with pytest.raises(NotApplicable, match="same features"):
        linear_cka(a, torch.ones(4, 2))


def test_entanglement_closed_form():
    a, b = matrix([1.0, 0], [-1, 0]), matrix([4.0, 2], [4, -2])
    # spread 1 and 4; means (0, 0) and (4, 0), 2 from the middle each
    assert entanglement(a, b) == pytest.approx(5 / 4)
    # the middle is that of all samples, not of the two means: at 16 / 6, 8 / 3 and 4 / 3 away
    assert entanglement(a, b.repeat(2, 1)) == pytest.approx(5 / (((8 / 3) ** 2 + (4 / 3) ** 2) / 2))
    few, many = matrix([4.0, 2], [4, -2]), a.repeat(500, 1)  # against the two means' middle up to half as large
    assert entanglement(many, few) == pytest.approx(5 / 4 / 2, rel=0.01)
    with pytest.raises(NotApplicable, match="same mean"):
        entanglement(a, -a)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(1e-2, 1e2), st.floats(-10, 10))
def test_entanglement_sees_no_rotation_scale_or_shift(seed, scale, shift):
    a, b, q = random(seed, 9, 4), random(seed + 1, 6, 4) + 1, rotation(seed, 4)
    assert entanglement(scale * a @ q + shift, scale * b @ q + shift) == pytest.approx(entanglement(a, b), rel=1e-6)


# --- probes and clusters ---


def blobs(roles, labels, width: int = 4, spread: float = 0.05, seed: int = 0):
    """Outputs whose features tell the labels perfectly and whose logits tell nothing."""
    centres = 3 * torch.eye(8, width)
    labels = torch.tensor(labels)
    features = centres[labels] + spread * random(seed, len(labels), width).float()
    return outputs_from(torch.zeros(len(labels), 3), labels, roles, features=features)


def several(n: int, classes=(0, 1, 2)):
    configs = [(r, k) for r in ("target", "filler", "test") for k in classes for _ in range(n)]
    return [r for r, _ in configs], [k for _, k in configs]


@pytest.mark.parametrize("name", ["LP", "k-NN", "NMI", "F1"])
def test_features_that_tell_all_and_nothing(name):
    told = metrics[name](blobs(*several(30)))
    assert set(told) >= {"target", "test"} and list(told.values()) == pytest.approx([1.0] * len(told))
    lost = metrics[name](blobs(*several(60), spread=1e4))
    assert all(value < 0.55 for value in lost.values())


def no_gradient_is_left(tolerance):
    """Of the mean cross-entropy plus 0.001 |w|^2 / 2, by torch's own."""
    x, y = random(0, 80, 6), torch.arange(80) % 3
    head = fitted_head(x.numpy(), y.numpy(), tolerance)
    w, b = (torch.tensor(v, requires_grad=True) for v in (head.coef_, head.intercept_))
    loss = torch.nn.functional.cross_entropy(x @ w.T + b, y) + 1e-3 * w.square().sum() / 2
    assert max(g.abs().max() for g in torch.autograd.grad(loss, [w, b])) <= 1e-6


def test_the_probe_is_fitted_to_the_end(monkeypatch):
    no_gradient_is_left(TOLERANCE)
    with pytest.raises(AssertionError):
        no_gradient_is_left(1e-4)  # scikit-learn's own
    monkeypatch.setattr(probes, "ITERATIONS", 2)
    with pytest.raises(BadValue, match="not fitted after 2"):
        no_gradient_is_left(TOLERANCE)


def test_where_a_whole_class_goes_the_probes_are_shown_it():
    roles = ["target"] * 20 + ["filler"] * 40 + ["test"] * 30
    labels = [2] * 20 + [0] * 20 + [1] * 20 + [0] * 10 + [1] * 10 + [2] * 10
    e = blobs(roles, labels)
    learn, groups = split(e)
    assert set(groups) == {"test", "unseen"} and len(learn) == 60 and e.labels[groups["unseen"]].tolist() == [2] * 10
    assert metrics["LP"](e) == {"test": 1.0, "unseen": 1.0} == metrics["k-NN"](e)
    assert set(metrics["NMI"](e)) == {"test", "held-out"}  # of one class, NMI of the targets is not defined
    assert set(metrics["F1"](e)) == {"target", "test", "held-out"}


def test_held_out_samples_are_of_all_classes_the_forgotten_one_included():
    roles = ["target"] * 20 + ["filler"] * 40 + ["test"] * 20 + ["decoy"] * 10
    labels = [2] * 20 + [0] * 20 + [1] * 20 + [0] * 10 + [1] * 10 + [2] * 10
    e = blobs(roles, labels)
    assert e.labels[probes.held_out(e)].unique().tolist() == [0, 1, 2]
    assert metrics["CKA"](e, e)["held-out"] == pytest.approx(1)
    merged = e.features.clone()
    merged[e.labels == 2] = merged[e.labels == 0].repeat(2, 1)[: (e.labels == 2).sum()]  # the class lies on another
    merged = replace(e, features=merged)
    for name in ("NMI", "F1"):
        before, after = metrics[name](e), metrics[name](merged)
        assert after["test"] == pytest.approx(before["test"]) and after["held-out"] < before["held-out"] - 0.1
    assert metrics["CKA"](merged, e)["held-out"] < 0.9 < metrics["CKA"](merged, e)["test"]
    stays = blobs(["target"] * 30 + ["filler"] * 30 + ["test"] * 30, [0, 1, 2] * 30)
    assert torch.equal(probes.held_out(stays), stays.rows("test"))


def test_large_groups_are_drawn_alike_for_all_models(monkeypatch):
    rows = torch.arange(50) * 3
    assert torch.equal(drawn(rows, 50, "CKA"), rows)
    part = drawn(rows, 20, "CKA")
    assert len(part) == 20 == len(part.unique()) and torch.equal(part, drawn(rows, 20, "CKA"))
    assert torch.isin(part, rows).all() and torch.equal(part, part.sort().values)
    assert not torch.equal(part, drawn(rows, 20, "clusters"))
    monkeypatch.setattr(probes, "MOST", 60)
    seen = []
    monkeypatch.setattr(probes, "fitted_head", lambda x, y: seen.append(len(x)) or fitted_head(x, y))
    e = blobs(*several(60))
    assert metrics["LP"](e)["test"] == 1.0 and seen == [60]  # of 180 retained samples
    assert metrics["k-NN"](e)["test"] == 1.0 and metrics["F1"](e)["test"] == 1.0


def test_what_is_left_out_says_why():
    roles = ["target"] * 20 + ["filler"] * 40 + ["test"] * 30
    labels = [2] * 20 + [0] * 20 + [1] * 20 + [0] * 10 + [1] * 10 + [2] * 10
    why = left_out(blobs(roles, labels)).set_index(["metric", "group"]).why
    assert why["NMI", "target"].startswith("all samples are of one class") and "not defined" in why["NMI", "target"]
    assert "read the group unseen" in why["LP", "target"] and why["k-NN", "target"] == why["LP", "target"]
    assert (
        why["influence", "target"] == why["influence-rank", "target"] == "it needs at least 2 decoys" and len(why) == 5
    )
    few = blobs(*several(4))  # 12 samples of each role for 3 clusters
    assert left_out(few, ["NMI", "F1"]).why.unique().tolist() == [
        "12 samples for 3 clusters: with fewer than 5 for each, clusters are noise"
    ]
    assert metrics["NMI"](few) == metrics["F1"](few) == {}


def test_every_group_without_a_number_has_a_reason(all_outputs):
    for seen in (all_outputs["original"], blobs(*several(4)), blobs(*several(30))):
        for name in ("LP", "k-NN", "NMI", "F1"):
            groups = {"target", "test"} | ({"held-out"} if name in ("NMI", "F1") else set())
            missing = groups - set(metrics[name](seen))
            assert set(left_out(seen, [name]).group) == missing


def test_five_neighbours_vote_and_the_nearest_breaks_a_tie():
    angles = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 3.0])
    bank = (
        torch.stack([angles.cos(), angles.sin()], 1) * torch.tensor([1, 9, 1, 5, 1, 1.0])[:, None]
    )  # length is no matter
    query = torch.tensor([[1.0, 0.0]])
    assert nearest_labels(bank, torch.tensor([7, 7, 3, 3, 3, 9]), query).item() == 3
    assert nearest_labels(bank, torch.tensor([7, 3, 3, 7, 5, 9]), query).item() == 7
    assert nearest_labels(bank, torch.tensor([3, 7, 7, 3, 5, 9]), query).item() == 3
    with pytest.raises(NotApplicable, match="among 4 samples"):
        nearest_labels(bank[:4], torch.tensor([0, 1, 2, 3]), query)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=25))
def test_pairwise_f1_is_that_of_all_pairs(drawn):
    labels, found = (np.array(v) for v in zip(*drawn))
    pairs = [(labels[i] == labels[j], found[i] == found[j]) for i, j in itertools.combinations(range(len(labels)), 2)]
    truth, guess, both = (sum(map(f, pairs)) for f in (lambda p: p[0], lambda p: p[1], all))
    if not truth:
        with pytest.raises(NotApplicable, match="no two samples"):
            pairwise_f1(labels, found)
    else:
        assert pairwise_f1(labels, found) == pytest.approx(2 * both / (truth + guess))
        assert pairwise_f1(labels, 3 - found) == pairwise_f1(labels, found)


def test_mutual_information_closed_forms():
    labels = np.array([0, 0, 1, 1])
    assert mutual_information(labels, np.array([5, 5, 2, 2])) == pytest.approx(1)
    assert mutual_information(labels, np.array([0, 1, 0, 1])) == pytest.approx(0)
    # entropies ln 2 and 2 ln 2, of which ln 2 is shared
    assert mutual_information(labels, np.array([0, 1, 2, 3])) == pytest.approx(2 / 3)
    with pytest.raises(NotApplicable, match="one class"):
        mutual_information(np.zeros(4), labels)


def test_clusters_of_features_that_have_collapsed():
    collapsed = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).repeat(6, 1)
    assert len(set(clusters(collapsed, 5).tolist())) == 2
    with pytest.raises(NotApplicable, match="5 clusters asked for among 4"):
        clusters(collapsed[:4], 5)


@pytest.mark.parametrize("name", ["DA", "CKA", "ES", "LP", "k-NN", "NMI", "F1"])
def test_dead_features_give_no_row_and_no_nonsense(name):
    """After gradient ascent all features may be 0."""
    roles, labels = several(10)
    dead = outputs_from(torch.zeros(len(labels), 3), labels, roles, features=torch.zeros(len(labels), 4))
    found = metrics[name](dead, dead)
    assert all(0 <= value <= 1 for value in found.values())
    assert not found or name not in ("DA", "CKA", "ES")


def test_rank_energy_and_centring_are_options():
    e = blobs(*several(30))
    assert dimensional_alignment(e, rank=4) == pytest.approx(1)
    assert dimensional_alignment(e) == pytest.approx(metrics["DA"](e)["target"])
    assert dimensional_alignment(e, rank=1) < dimensional_alignment(e, rank=2) < 1
    assert 0 < dimensional_alignment(e, "test", energy=0.9, centred=True) <= 1
