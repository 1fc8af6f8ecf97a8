"""Images read out of weights: closed forms, small exact cases, and nets that must be refused."""

import copy

import pandas as pd
import pytest
import torch
from sklearn.svm import SVC
from torch import nn

from data_builders.task import Samples
from unlearnkit import figures
from unlearnkit.analysis.reconstruction import (
    Search,
    find_candidates,
    for_people,
    images_of_difference,
    inputs_of_difference,
    reconstruct,
    reconstructions,
    runs,
    stationarity,
    stationary,
    summary,
)
from unlearnkit.analysis.reconstruction.layers import gradient_sum, gram, logits, smooth_relu, stacked
from unlearnkit.analysis.reconstruction.model import homogeneous
from unlearnkit.analysis.reconstruction.stationary import coefficients, margins
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import minimise
from unlearnkit.images.config import config_grid
from unlearnkit.images.heads import Ensemble
from unlearnkit.images.models import build, fresh
from unlearnkit.images.train import Recipe, fit
from unlearnkit.report.columns import meaning
from unlearnkit.results.publishing import MOST_COLUMNS
from unlearnkit.study import unlearned_models as unlearned

pytestmark = pytest.mark.slow

RECIPE = {"epochs": 600, "batch_size": 12, "lr": 0.5, "weight_decay": 1e-3}
QUICK = Search(steps=150)


def images(n: int, classes: int, seed: int = 0, side: int = 4) -> Samples:
    return Samples(
        torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed)), torch.arange(n) % classes
    )


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Module:
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return nn.Sequential(nn.Flatten(), layer)


@pytest.fixture(scope="module")
def trained():
    """A net trained to the end on 6 images of 3 classes, and these."""
    samples = images(6, 3)
    net = fresh(homogeneous((1, 4, 4), 3, (32,), 0.1), 1)
    return fit(net, samples, Recipe(epochs=1500, batch_size=6, lr=0.5, weight_decay=1e-3), seed=1), samples


# --- the mathematics ---


def test_the_smooth_relu_is_relu_whose_slope_is_a_sigmoid():
    z = torch.linspace(-2, 2, 41, requires_grad=True)
    assert torch.equal(smooth_relu(z, 3.0), z.relu())
    smooth_relu(z, 3.0).sum().backward()
    torch.testing.assert_close(z.grad, (3 * z.detach()).sigmoid())


@pytest.mark.parametrize("hidden", [(7,), (7, 5)])
def test_sums_of_gradients_are_those_of_autograd(hidden):
    nets = [fresh(homogeneous((1, 4, 4), 3, hidden, 0.5), seed).double() for seed in (1, 2)]
    samples, c = images(5, 3), torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = samples.x.double()
    layers = stacked(nets, torch.float64)
    both = x.flatten(1).expand(2, -1, -1)
    found, (products, weights) = gradient_sum(layers, both, c), gram(layers, both, c, layers)
    swapped = stacked(nets[::-1], torch.float64)  # to be explained by these gradients: the other net's weights
    (_, across) = gram(layers, both, c, swapped)
    for k, net in enumerate(nets):
        expected = torch.autograd.grad((net(x) * c[k]).sum(), list(net.parameters()))
        ours = [v[k] for layer in found for v in (layer.W, layer.b) if v is not None]
        for a, b in zip(ours, expected, strict=True):
            torch.testing.assert_close(a, b)
        rows = [torch.autograd.grad((net(x[i : i + 1]) * c[k, i]).sum(), list(net.parameters())) for i in range(5)]
        each = torch.stack([torch.cat([v.flatten() for v in row]) for row in rows])
        theta, others = (torch.cat([p.detach().flatten() for p in n.parameters()]) for n in (net, nets[1 - k]))
        torch.testing.assert_close(products[k], each @ each.T)
        torch.testing.assert_close(weights[k], each @ theta)
        torch.testing.assert_close(across[k], each @ others)


def test_the_length_of_a_smooth_sum_is_that_of_its_products():
    layers = stacked([homogeneous((1, 4, 4), 3, (7, 5), 0.5)], torch.float64)
    g = torch.Generator().manual_seed(0)
    x, c = (
        torch.randn(1, 6, 16, dtype=torch.float64, generator=g),
        torch.randn(1, 6, 3, dtype=torch.float64, generator=g),
    )
    total = gradient_sum(layers, x, c, alpha=3.0)
    products, weights = gram(layers, x, c, layers, alpha=3.0)
    torch.testing.assert_close(products.sum((1, 2)), sum(layer.dot(layer) for layer in total))
    torch.testing.assert_close(weights.sum(1), sum(a.dot(b) for a, b in zip(layers, total, strict=True)))


def test_coefficients_make_margins_of_logits():
    z, y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    multipliers = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    expected = sum(multipliers[i, j] * (z[i, y[i]] - z[i, j]) for i in range(4) for j in range(3) if j != y[i])
    assert (coefficients(multipliers, y) * z).sum().item() == pytest.approx(expected.item(), abs=1e-5)
    assert margins(z, y)[0].item() == pytest.approx((z[0, 0] - max(z[0, 1], z[0, 2])).item())
    assert margins(z[:, :1], torch.tensor([1, 0, 1, 0])).tolist() == pytest.approx(
        (z[:, 0] * torch.tensor([1, -1, 1, -1])).tolist()
    )


def test_a_sum_of_gradients_has_residual_0_and_its_multipliers():
    samples = images(5, 2)
    sign, by = 2 * samples.y - 1, torch.tensor([0.5, 1.0, 2.0, 0.0, 3.0])
    found = stationarity(linear((by * sign) @ samples.x.flatten(1)[None]), samples)
    assert found.residual < 1e-10
    assert found.multipliers.tolist() == pytest.approx(by.tolist(), abs=1e-4)


def test_a_hard_margin_machine_is_a_kkt_point():
    samples = images(12, 2, seed=3)
    x = samples.x.flatten(1)
    machine = SVC(kernel="linear", C=1e6, tol=1e-8).fit(x.double().numpy(), samples.y.numpy())
    weight = torch.tensor(machine.coef_, dtype=torch.float32)
    found = stationarity(linear(weight), samples)
    dual = torch.zeros(12)
    dual[machine.support_.tolist()] = torch.tensor(machine.dual_coef_[0], dtype=torch.float32).abs()
    assert found.residual < 1e-6
    torch.testing.assert_close(found.multipliers, dual, atol=1e-2 * dual.max().item(), rtol=0)
    assert stationarity(linear(weight), images(12, 2, seed=4)).residual > 0.01


def test_the_sign_of_the_margin_matters(monkeypatch):
    samples = images(5, 2)
    net = linear(((2 * samples.y - 1.0) @ samples.x.flatten(1))[None])
    assert stationarity(net, samples).residual < 1e-10
    assert stationarity(net, samples.relabelled(1 - samples.y)).residual > 0.3
    monkeypatch.setattr(stationary, "coefficients", lambda multipliers, y: -coefficients(multipliers, y))  # the mutant
    assert stationarity(net, samples).residual > 0.3


def test_one_output_and_two_classes_agree():
    samples = images(6, 2)
    one = fresh(homogeneous((1, 4, 4), 1, (8,), 0.5), 1)
    two = homogeneous((1, 4, 4), 2, (8,), 0.5)
    two.body.load_state_dict(one.body.state_dict())
    u = one.head.weight.data
    two.head.weight.data.copy_(torch.cat([-u, u]) / 2**0.5)  # as long as u, and margins sqrt(2) times as wide
    a, b = stationarity(one, samples), stationarity(two, samples)
    assert 0.01 < a.residual == pytest.approx(b.residual, abs=1e-6)
    torch.testing.assert_close(a.multipliers, b.multipliers * 2**0.5, atol=1e-4, rtol=1e-3)
    assert stationarity(two, samples, "best").residual == pytest.approx(b.residual, abs=1e-9)


def test_the_residual_is_of_a_set_of_samples(trained):
    net, samples = trained
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    whole, shuffled = stationarity(net, samples), stationarity(net, samples[order])
    assert whole.residual == pytest.approx(shuffled.residual, rel=1e-6)
    torch.testing.assert_close(whole.multipliers[order], shuffled.multipliers, rtol=1e-3, atol=1e-4)
    assert stationarity(net, samples[order[:4]]).residual > whole.residual  # fewer explain less
    assert stationarity(net, samples, "best").residual > whole.residual
    assert stationarity(net, images(6, 3, seed=9)).residual > 0.2 > whole.residual


# --- the search ---


def test_a_single_image_is_read_exactly():
    samples = images(1, 1)
    x = samples.x.flatten(1)
    net = linear(torch.cat([2 * x, -2 * x]), torch.tensor([2.0, -2.0]))  # label 0: lambda (f_0 - f_1)
    (found,) = find_candidates(stacked([net]), 1, Search(steps=600), [0])
    assert found.residual < 1e-4 and found.multipliers.item() == pytest.approx(2, rel=0.02)
    assert (found.x - x).abs().max() < 0.05


def test_one_output_is_searched_for_both_labels():
    samples = images(2, 2)
    x = samples.x.flatten(1)
    net = linear(2 * (x[1:] - x[:1]), torch.zeros(1))
    (found,) = find_candidates(stacked([net]), 2, Search(steps=600), [0])
    assert found.y.tolist() == [0, 1] and found.residual < 1e-3
    torch.testing.assert_close(found.multipliers[1] * found.x[1] - found.multipliers[0] * found.x[0],
                               net[1].weight[0].detach(), atol=0.05, rtol=0)  # fmt: skip


def test_training_images_come_closer_than_others(trained):
    net, samples = trained
    found = reconstruct(net, samples, seed=0, search=Search(steps=600))
    at_random = torch.rand(12, 16, generator=torch.Generator().manual_seed(5))
    assert found.x.shape == (12, 16) and found.residual < 0.02 and found.multipliers.min() >= 0
    ours = runs.best(samples, found.x)[0].mean()
    assert ours > runs.best(samples, at_random)[0].mean() + 0.1
    assert ours > runs.best(images(6, 3, seed=9), found.x)[0].mean() + 0.05


def test_the_same_seed_gives_the_same_numbers_beside_any_others(trained):
    net, _ = trained
    a, b = (find_candidates(stacked([net]), 8, QUICK, [3])[0] for _ in range(2))
    assert torch.equal(a.x, b.x) and a.residual == b.residual
    beside = find_candidates(stacked([net] * 3), 8, QUICK, [3, 4, 5])
    torch.testing.assert_close(beside[0].x, a.x)
    assert not torch.equal(beside[1].x, a.x)


def test_what_was_taken_away_can_be_asked_for_too(trained):
    net, samples = trained
    gone = samples[:1]
    after = minimise(net, lambda n: (-nn.functional.cross_entropy(n(gone.x), gone.y) for _ in range(3)), lr=0.1)
    moved = [a - b for a, b in zip(stacked([net]), stacked([after]))]
    assert stationarity(net, gone, explain=moved).residual < 0.05
    assert stationarity(net, samples[1:2], explain=moved).residual > 0.2
    (found,) = find_candidates(stacked([net]), 3, Search(steps=600), [0], explain=moved)
    assert runs.best(gone, found.x)[0] > runs.best(samples[3:4], found.x)[0]


def test_clean_is_held_to_what_it_was_trained_on_itself(trained):
    net, samples = trained
    wrong = samples.relabelled((samples.y + 1) % 3)
    known, info = stationary.known_samples(net, samples[:3], samples, images(2, 3, seed=9), samples[3:])
    assert info["kkt"] == pytest.approx(stationarity(net, samples).residual, abs=1e-4)
    assert info["kkt"] < stationarity(net, samples[:3]).residual / 2 and info["violated"] == 0
    assert known["known"].shape == known["correct"].shape == (3 + 2 + 3,) and known["correct"][[0, 1, 2, 5, 6, 7]].all()
    assert stationary.known_samples(net, samples, wrong, samples[:1], samples[:0])[1]["violated"] == 1


def test_a_net_that_has_not_converged_is_refused(trained):
    net, samples = trained
    early = fit(fresh(net, 1), samples, Recipe(epochs=10, batch_size=6, lr=0.05), seed=1)
    with pytest.raises(
        BadValue, match=r"not converged on these samples: training loss [0-9.]+ .* KKT residual [0-9.]+"
    ):
        reconstruct(early, samples, seed=0)
    assert reconstruct(early, samples, seed=0, search=Search(steps=2), allow_unconverged=True).residual > 0
    with pytest.raises(BadValue, match="not converged"):  # fitted, but its weights are no sum of gradients
        shaken = copy.deepcopy(net)
        shaken.head.weight.data += 0.5 * torch.randn(
            shaken.head.weight.shape, generator=torch.Generator().manual_seed(0)
        )
        reconstruct(shaken, samples, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build("small_cnn", (1, 8, 8), 10, 0),
            "has a Conv2d as layer 1: reconstruction supports nets of linear",
        ),
        (lambda: build("mlp", (1, 8, 8), 10, 0), "not homogeneous.*Use margin_mlp"),
        (lambda: Ensemble([build("margin_mlp", (1, 8, 8), 10, 0)]), "an ensemble of 1 nets"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU()), "does not end on a linear layer"),
        (lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2)), "has a Tanh as layer 2"),
    ],
)
def test_other_architectures_are_refused(make, message):
    with pytest.raises(BadValue, match=message):
        stationarity(make(), images(2, 2, side=8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: Search(steps=0), "steps must be above 0"),
        (lambda net: Search(alpha="3"), "'alpha' must be float"),
        (lambda net: Search(pairs="some"), "'pairs' must be"),
        (lambda net: find_candidates(stacked([net]), 0, QUICK, [0]), "at least one candidate"),
        (
            lambda net: find_candidates(stacked([net]), 2, QUICK, [0], explain=[a - a for a in stacked([net])]),
            "nothing to explain",
        ),
        (lambda net: stationarity(net, images(0, 1)), "there are none"),
        (lambda net: stacked([net, homogeneous((1, 4, 4), 3, (5,), 0.1)]), "of several shapes"),
        (lambda net: images_of_difference(net, net), "did not move"),
        (lambda net: inputs_of_difference(nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)), "has no bias"),
        (lambda net: inputs_of_difference(nn.Linear(2, 3), nn.Linear(3, 3)), "layers of two shapes"),
    ],
)
def test_bad_input_is_named(trained, call, message):
    with pytest.raises(BadValue, match=message):
        call(trained[0])


# --- differences ---


@pytest.mark.parametrize("steps", [1, 7])
def test_the_only_sample_that_moved_a_linear_model_is_read_exactly(steps):
    gone, before = images(1, 1), fresh(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 0)
    after = minimise(before, lambda n: (-nn.functional.cross_entropy(n(gone.x), gone.y) for _ in range(steps)), lr=0.1)
    found, weights = images_of_difference(before, after)
    assert found.shape == (3, 16) and weights.min() > 0
    torch.testing.assert_close(found, gone.x.flatten(1).expand(3, -1), atol=1e-4, rtol=1e-4)


def test_of_several_samples_mixtures_are_read():
    gone, before = images(2, 2), fresh(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 0)
    after = minimise(before, lambda n: iter([nn.functional.cross_entropy(n(gone.x), gone.y)]), lr=0.1)
    found, _ = images_of_difference(before, after)
    x = gone.x.flatten(1)
    shares = torch.linalg.lstsq(x.T, found.T).solution  # (2, rows)
    torch.testing.assert_close(shares.T @ x, found, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(shares.sum(0), torch.ones(len(found)), atol=1e-3, rtol=1e-3)
    assert (found[:, None] - x).abs().amax(2).min() > 0.05  # and none of them is either


# --- the models, and the whole way ---


def test_margin_models_are_homogeneous_and_drawn_anew_whole():
    for name in ("margin_mlp", "margin_mlp_1000"):
        net = build(name, (1, 8, 8), 10, seed=1)
        degree = len(stacked([net]))
        scaled = copy.deepcopy(net)
        for parameter in scaled.parameters():
            parameter.data *= 2
        x = images(3, 3, side=8).x
        torch.testing.assert_close(scaled(x), 2**degree * net(x), rtol=1e-4, atol=1e-9)
        torch.testing.assert_close(logits(stacked([net]), x.flatten(1)[None])[0], net(x))
        other = build(name, (1, 8, 8), 10, seed=2)
        assert not any(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_the_whole_way_is_stored_and_shown(monkeypatch):
    common = {"train_size": 12, "n_targets": 2, "model": "margin_mlp", "recipe": RECIPE}
    grid = config_grid(seeds=2, copies=[0, 2], **common)
    ask = {"methods": ["gradient_ascent"], "options": {"gradient_ascent": {"lr": 0.1}}, "tuned": False, "search": QUICK}
    data = reconstructions(grid, **ask)
    per = data.groupby(["copies", "attack", "method"], sort=False).size()
    assert set(per) == {2 * 2 * 2}  # seeds x (targets and decoys)
    assert per.xs(0).index.tolist() == [("kkt", "original"), ("kkt", "gradient_ascent"), ("difference", "gradient_ascent"),
                                        ("kkt", "retrain"), ("difference", "retrain")]  # fmt: skip
    assert ("kkt", "clean") in per.xs(2).index and data.notna().all().all()
    assert data[["ssim", "reconstruction_residual", "kkt_residual"]].stack().between(-1, 1 + 1e-6).all()
    kkt = (
        data[(data.attack == "kkt") & (data.copies == 0) & (data.group == "target")]
        .groupby("method")
        .kkt_multiplier.mean()
    )
    assert kkt["original"] > 0.5 > kkt["retrain"]  # only one was trained on the targets
    table = summary(data)
    assert set(table.n_seeds) == {2} and set(table.n_targets) == {4}
    assert table.ssim_minus_decoy.values == pytest.approx((table.ssim - table.ssim_decoy).values)
    figure, shown = figures.plot_reconstructions(data, grid, n_targets=1)
    assert shown is data and len(figure.axes) == 2 * (1 + 4 + 2)
    monkeypatch.setattr(runs, "stacked", None)  # which every search begins with
    monkeypatch.setattr(unlearned, "_warm_up", None)
    assert reconstructions(grid, **ask).equals(data)


def rows_of(ssim: dict[tuple[int, str, str], list[list[float]]]) -> pd.DataFrame:
    """A table of `reconstructions` with these SSIM: {(copies, method, group): seed by seed}."""
    rest = dict.fromkeys(("train_size", "targets", "strength", "similarity_level"), 1)
    rest |= {"perturbation": "block_mask", "architecture": "margin_mlp"}
    rest |= dict.fromkeys(("reconstruction_residual", "kkt_residual", "training_loss", "margins_violated"), 0.01)
    rest |= {"dataset": "d", "attack": "kkt", "converged": True, "ssim_nearest_retained": 0.5, "kkt_multiplier": 1.0}
    return pd.DataFrame(
        rest
        | {"copies": copies, "method": method, "group": group, "seed": seed, "sample": i, "ssim": v, "correct": True}
        for (copies, method, group), seeds in ssim.items()
        for seed, values in enumerate(seeds)
        for i, v in enumerate(values)
    )


def test_intervals_are_over_seeds_and_targets_and_clean_is_the_floor():
    same = [[0.2, 0.2], [0.2, 0.2]]
    table = summary(
        rows_of(
            {(0, "original", "target"): [[0.9, 0.5], [0.7, 0.7]], (0, "original", "decoy"): same}
            | {(0, "retrain", group): same for group in ("target", "decoy")}
            | {(5, "retrain", "target"): [[0.6, 0.6], [0.6, 0.6]], (5, "retrain", "decoy"): same}
            | {(5, "clean", "target"): [[0.3, 0.3], [0.3, 0.3]], (5, "clean", "decoy"): same}
        )
    ).set_index(["copies", "method"])
    first = table.loc[(0, "original")]
    assert first.ssim_minus_decoy == pytest.approx(0.5) == first.over_clean  # without near-duplicates over retrain
    assert 0.3 <= first.ssim_minus_decoy_low < 0.5 < first.ssim_minus_decoy_high <= 0.7  # and never outside the values
    assert table.loc[(5, "retrain"), ["over_clean", "over_clean_low", "over_clean_high"]].tolist() == pytest.approx(
        [0.3] * 3
    )
    assert pd.isna(table.loc[(0, "retrain")].over_clean) and pd.isna(table.loc[(5, "clean")].over_clean)


def test_people_read_few_columns_and_why_there_is_no_number():
    same = [[0.2, 0.2]] * 2
    groups = [(0, method, group) for method in ("original", "retrain") for group in ("target", "decoy")]
    table = summary(rows_of(dict.fromkeys(groups, same)))
    shown = for_people(table)
    assert len(shown) == len(table) == 2 and len(shown.columns) <= MOST_COLUMNS
    assert shown["SSIM"].tolist() == ["0.200 [0.200, 0.200]"] * 2 and shown["KKT residual"][0] == "0.010 (no interval)"
    assert shown["above clean"].tolist() == ["0.000 [0.000, 0.000]", "is the floor"]
    assert shown["n"][0] == "2 seeds (2 converged), 4 targets" and all(map(meaning, shown))


def test_one_seed_has_an_interval_over_its_targets_and_none_of_its_one_model():
    (row,) = summary(
        rows_of({(0, "retrain", group): [values] for group, values in (("target", [0.4, 0.8]), ("decoy", [0.1, 0.3]))})
    ).to_dict("records")
    assert (row["ssim_low"], row["ssim"], row["ssim_high"]) == pytest.approx((0.4, 0.6, 0.8))
    assert (
        row["kkt_residual"] == 0.01 and row["kkt_residual_low"] is None and (row["n_seeds"], row["n_targets"]) == (1, 2)
    )


def test_large_nets_are_searched_one_by_one_and_stored_as_they_are_done():
    small, large = (homogeneous((1, 8, 8), 10, (width,), 0.1) for width in (8, 2000))
    assert [len(part) for part in runs._stacks(list(range(20)), small)] == [16, 4]
    assert [len(part) for part in runs._stacks(list(range(3)), large)] == [1, 1, 1]


def test_cells_of_another_architecture_are_refused():
    (config,) = config_grid(seeds=1, train_size=20, n_targets=2, copies=0, recipe={"epochs": 1})
    with pytest.raises(BadValue, match="has a Conv2d as layer 1"):
        reconstructions([config], [])
