"""RSU and rankers on texts: what orders answers, that one batch is the base, that the budget is the base's."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from language import _shared_cache, asked_of_texts, by_heart, config, small_pool  # noqa: F401 (fixtures)
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.methods import applies, methods
from unlearnkit.methods.contracts import same
from unlearnkit.privacy_risk import rankers, ranking
from unlearnkit.privacy_risk.shadow_models import ensemble
from unlearnkit.texts import domain as texts
from unlearnkit.wrappers.rsu import rsu

pytestmark = pytest.mark.slow

BASES = ["dpo", "gradient_ascent", "npo", "random_label"]


@pytest.fixture
def asked(asked_of_texts):  # noqa: F811
    """(model, request) of seven answers to forget, all of different losses."""
    model, request = asked_of_texts
    more = request.forget.joined(request.retain[:4])
    return model, replace(request, forget=more, retain=request.retain[4:])


def pairs(samples) -> list[tuple]:
    return [(*p, -1, *a) for p, a in zip(samples.prompts(), samples.answers())]


# --- rankers


@pytest.mark.parametrize("name", ranking("text"))
def test_a_rankers_values_follow_the_answers(name, asked):
    model, request = asked
    before, state = copy.deepcopy(model), torch.random.get_rng_state()
    value = rankers[name](model, request, seed=0, device="cpu")
    assert value.shape == (7,) and value.dtype == torch.float64 and value.isfinite().all()
    assert len(value.unique()) == 7, "answers are told apart"
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    shuffled = replace(request, forget=request.forget[order])
    torch.testing.assert_close(rankers[name](model, shuffled, seed=1, device="cpu"), value[order], rtol=1e-3, atol=1e-5)
    assert same(model, before) and torch.equal(torch.random.get_rng_state(), state)


def test_rankers_of_answers_by_hand(asked):
    model, request = asked
    risk = {name: rankers[name](model, request, seed=0, device="cpu") for name in ranking("text")}
    share_1 = rankers["min_k"](model, request, seed=0, device="cpu", share=1.0)
    for row in range(7):
        one = request.forget[[row]]
        with torch.no_grad():
            p = request.log_probs(model, one).double()
        of = p.gather(1, one.y[:, None]).squeeze(1)
        least = of[:-1].sort().values[: max((len(of) - 1) // 5, 1)]  # without the end token
        wanted = {"likelihood": -of.sum(), "loss": -of.mean(), "min_k": -least.mean()}
        wanted["token_entropy"] = -(p.exp() * p).sum(1).mean()
        for name, value in wanted.items():
            torch.testing.assert_close(risk[name][row], value, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(share_1[row], -of[:-1].mean(), rtol=1e-3, atol=1e-5)
    for share in (0.0, 1.5):
        with pytest.raises(BadValue, match="share is above 0"):
            rankers["min_k"](model, request, seed=0, share=share)


def test_which_rankers_a_domain_has(asked, models, request_):
    assert {"loss", "margin", "gradient_norm"} <= {*ranking("text")} & {*ranking("image")}
    assert "likelihood" not in ranking("image") and "lira_separation" not in ranking("text")
    for name in ("lira_separation", "held_out_gap", "confidence"):
        with pytest.raises(NotApplicable, match="for texts there are gradient_norm, likelihood, loss"):
            rankers[name](*asked, seed=0)
    with pytest.raises(NotApplicable, match="losses of single answer tokens; for images there are class_distance"):
        rankers["min_k"](models["original"], request_, seed=0)
    with pytest.raises(NotApplicable, match="labelled images only"):
        ensemble(*asked, 4)


# --- RSU


@pytest.mark.parametrize("order", ["descending", "ascending", "random", "shuffled"])
def test_each_answer_is_forgotten_once_in_the_order_of_its_risk(order, asked):
    model, request = asked
    risk = dict(zip(pairs(request.forget), rankers["min_k"](model, request, seed=0, device="cpu").tolist()))
    calls = []

    def base(model, request, *, seed, device="auto"):
        calls.append(request)
        return model

    rsu(base, model, request, seed=0, device="cpu", batches=3, order=order, ranker="min_k")
    parts = [pairs(call.forget) for call in calls]
    assert [len(part) for part in parts] in ([[3, 2, 2], [2, 2, 3]] if order != "random" else [[len(p) for p in parts]])
    assert sorted(p for part in parts for p in part) == sorted(pairs(request.forget))
    assert all(pairs(call.retain) == pairs(request.retain) for call in calls)
    if order in ("descending", "ascending"):
        sign = 1 if order == "descending" else -1
        values = [[sign * risk[p] for p in part] for part in parts]
        assert all(min(a) >= max(b) for a, b in pairwise(values))


@pytest.mark.parametrize("name", sorted(n for n in methods if "text" in methods[n].info["domains"]))
def test_one_batch_is_the_base_bit_by_bit(name, asked):
    options = {"epochs": 2} if "epochs" in methods[name].options() else {}
    options |= methods[name].info["text"]
    assert applies(f"rsu({name})", "random", "text")
    once = methods[f"rsu({name})"](*asked, seed=4, device="cpu", batches=1, **options)
    assert same(once, methods[name](*asked, seed=4, device="cpu", **options))


@pytest.mark.parametrize("name", BASES)
def test_three_batches_take_the_steps_of_the_base_alone_and_order_matters(name, asked):
    options = {"batch_size": 2, "epochs": 3, **methods[name].info["text"]}
    with measure_cost() as alone:
        methods[name](*asked, seed=4, device="cpu", **options)
    made = {}
    for order in ("descending", "ascending"):
        with measure_cost() as cost:
            made[order] = methods[f"rsu({name})"](*asked, seed=4, device="cpu", batches=3, order=order, **options)
        assert cost.steps == alone.steps > 0
    assert not same(*made.values())


def test_what_cannot_be_split_is_refused(asked):
    for name, why in (("retrain", "starts from new weights"), ("muda", "cannot be split over batches")):
        with pytest.raises(NotApplicable, match=why):
            methods[f"rsu({name})"](*asked, seed=0, device="cpu", batches=2, **methods[name].info["text"])


def test_a_config_of_texts_runs_it(config):  # noqa: F811
    request = texts.request(config)
    model = by_heart(request.forget.joined(request.retain), config.vocabulary, config.context)
    after = methods["rsu(npo)"](model, request, seed=0, device="cpu", batches=3, epochs=6)
    with torch.no_grad():
        gone = [request.losses(m, request.forget).mean().item() for m in (model, after)]
    assert gone[1] > gone[0] + 0.1
