import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from conftest import RECIPE
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.models import Classifier, fresh
from unlearnkit.images.per_sample_gradients import per_sample
from unlearnkit.images.request import Request
from unlearnkit.images.train import Recipe
from unlearnkit.privacy_risk import rankers, ranking
from unlearnkit.privacy_risk import retraining_scores as trained_anew
from unlearnkit.privacy_risk import shadow_models as shadows
from unlearnkit.privacy_risk import subset_models as subsets
from unlearnkit.privacy_risk.output_scores import margins
from unlearnkit.privacy_risk.subset_models import SubsetOutputs, all_but_a_fold, halves
from unlearnkit.texts.tokens import Tokens

K = 8
ANSWERS = Tokens.of([[1]], [[2]])


@pytest.fixture(scope="session")
def mixed(task):
    """10 canaries, then 10 fillers, to be forgotten."""
    filler = task.of("filler")
    return Request(task.of("target").joined(filler[:10]), filler[10:].joined(task.of("similar")), 10, RECIPE)


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("ranking")


@pytest.fixture(autouse=True)
def _shared_cache(_own_folders, _one_cache, monkeypatch):
    """The same shadow models for all tests of this file."""
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(_one_cache))


def ranked(name, model, request, seed=0):
    options = {"n_models": K} if "shadows" in rankers[name].info["needs"] else {}
    return rankers[name](model, request, seed=seed, device="cpu", **options)


# --- all of them ---


@pytest.mark.parametrize("name", ranking("image"))
def test_contract(name, models, mixed):
    model, before, data = models["original"], copy.deepcopy(models["original"]), copy.deepcopy(mixed)
    state = torch.random.get_rng_state()
    value = ranked(name, model, mixed)
    assert value.shape == (20,) and value.dtype == torch.float64 and value.isfinite().all()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters()))
    assert all(p.grad is None for p in model.parameters()) and not model.training
    assert torch.equal(data.forget.stored, mixed.forget.stored) and torch.equal(data.retain.y, mixed.retain.y)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was used"
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    shuffled = dataclasses.replace(mixed, forget=mixed.forget[order])
    assert torch.allclose(ranked(name, model, shuffled), value[order], rtol=1e-4, atol=1e-6), (
        "values follow the samples"
    )
    part = Request(mixed.forget[:3], mixed.forget[3:].joined(mixed.retain), 10, RECIPE)
    assert torch.allclose(ranked(name, model, part), value[:3], rtol=1e-4, atol=1e-6), "what else is forgotten matters"
    assert rankers[name].info["source"] and rankers[name].summary


@pytest.mark.parametrize(
    "name", sorted({*ranking("image")} - {"confidence", "entropy", "lira_offline", "lira_ratio", "class_distance"})
)
def test_canaries_are_riskier_than_digits_with_their_own_label(name, models, mixed):
    value = ranked(name, models["original"], mixed)
    assert value[:10].mean() > value[10:].mean()


@pytest.mark.parametrize("name", ["lira_separation", "memorisation", "learning_event", "held_out_gap"])
def test_training_anew_takes_a_recipe_and_images(name, models, mixed):
    with pytest.raises(BadValue, match="recipe"):
        ranked(name, models["original"], dataclasses.replace(mixed, recipe=None))
    with pytest.raises(NotApplicable, match="label"):
        ranked(name, models["original"], dataclasses.replace(mixed, forget=ANSWERS, retain=ANSWERS))


# --- from one model ---


def test_loss_and_margin_are_one_ranking_and_label_free_ones_do_not_see_labels(models, mixed):
    loss, margin = (ranked(name, models["original"], mixed) for name in ("loss", "margin"))
    assert torch.equal(loss.argsort(), margin.argsort())
    expected = mixed.losses(models["original"], mixed.forget).double()
    assert torch.allclose(loss, expected, atol=1e-6)
    p = mixed.log_probs(models["original"], mixed.forget).double().exp()
    assert torch.allclose(ranked("confidence", models["original"], mixed), -p.amax(1).log(), atol=1e-6)
    expected = torch.distributions.Categorical(p).entropy()
    assert torch.allclose(ranked("entropy", models["original"], mixed), expected, atol=1e-5)
    relabelled = dataclasses.replace(mixed, forget=mixed.forget.relabelled((mixed.forget.y + 1) % 10))
    for name in ("confidence", "entropy"):
        assert torch.equal(ranked(name, models["original"], relabelled), ranked(name, models["original"], mixed))
    assert not torch.equal(ranked("loss", models["original"], relabelled), loss)


def test_margins_of_samples_without_classes_come_from_their_losses():
    losses = torch.tensor([0.1, 1.0, 3.0])

    class Texts:
        def __len__(self):
            return 3

        def __getitem__(self, rows):
            return self

        def to(self, device):
            return self

    class Task:
        domain = "text"

        def losses(self, model, batch):
            return losses

    p = (-losses.double()).exp()
    assert torch.allclose(margins(nn.Linear(1, 1), Task(), Texts(), "cpu"), (p / (1 - p)).log())


def test_gradient_norm_is_that_of_per_sample_gradients(models, mixed):
    (gradients,) = per_sample(models["original"], mixed.forget, chunk=20)
    expected = sum(g.flatten(1).square().sum(1) for g in gradients.values()).sqrt().double()
    assert torch.allclose(ranked("gradient_norm", models["original"], mixed), expected, rtol=1e-4)


def test_class_distance_by_hand():
    identity = nn.Linear(1, 1, bias=False)
    nn.init.ones_(identity.weight)
    net = Classifier(nn.Sequential(nn.Flatten(), identity), nn.Linear(1, 2)).eval()
    x = torch.tensor([0.0, 0.3, 0.9, 0.5]).view(4, 1, 1, 1)
    from data_builders.task import Samples

    forget, retain = Samples(x[:2], torch.tensor([0, 1])), Samples(x[2:], torch.tensor([0, 1]))
    value = ranked("class_distance", net, Request(forget, retain, 2))
    assert value.tolist() == pytest.approx([0.45, 0.1])  # means 0.45 and 0.4


def test_class_distance_needs_a_head(mixed):
    net = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    with pytest.raises(NotApplicable, match="class_distance.*no linear head"):
        ranked("class_distance", net, mixed)


# --- from models trained anew ---


def test_halves_are_balanced_and_so_are_pairs():
    inside = halves(6)(11, seed=3)
    assert inside.shape == (6, 11) and torch.equal(inside[::2], ~inside[1::2])
    assert (inside.sum(0) == 3).all() and inside.sum(1).tolist() == [5, 6] * 3
    assert not torch.equal(inside[0], inside[2]) and not torch.equal(inside, halves(6)(11, seed=4))
    for wrong in (2, 5):
        with pytest.raises(BadValue, match="even and at least 4"):
            halves(wrong)
    folds = all_but_a_fold(5)(12, seed=0)
    assert ((~folds).sum(0) == 1).all()
    with pytest.raises(BadValue, match="no 5 folds"):
        all_but_a_fold(5)(4, seed=0)


def test_models_are_trained_on_what_is_said(models, mixed):
    ensemble = shadows.ensemble(models["original"], mixed, K, "cpu")
    outputs = ensemble.outputs(mixed.forget.joined(mixed.retain), ensemble.inside)
    assert ensemble.inside.shape == (K, 250) and outputs.correct.shape == (K, 250)
    members, others = (outputs.correct[w].double().mean() for w in (ensemble.inside, ~ensemble.inside))
    assert members > 0.97 and others < members - 0.05
    canaries = outputs.of(samples=slice(10))
    assert canaries.correct[canaries.inside].double().mean() > 0.9


def test_the_same_samples_share_their_models(models, mixed, monkeypatch):
    ranked("lira_separation", models["original"], mixed)
    monkeypatch.setattr(subsets, "Progress", None)  # which training shows
    other = Request(mixed.retain[:7], mixed.retain[7:].joined(mixed.forget), 10, RECIPE)
    for name in ("lira_separation", "memorisation", "rmia", "lira_offline", "lira_ratio"):
        ranked(name, models["retrain"], other, seed=5)
    with pytest.raises(TypeError):
        ranked("lira_separation", models["original"], dataclasses.replace(other, retain=other.retain[1:]))


def test_the_cost_of_shadow_models_is_nobodys(models, mixed):
    odd = dataclasses.replace(mixed, retain=mixed.retain[1:], recipe=Recipe(epochs=1))
    with measure_cost() as cost:
        ranked("lira_separation", models["original"], odd)
    assert cost.steps == 0


def test_separation_and_z_score_by_hand():
    phi = torch.tensor([[4.0, 0.0], [6.0, 1.0], [0.0, 5.0], [2.0, 6.0]], dtype=torch.float64)
    inside = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]]).bool()
    outputs = SubsetOutputs(phi, phi > 3, inside)
    assert shadows.separation(outputs).tolist() == pytest.approx([4 / math.sqrt(2), 5 / math.sqrt((0.5 + 0.5) / 2)])
    assert shadows.z_score(outputs, torch.tensor([5.0, 0.5])).tolist() == pytest.approx([4 / math.sqrt(2), 0])
    assert shadows.left_out(outputs).tolist() == [1.0, 1.0]


def test_the_log_ratio_is_of_the_two_gaussians():
    """Of means 5 and 1, with variances 2 and 8."""
    phi = torch.tensor([[4.0], [6.0], [-1.0], [3.0]], dtype=torch.float64)
    outputs = SubsetOutputs(phi, phi > 3, torch.tensor([[1], [1], [0], [0]]).bool())

    def expected(x):
        return -((x - 5) ** 2) / 4 + (x - 1) ** 2 / 16 + math.log(8 / 2) / 2

    for x in (5.0, 1.0, 2.5):
        assert shadows.log_ratio(outputs, torch.tensor([x])).item() == pytest.approx(expected(x))
    beyond = shadows.log_ratio(outputs, torch.tensor([12.0])).item()
    assert beyond < 0 < shadows.z_score(outputs, torch.tensor([12.0])).item()  # farther out than any model with it


def test_pairwise_is_rmia_by_loops():
    g = torch.Generator().manual_seed(0)
    phi = torch.randn(6, 9, generator=g, dtype=torch.float64)
    inside = halves(6)(9, seed=1)
    p, gamma = phi.sigmoid(), 1.2
    score = torch.zeros(6, 9)
    for j in range(6):

        def ratio(x, j=j):
            parts = [[p[k, x] for k in range(6) if k != j and bool(inside[k, x]) == w] for w in (True, False)]
            return p[j, x] / (sum(sum(v) / len(v) for v in parts) / 2)

        for x in range(9):
            against = [ratio(z) for z in range(9) if not inside[j, z]]
            score[j, x] = sum(ratio(x) / z >= gamma for z in against) / len(against)
    expected = [score[inside[:, x], x].mean() - score[~inside[:, x], x].mean() for x in range(9)]
    scores = shadows.pairwise(SubsetOutputs(phi, phi > 0, inside), gamma)
    assert scores.tolist() == pytest.approx([v.item() for v in expected], abs=1e-6)


def test_nothing_is_found_where_membership_means_nothing():
    g = torch.Generator().manual_seed(0)
    phi = torch.randn(32, 400, generator=g, dtype=torch.float64)
    outputs = SubsetOutputs(phi, phi > 0, halves(32)(400, seed=0))
    for statistic in shadows.STATISTICS.values():
        value = statistic(outputs)
        assert abs(value.mean()) < 3 * value.std() / 20
    shifted = dataclasses.replace(outputs, phi=phi + 2 * outputs.inside)
    assert shadows.separation(shifted).mean() == pytest.approx(2, abs=0.15)


def test_a_sample_that_is_never_in_or_never_out_is_named():
    phi = torch.zeros(4, 3, dtype=torch.float64)
    for column, word in (([0, 0, 0, 0], "in 0 of 4"), ([1, 1, 1, 1], "out of 0 of 4"), ([1, 0, 0, 0], "in 1 of 4")):
        inside = torch.tensor([[1, 0, a] for a in column]).bool()
        inside[2:, 0], inside[:2, 1] = False, True
        outputs = SubsetOutputs(phi, phi > 0, inside)
        with pytest.raises(BadValue, match=f"sample 2 is {word} shadow models.*halves"):
            shadows.separation(outputs)
    assert shadows.left_out(outputs).shape == (3,)  # one is enough for a share


def test_presentations_are_those_of_the_samples(mixed):
    """A rate of next to nothing: all that is recorded is what the net says before training."""
    net = Classifier(nn.Sequential(nn.Flatten()), nn.Linear(64, 10))
    still = dataclasses.replace(mixed, recipe=Recipe(epochs=3, lr=1e-9, batch_size=32))
    correct = trained_anew.presentations(net, still, "cpu")
    assert correct.shape == (3, 20) and (correct == correct[0]).all()
    pool, place = subsets.pooled(still)
    from unlearnkit.core.compute import derive

    start = fresh(net, derive(0, "presentations", pool.digest()))
    right = start(mixed.forget.x).argmax(1) == mixed.forget.y
    assert torch.equal(correct[0], right) and torch.equal(pool[place[:20]].y, mixed.forget.y)


def test_events_by_hand(monkeypatch, models, mixed):
    rows = torch.tensor(
        [[0, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [1, 0, 0, 1, 1]]
    ).bool()  # (epochs, samples)
    monkeypatch.setattr(trained_anew, "presentations", lambda *a: rows)
    assert ranked("learning_event", models["original"], mixed).tolist() == [1, 0, 5, 0, 0]
    assert ranked("forgetting_events", models["original"], mixed).tolist() == [1, 1, 4, 1, 1]


def test_held_out_gap_reads_the_fold_that_did_not_see_the_sample(models, mixed):
    folds = subsets.trained_on(models["original"], mixed, all_but_a_fold(5), "5 folds", "cpu")
    outside = folds.outputs(mixed.forget, folds.inside[:, :20])
    loss = torch.nn.functional.softplus(-outside.phi)
    expected = torch.stack([loss[~outside.inside[:, i], i].squeeze() for i in range(20)])
    value = ranked("held_out_gap", models["original"], mixed)
    assert torch.allclose(value + ranked("loss", models["original"], mixed), expected)
