from typing import get_args

import pytest
import torch

import mutants
from conftest import RECIPE
from contracts import CONTRACTS, everything_is_drawn_anew
from unlearnkit.compute import measured
from unlearnkit.divergence import kl
from unlearnkit.errors import BadValue, NonFiniteLoss, UnknownName
from unlearnkit.methods import methods
from unlearnkit.methods.random_label import draw_labels
from unlearnkit.methods.scrub import scrub
from unlearnkit.task import Request


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", sorted(methods))
def test_contract(name, contract, models, request_):
    contract(methods[name], models["original"], request_)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
def test_contract_fails_on_its_mutant(contract, models, request_):
    with pytest.raises((AssertionError, NonFiniteLoss)):
        contract(mutants.BY_CONTRACT[contract.__name__], models["original"], request_)


@pytest.mark.parametrize("name", sorted(methods))
def test_every_method_says_where_it_comes_from(name):
    assert methods[name].info["source"] and methods[name].summary
    for option in methods[name].options().values():
        said = [extra for extra in get_args(option.annotation)[1:] if isinstance(extra, str)]
        assert option.default is not option.empty and said, f"{option.name}: no default, or no source of it"


def test_retrain_inherits_nothing(models, request_):
    everything_is_drawn_anew(
        methods["retrain"](models["original"], request_, seed=9), models["initial"], models["original"]
    )
    with pytest.raises(AssertionError, match="inherited|points"):
        broken = mutants.retrains_last_layer(models["original"], request_, seed=9)
        everything_is_drawn_anew(broken, models["initial"], models["original"])


def test_the_references_inherit_nothing_from_the_original(raw, task):
    from unlearnkit.models import build
    from unlearnkit.train import fit

    a, b = (build("small_cnn", (1, 8, 8), 10, seed=s) for s in (1, 2))
    original = fit(a, task.training_set("original"), RECIPE, seed=1)
    for reference in ("retrain", "clean"):
        everything_is_drawn_anew(fit(b, task.training_set(reference), RECIPE, seed=2), a, original)


def test_scrub_takes_one_step_per_batch_and_no_max_pass_too_many(models, request_):
    batches = -(-len(request_.retain) // 64)
    for max_epochs in (0, 1, 2):
        with measured() as cost:
            scrub(models["original"], request_, seed=0, epochs=3, max_epochs=max_epochs, batch_size=64)
        assert cost.steps == 3 * batches + max_epochs  # the forget set is one batch


def test_scrub_with_nothing_to_maximise_stays_at_the_teacher(models, request_):
    """KL(teacher || student) and its gradient are 0 at the start, so only the loss on R moves the student."""
    still = scrub(models["original"], request_, seed=0, epochs=1, max_epochs=0, gamma=0.0, alpha=1.0, lr=0.01)
    for a, b in zip(still.parameters(), models["original"].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_scrub_departs_from_its_teacher_on_the_forget_set(models, request_):
    def distance(model):
        with torch.no_grad():
            parts = [request_.log_probs(m, request_.forget) for m in (models["original"], model)]
        return kl(*parts).mean()

    options = {"seed": 0, "epochs": 3, "lr": 0.01, "batch_size": 5, "alpha": 0.1, "gamma": 0.1}  # a weak teacher on R
    stays, goes = (scrub(models["original"], request_, max_epochs=m, **options) for m in (0, 3))
    assert distance(goes) > 1.5 * distance(stays)


def test_gradient_ascent_and_neggrad_raise_the_forget_loss_and_finetune_lowers_the_retain_loss(models, request_):
    def loss(model, part):
        with torch.no_grad():
            return request_.losses(model, part).mean().item()

    original = models["original"]
    for name in ("gradient_ascent", "neggrad_plus"):
        after = methods[name](original, request_, seed=0, lr=0.01, epochs=2)
        assert loss(after, request_.forget) > loss(original, request_.forget)
    after = methods["finetune"](original, request_, seed=0)
    assert loss(after, request_.retain) < loss(original, request_.retain)


def test_neggrad_with_all_weight_on_retain_is_finetuning(models, request_):
    a = methods["neggrad_plus"](models["original"], request_, seed=0, retain_weight=1.0, epochs=1)
    b = methods["finetune"](models["original"], request_, seed=0, epochs=1)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)
    with pytest.raises(BadValue, match="retain_weight is a share"):
        methods["neggrad_plus"](models["original"], request_, seed=0, retain_weight=1.5)


@pytest.mark.parametrize("true_label", [True, False])
def test_random_labels_are_uniform_over_what_each_variant_allows(true_label):
    y = torch.full((20_000,), 3)
    counts = torch.bincount(draw_labels(y, 10, seed=0, epoch=0, true_label=true_label), minlength=10)
    allowed = torch.ones(10, dtype=torch.bool)
    allowed[3] = true_label
    assert (counts[~allowed] == 0).all()
    expected = 20_000 / allowed.sum()
    assert ((counts[allowed] - expected).abs() < 5 * expected**0.5).all()  # five standard deviations
    assert not torch.equal(draw_labels(y, 10, 0, 0, true_label), draw_labels(y, 10, 0, 1, true_label))  # redrawn


def test_random_label_schedules_take_the_steps_they_say(models, request_):
    retain, both = len(request_.retain), len(request_.retain) + len(request_.forget)
    for schedule, steps in (("alternate", 1 - (-retain // 64)), ("union", -(-both // 64))):
        with measured() as cost:
            methods["random_label"](models["original"], request_, seed=0, epochs=1, schedule=schedule)
        assert cost.steps == steps


def test_options_are_checked():
    with pytest.raises(UnknownName, match="Did you mean 'epochs'"):
        methods["finetune"].resolve({"epoch": 3})
    with pytest.raises(BadValue, match=r"'lr' of method 'finetune' must be float, got '0.1' \(str\)"):
        methods["finetune"].resolve({"lr": "0.1"})
    with pytest.raises(BadValue, match="must be int, got True"):
        methods["finetune"].resolve({"epochs": True})
    with pytest.raises(BadValue, match="alternate"):
        methods["random_label"].resolve({"schedule": "both"})
    assert methods["finetune"].resolve({"lr": 1})["epochs"] == 10
    with pytest.raises(UnknownName, match="Did you mean 'scrub'"):
        methods["scurb"]


def test_an_empty_forget_set_is_refused(request_):
    with pytest.raises(BadValue, match="forget set is empty"):
        Request(request_.forget[:0], request_.retain, 10)


def test_a_request_tells_nothing_of_similarity(request_):
    assert set(vars(request_)) == {"forget", "retain", "n_classes", "recipe", "validation"}
