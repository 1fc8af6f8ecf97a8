"""The search for neighbours: against brute force, in any order and chunks; its precision and recall against the links."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_builders.task import Samples
from unlearnkit.analysis.mitigations import neighbour_recall, precision_recall
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, NonFiniteLoss, UnknownName
from unlearnkit.images.config import config_grid
from unlearnkit.images.predict import predict
from unlearnkit.images.request import Request
from unlearnkit.wrappers import neighbours
from unlearnkit.wrappers.neighbours import Neighbours, NeighbourSearch, Vectors, find, nearest, parse, parted


def noise(n: int, *labels, classes: int = 3) -> Samples:
    """n images of 2x2 and their labels, at random."""
    g = generator(0, *labels)
    return Samples(torch.rand(n, 1, 2, 2, generator=g), torch.randint(classes, (n,), generator=g))


def asked(forget: int = 3, retain: int = 20, validation: int = 0, seed: int = 0) -> Request:
    held = noise(validation, "validation", seed) if validation else None
    return Request(noise(forget, "forget", seed), noise(retain, "retain", seed), 3, validation=held)


def cosines(a: Samples, b: Samples, by_label: bool) -> np.ndarray:
    """One pair at a time."""
    table = np.full((len(a), len(b)), -np.inf)
    for i, (u, k) in enumerate(zip(a.x.double().flatten(1).numpy(), a.y)):
        for j, (v, m) in enumerate(zip(b.x.double().flatten(1).numpy(), b.y)):
            if not by_label or k == m:
                table[i, j] = u @ v / np.sqrt((u @ u) * (v @ v))
    return table


def finds_what_brute_force_finds(search):
    request = asked(validation=15)
    for space in ("pixel", "pixel+label"):
        table = cosines(request.forget, request.retain, space.endswith("label"))
        held = cosines(request.validation, request.retain, space.endswith("label")).max(1)
        expected = {
            "top 4": {j for row in table for j in np.argsort(-row)[:4] if row[j] > -np.inf},
            "above 0.9": set(np.flatnonzero(table.max(0) >= 0.9)),
            "calibrated 0.8": set(np.flatnonzero(table.max(0) > np.quantile(held, 0.8, method="higher"))),
        }
        for rule, rows in expected.items():
            neighbours_ = search(None, request, f"{space} {rule}")
            assert set(neighbours_.index.tolist()) == rows, f"{space} {rule}"
            assert neighbours_.index.tolist() == sorted(rows)
            np.testing.assert_allclose(neighbours_.similarity, table.max(0)[neighbours_.index], atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 60, 2**20])
def test_the_search_finds_what_brute_force_finds(chunk, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    finds_what_brute_force_finds(find)


def test_the_control_finds_as_many_wherever_they_lie():
    request = asked(forget=20, retain=400)
    results = [find(None, request, way) for way in ("random top 3", "random top 3", "pixel top 3")]
    assert results[0].index.equal(results[1].index) and 50 < len(results[0]) <= 60
    assert len(set(results[0].index.tolist()) & set(results[2].index.tolist())) < 25  # a draw of 60 of 400 shares 9
    labelled = find(None, request, "random+label top 1").index
    assert set(request.retain.y[labelled].tolist()) == set(request.forget.y.tolist())


def test_a_search_without_lengths_or_without_its_last_chunk_is_caught(monkeypatch):
    real = neighbours.F.normalize
    monkeypatch.setattr(neighbours.F, "normalize", lambda v, dim: v)
    with pytest.raises(AssertionError):
        finds_what_brute_force_finds(find)
    monkeypatch.setattr(neighbours.F, "normalize", real)
    with pytest.raises(AssertionError):
        finds_what_brute_force_finds(lambda m, t, near: find(m, replace(t, retain=t.retain[:-4]), near))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from(["top 3", "above 0.8", "calibrated 0.9"]), st.integers(1, 200))
def test_neither_order_nor_chunks_decide(seed, rule, chunk):
    request, g = asked(4, 25, 10, seed), generator(seed, "order")
    orders = [torch.randperm(len(s), generator=g) for s in (request.forget, request.retain, request.validation)]
    names = ("forget", "retain", "validation")
    other = replace(request, **{n: getattr(request, n)[o] for n, o in zip(names, orders)})
    before = neighbours.CHUNK
    for space in ("pixel", "pixel+label"):
        a = find(None, request, f"{space} {rule}")
        try:
            neighbours.CHUNK = chunk
            b = find(None, other, f"{space} {rule}")
        finally:
            neighbours.CHUNK = before
        back = orders[1][b.index]
        assert torch.equal(back.sort().values, a.index)
        assert torch.equal(b.similarity[back.argsort()], a.similarity)


def test_features_are_those_of_the_model(models, request_):
    vectors = [predict(models["original"], s.stored)[1].double() for s in (request_.forget, request_.retain)]
    table = torch.nn.functional.cosine_similarity(*torch.broadcast_tensors(vectors[0][:, None], vectors[1]), dim=2)
    result = find(models["original"], request_, "feature top 3")
    assert set(result.index.tolist()) == set(table.topk(3).indices.flatten().tolist())
    torch.testing.assert_close(result.similarity, table.amax(0)[result.index], atol=1e-8, rtol=0)
    assert not torch.equal(result.index, find(models["clean"], request_, "feature top 3").index)


def test_exact_duplicates_are_at_1_and_a_black_image_is_near_nothing():
    request = asked()
    black = torch.zeros(1, 1, 2, 2)
    request = replace(
        request, retain=Samples(torch.cat([request.retain.x, request.forget.x * 0.3, black]), torch.zeros(24))
    )
    result = find(None, request, "pixel above 1")  # darker, and so of the same direction
    assert result.index.tolist() == [20, 21, 22] and result.similarity.tolist() == [1.0] * 3
    assert find(None, request, "pixel above 0").similarity[-1] == 0
    assert 23 not in find(None, request, "pixel above 0.0001").index


def test_of_equals_the_first_is_nearest():
    same = Vectors(torch.ones(5, 1).double())
    assert nearest(Vectors(same.vectors[:1]), same, 3).tolist() == [[0, 1, 2]]


def test_a_label_that_nobody_has_has_no_neighbours():
    request = asked()
    alone = replace(
        request, forget=Samples(request.forget.x, torch.full((3,), 2)), retain=request.retain[request.retain.y != 2]
    )
    for rule in ("top 5", "above -1"):
        assert not len(find(None, alone, f"pixel+label {rule}"))
        assert len(find(None, alone, f"pixel {rule}"))


def test_a_calibration_lets_few_of_the_never_trained_through():
    """Targets that are like the validation samples: about one in twenty may have a neighbour at 0.95."""
    x = torch.randn(1300, 1, 4, 4, generator=generator(0, "plenty"))
    y = torch.zeros(1300, dtype=torch.int64)
    parts = [Samples(x[a:b], y[a:b]) for a, b in ((0, 400), (400, 800), (800, 1300))]
    table = parts[0].x.flatten(1), parts[1].x.flatten(1)
    request = Request(parts[0], parts[1], 1, validation=parts[2])
    result = find(None, request, "pixel calibrated 0.95")
    cos = torch.nn.functional.normalize(table[0]) @ torch.nn.functional.normalize(table[1]).T
    assert 0.01 < (cos.amax(1) >= result.similarity.min()).double().mean() < 0.1


@pytest.mark.parametrize(
    ("near", "error", "message"),
    [
        ("pixel top 21", BadValue, "top 21 of 20 retained samples: at most 20 are possible"),
        ("pixels top 3", UnknownName, "Did you mean 'pixel'"),
        ("pixel tip 3", UnknownName, "Did you mean 'top'"),
        ("pixel top 0", BadValue, "'top' takes a whole number from 1.*got 0"),
        ("pixel top 2.5", BadValue, "got 2.5"),
        ("pixel above 1.5", BadValue, "a cosine from -1 to 1"),
        ("pixel calibrated 95", BadValue, "a share from 0 to 1"),
        ("pixel top", BadValue, "a space, a rule, a number; got 'pixel top'"),
        ("pixel top ten", BadValue, "a space, a rule, a number"),
        ("pixel above nan", BadValue, "a space, a rule, a number"),
        ("pixel top 3 please", BadValue, "a space, a rule, a number"),
        ("", BadValue, "a space, a rule, a number"),
        ("pixel calibrated 0.9", BadValue, "this task has none: use 'top' or 'above'"),
    ],
)
def test_a_wrong_way_says_what_is_right(near, error, message):
    with pytest.raises(error, match=message):
        find(None, asked(), near)


def test_ways_are_read_as_they_are_written():
    assert parse("pixel+label above 0.9") == NeighbourSearch("pixel+label", "above", 0.9)
    assert parse("feature  top 1e1") == NeighbourSearch("feature", "top", 10.0)


def test_features_that_are_not_finite_are_no_neighbours(models, request_):
    with torch.no_grad():
        next(models["original"].parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="feature of a sample is not finite"):
        find(models["original"], request_, "feature top 3")


def test_a_retain_set_is_parted_in_order_and_never_emptied():
    retain = noise(6, "parted")
    close, rest = parted(retain, torch.tensor([4, 1]))
    assert torch.equal(close.x, retain.x[[1, 4]]) and torch.equal(rest.x, retain.x[[0, 2, 3, 5]])
    with pytest.raises(BadValue, match="all 6 retained samples were found.*smaller 'top'"):
        parted(retain, torch.arange(6))
    assert len(Neighbours(torch.arange(3), torch.ones(3))) == 3


# --- against the links ---


def test_precision_and_recall_by_hand():
    linked = torch.tensor([True, True, False, False, True])
    found = precision_recall(torch.tensor([0, 2]), linked)
    assert found == {
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
        "n_found": 2,
        "precision_of_chance": pytest.approx(0.6),
    }
    assert np.isnan(precision_recall(torch.tensor([], dtype=torch.int64), linked)["precision"])
    assert np.isnan(precision_recall(torch.tensor([0]), torch.zeros(5, dtype=torch.bool))["recall"])


def test_exact_duplicates_are_found_whole_and_alone_and_decoys_do_not_count():
    small = {"n_targets": 5, "train_size": 120, "recipe": {"epochs": 2}, "targets": "canary"}
    grid = config_grid(seeds=2, copies=[0, 4], perturbation="exact_duplicate", strength=0.0, **small)
    table = neighbour_recall(grid, ["pixel above 1", "feature+label top 4", "pixel top 100"]).set_index(
        ["copies", "neighbour_search"]
    )
    exact = table.loc[4, "pixel above 1"]
    assert exact.precision == exact.recall == 1 and exact.n_found == 20 and exact.n_seeds == 2
    assert exact.precision_of_chance == pytest.approx(20 / 115) and exact.isna().precision_low  # of two seeds
    assert table.loc[4, "feature+label top 4"].recall == 1
    assert table.loc[4, "pixel top 100"].precision < 0.3
    none = table.loc[0, "pixel above 1"]
    assert none.n_found == 0 and np.isnan(none.precision) and np.isnan(none.recall)
    with pytest.raises(UnknownName, match="Did you mean 'pixel'"):
        neighbour_recall(grid, ["pixl top 1"])


def test_the_control_takes_as_many_random_samples_of_the_same_labels():
    request = Request(noise(10, "forget", classes=4), noise(190, "retain", classes=4), 4)
    near, control, again = (find(None, request, f"pixel+label top 3{word}") for word in ("", " control", " control"))
    counts = [request.retain.y[found.index].bincount(minlength=4).tolist() for found in (near, control)]
    assert counts[0] == counts[1] and not torch.equal(near.index, control.index)
    assert torch.equal(control.index, again.index) and (control.index.diff() > 0).all()
    without_labels = find(None, request, "pixel top 3 control")
    assert len(without_labels) == len(find(None, request, "pixel top 3"))
