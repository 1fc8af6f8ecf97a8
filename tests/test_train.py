import copy
import time

import pytest
import torch

from conftest import RECIPE
from data_builders.task import Samples
from unlearnkit.core.compute import measure_cost, resolve_device, threads, uncounted
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.optimise import lone_values, minimise, watched
from unlearnkit.images.models import build
from unlearnkit.images.request import Request
from unlearnkit.images.train import Recipe, fit, flip_shift
from unlearnkit.images.train_many import fit_many
from unlearnkit.methods.contracts import same


def test_same_seed_same_model_and_the_input_is_left_alone(task, models):
    net, data = models["initial"], task.training_set("original")
    with threads(1):
        a, b, c = (fit(net, data, RECIPE, seed=s) for s in (5, 5, 6))
    assert same(a, b)
    assert not same(a, c)
    assert same(net, build("small_cnn", (1, 8, 8), 10, seed=1))


@pytest.mark.parametrize("name", ["small_cnn", "mlp"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_many_at_once_are_the_same_as_one_by_one(raw, name, k):
    recipe = Recipe(epochs=2, batch_size=32)
    data = [Samples(raw.x[100 * i : 100 * i + 90], raw.y[100 * i : 100 * i + 90]) for i in range(k)]
    nets = [build(name, (1, 8, 8), 10, seed=i) for i in range(k)]
    together = fit_many(nets, data, recipe, seeds=range(k))
    for i in range(k):
        alone = fit(nets[i], data[i], recipe, seed=i)
        for a, b in zip(together[i].parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_a_model_does_not_depend_on_its_companions(raw):
    recipe = Recipe(epochs=2, batch_size=32)
    data = [Samples(raw.x[i : i + 90], raw.y[i : i + 90]) for i in range(11)]
    nets = [build("small_cnn", (1, 8, 8), 10, seed=i) for i in range(11)]
    together = fit_many(nets, data, recipe, seeds=range(11))
    (alone,) = fit_many(nets[6:7], data[6:7], recipe, seeds=[6])
    assert same(together[6], alone)


def test_unequal_sizes_and_large_images_are_trained_too():
    g = torch.Generator().manual_seed(0)
    data = [Samples(torch.rand(n, 1, 20, 20, generator=g), torch.randint(3, (n,), generator=g)) for n in (40, 40, 50)]
    nets = [build("small_cnn", (1, 20, 20), 3, seed=i) for i in range(3)]
    seen = []
    trained = fit_many(nets, data, Recipe(epochs=1), seeds=range(3), done=lambda i, model: seen.append(i))
    assert sorted(seen) == [0, 1, 2]
    assert not any(same(a, b) for a, b in zip(nets, trained))


def test_the_schedule_ends_with_the_last_step():
    recipe = Recipe(epochs=3, batch_size=32, lr=0.1)
    weight = torch.nn.Parameter(torch.zeros(1))
    sgd, schedule = recipe.optimiser([weight], 70)
    rates = []
    for _ in range(recipe.steps(70)):
        rates.append(sgd.param_groups[0]["lr"])
        weight.grad = torch.zeros(1)
        sgd.step()
        schedule.step()
    assert recipe.steps(70) == len(rates) == 9
    assert max(rates) == pytest.approx(0.1, rel=0.2)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("many", [False, True])
def test_a_diverging_run_says_when(task, models, many):
    recipe, data = Recipe(epochs=2, lr=1e30), task.training_set("original")
    with pytest.raises(NonFiniteLoss, match=r"from step \d+ of epoch 1 of 2 on. Nothing was stored"):
        if many:
            fit_many([models["initial"]] * 2, [data] * 2, recipe, seeds=[0, 1])
        else:
            fit(models["initial"], data, recipe, seed=0)


def test_unlearning_that_diverges_says_when(models, request_):
    def losses(net):
        for _ in range(5):
            yield request_.losses(net, request_.retain[:8]).mean() * float("nan")

    with pytest.raises(NonFiniteLoss, match="from step 1 of the 5 of unlearning"):
        minimise(models["original"], losses, lr=0.1)


def test_bad_recipes_and_empty_sets_are_named(models, task):
    with pytest.raises(BadValue, match="epochs must be above 0"):
        Recipe(epochs=0)
    with pytest.raises(BadValue, match="nothing to train on"):
        fit(models["initial"], task.training_set("original")[:0], RECIPE, seed=0)


def test_steps_are_counted_in_torch(models, request_):
    with measure_cost() as cost:
        minimise(
            models["original"], lambda net: (request_.losses(net, b).mean() for b in [request_.forget] * 3), lr=0.0
        )
    assert cost.steps == 3 and cost.seconds > 0 and cost.peak_mib > 10


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(BadValue, match="unknown device 'gpu'"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        assert resolve_device("auto").type == "cpu"
        with pytest.raises(BadValue, match="no CUDA GPU"):
            resolve_device("cuda")


def test_images_are_moved_and_mirrored_but_not_changed_otherwise():
    x = torch.rand(200, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    moved = flip_shift(x, 3, "a")
    assert torch.equal(moved, flip_shift(x, 3, "a")) and not torch.equal(moved, flip_shift(x, 3, "b"))
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    places = set()
    for image, wide in zip(moved, padded):
        found = [
            (mirror, i, j)
            for mirror, source in ((False, wide), (True, wide.flip(2)))
            for i in range(5)
            for j in range(5)
            if torch.equal(image, source[:, i : i + 6, j : j + 6])
        ]
        assert found
        places.add(found[0])
    assert len(places) > 40  # of 2 x 25


def test_a_recipe_that_makes_no_sense_is_named():
    with pytest.raises(BadValue, match="'augment' must be"):
        Recipe(augment="flip")
    with pytest.raises(BadValue, match="epochs must be above 0"):
        Recipe(epochs=0)


def test_a_net_with_running_statistics_is_trained_alone_and_stored_whole(raw):
    data = Samples(raw.x[:60].repeat_interleave(2, 2).repeat_interleave(2, 3), raw.y[:60])  # 16x16
    net = build("resnet9", (1, 16, 16), 10, 0)
    recipe = Recipe(epochs=2, batch_size=20, augment="flip_shift", smoothing=0.1, precision="bf16")
    (many,) = fit_many([net], [data], recipe, seeds=[5])
    assert same(many, fit(net, data, recipe, seed=5))
    moved = [not torch.equal(a, b) for a, b in zip(many.state_dict().values(), net.state_dict().values(), strict=True)]
    assert all(moved)


@pytest.mark.parametrize("steps", range(1, 12))
def test_however_few_steps_there_are_the_schedule_fits_them(steps):
    data = Samples(torch.rand(32, 1, 8, 8), torch.arange(32) % 10)
    net = build("mlp", (1, 8, 8), 10, seed=0)
    assert not same(fit(net, data, Recipe(epochs=steps, batch_size=32), seed=0), net)


def test_a_last_batch_of_one_sample_whose_maps_are_points():
    x, y = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    net, recipe = build("resnet9", (1, 16, 16), 10, 0), Recipe(epochs=2, batch_size=4, lr=0.01)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        copy.deepcopy(net).train()(x[:1])
    trained = fit(net, Samples(x, y), recipe, seed=0)
    assert not same(trained, net) and all(p.isfinite().all() for p in trained.state_dict().values())
    norms = [m for m in trained.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in norms)
    points, wide = norms[-1], norms[0]  # 1x1 and 15x15 maps
    assert wide.num_batches_tracked == 4 and points.num_batches_tracked == 2
    one = Request(Samples(x[:1], y[:1]), Samples(x[1:], y[1:]), 10)
    after = minimise(trained, lambda net: iter([one.losses(net, one.forget).mean()]), lr=0.1)
    assert not same(after, trained)


def test_batch_norm_is_otherwise_as_torch_has_it():
    net, x = build("resnet9", (1, 20, 20), 10, 0).train(), torch.rand(4, 1, 20, 20)
    plain = copy.deepcopy(net)
    with lone_values(net):
        assert torch.equal(net(x), plain(x))
    assert same(net, plain)


def test_work_that_is_not_counted_is_taken_off_every_measurement_around_it():
    def steps(n):
        sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        for _ in range(n):
            sgd.step()

    steps(1)  # torch loads much at its first
    with measure_cost() as outer:
        steps(1)
        with measure_cost() as inner:
            steps(2)
            with uncounted():
                steps(4)
                time.sleep(0.2)
        steps(8)
    assert (outer.steps, inner.steps) == (11, 2)
    assert inner.seconds < 0.2 > outer.seconds > 0


def test_a_new_phase_starts_without_momentum(request_, models):
    """Two phases of one step each are two runs of one step."""

    def loss(net):
        return request_.losses(net, request_.forget).mean()

    def phases(net):
        yield loss(net)
        yield None
        yield loss(net)

    parts = minimise(
        minimise(models["original"], lambda net: iter([loss(net)]), lr=0.1), lambda n: iter([loss(n)]), lr=0.1
    )
    assert same(minimise(models["original"], phases, lr=0.1), parts)
    on = minimise(models["original"], lambda net: (loss(net) for _ in range(2)), lr=0.1)
    assert not same(on, parts)


def test_a_watched_run_is_seen_after_each_step_and_ends_the_same(request_, models):
    seen = []
    batches = lambda net: (request_.losses(net, b).mean() for b in request_.retain.batches(64, 0))  # noqa: E731
    with watched(lambda net: seen.append((net.training, net.head.bias.detach().clone()))):
        with watched(lambda net: None):  # an inner block alone
            minimise(models["original"], batches, lr=0.1)
        assert not seen
        after = minimise(models["original"], batches, lr=0.1)
    assert len(seen) == 4 and all(training for training, _ in seen) and torch.equal(seen[-1][1], after.head.bias)
    assert same(minimise(models["original"], batches, lr=0.1), after) and len(seen) == 4
