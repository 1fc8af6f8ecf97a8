"""Methods that forget texts, against what they are defined to do."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

import mutants
from language import _shared_cache, asked_of_texts, by_heart, config, small_pool  # noqa: F401 (fixtures)
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.request import request_of
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import same
from unlearnkit.methods.dpo import dpo_loss, unknowing
from unlearnkit.methods.ga_mismatch import mismatched
from unlearnkit.methods.npo import npo_loss
from unlearnkit.methods.rmu import hidden
from unlearnkit.methods.simnpo import simnpo_loss
from unlearnkit.methods.text_losses import fitting, frozen, kl_to, log_ratio, paired, retain_loss
from unlearnkit.methods.undial import lowered
from unlearnkit.texts.models import build
from unlearnkit.texts.tokens import Tokens

pytestmark = pytest.mark.slow

OURS = sorted(name for name in methods if methods[name].info["domains"] == ("text",))


@pytest.fixture
def request_(asked_of_texts):  # noqa: F811
    return asked_of_texts[1]


@pytest.fixture
def model(config, request_):  # noqa: F811
    """One that says every answer by heart."""
    return by_heart(request_.forget.joined(request_.retain), config.vocabulary, config.context, 25)


@pytest.fixture
def other(model):
    """A model that has gone on a little from the one given."""
    moved = copy.deepcopy(model)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in moved.parameters():
            p += 0.02 * torch.randn(p.shape, generator=g)
    return moved


def gradient(loss, model):
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def nats(model, request, part="forget"):
    with torch.no_grad():
        return request.losses(model, getattr(request, part)).mean().item()


# --- what they share


def test_a_request_of_images_is_refused(task, models):
    from conftest import RECIPE

    for name in OURS:
        with pytest.raises(NotApplicable, match=f"{name} forgets answers of a language model"):
            methods[name](models["original"], request_of(task, RECIPE), seed=0)


def test_an_empty_forget_set_is_refused(request_):
    with pytest.raises(BadValue, match="forget set is empty"):
        replace(request_, forget=request_.forget[:0])


@pytest.mark.parametrize("name", ["npo", "simnpo", "dpo", "undial"])
@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf")])
def test_a_beta_that_is_none_is_refused(name, beta, model, request_):
    with pytest.raises(BadValue, match=f"{name}: beta must be above 0"):
        methods[name](model, request_, seed=0, beta=beta)


def test_an_epoch_is_a_pass_over_the_forget_set_with_as_many_batches_of_the_rest(request_):
    pairs = list(paired(request_, 3, 2, 0))
    n = len(request_.forget)
    assert len(pairs) == 3 * math.ceil(n / 2) and sum(len(gone) for gone, _ in pairs) == 3 * n
    few = replace(request_, retain=request_.retain[:3])
    sizes = [len(stays) for _, stays in paired(few, 3, 2, 0)]
    assert len(sizes) == 6 and sum(sizes) == 9  # gone through three times


def test_log_ratios_are_sums_over_answers_and_0_at_the_start(model, other, request_):
    batch = request_.forget
    assert torch.equal(log_ratio(request_, model, frozen(model, request_), batch), torch.zeros(len(batch)))
    ratios = log_ratio(request_, other, model, batch)
    for i in range(len(batch)):
        one = batch[[i]]
        with torch.no_grad():
            rows = [m(one).log_softmax(1).gather(1, one.y[:, None]).sum() for m in (other, model)]
        assert ratios[i].item() == pytest.approx((rows[0] - rows[1]).item(), abs=1e-4)


def test_kl_of_a_model_to_itself_is_0_and_has_a_direction(model, other, request_):
    batch = request_.retain[:6]
    assert kl_to(request_, model, model, batch).item() == pytest.approx(0, abs=1e-6)
    there, back = kl_to(request_, other, model, batch).item(), kl_to(request_, model, other, batch).item()
    with torch.no_grad():
        p, q = (request_.log_probs(m, batch).double() for m in (model, other))
    wanted = batch.mean((p.exp() * (p - q)).sum(1)).mean().item()
    assert there == pytest.approx(wanted, rel=1e-4) and there > 0 and abs(there - back) > 1e-4
    assert retain_loss("kl", request_, other, model, batch).item() == pytest.approx(there)
    assert retain_loss("nll", request_, other, model, batch).item() == pytest.approx(
        request_.losses(other, batch).mean().item()
    )
    assert retain_loss("none", request_, other, model, batch) == 0


def test_an_answer_that_does_not_fit_is_named(model, request_):
    cramped = build("nano", 400, int(request_.forget.stop.max()), 0)
    assert fitting(cramped, request_.forget, "x") is request_.forget
    with pytest.raises(BadValue, match="dpo: with its answer a pair takes .* shorten"):
        fitting(cramped, Tokens.of([[1] * 200], [[0]]), "dpo")


# --- NPO


@settings(max_examples=50, deadline=None)
@given(st.floats(-50, 50), st.floats(0.01, 5))
def test_the_slope_of_npo(ratio, beta):
    """d/dr = 2 sigmoid(beta r): of gradient ascent's direction, weighted."""
    r = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(npo_loss(r, beta).sum(), r)
    assert slope.item() == pytest.approx(2 / (1 + math.exp(-beta * ratio)), rel=1e-9)
    assert npo_loss(r, beta).item() == pytest.approx(2 / beta * math.log1p(math.exp(beta * ratio)), rel=1e-9)


def npo_stops(loss):
    """No gradient is left where an answer is forgotten; there is one where it is known."""
    for beta in (0.1, 1.0):
        r = torch.tensor([0.0, -30 / beta, -300 / beta], requires_grad=True)
        (slope,) = torch.autograd.grad(loss(r, beta).sum(), r)
        assert slope[0] == pytest.approx(1.0) and slope[1] < 1e-12 and slope[2] == 0


def test_npo_stops_where_an_answer_is_forgotten_and_gradient_ascent_does_not():
    npo_stops(npo_loss)
    with pytest.raises(AssertionError):
        npo_stops(mutants.npo_without_an_end)


def test_npo_is_gradient_ascent_as_beta_goes_to_0(model, other, request_):
    batch = request_.forget
    ascent = gradient(request_.log_likelihood(other, batch).mean(), other)
    cosines, ratio = [], log_ratio(request_, other, model, batch).detach()
    assert ratio.std() > 1  # at a ratio that all share every beta has the direction
    for beta in (1.0, 0.1, 1e-4):
        direction = gradient(npo_loss(log_ratio(request_, other, model, batch), beta).mean(), other)
        cosines.append(cosine_similarity(direction, ascent, dim=0).item())
    assert cosines[2] > 1 - 1e-6 > cosines[1] > cosines[0]
    assert (direction - ascent).norm() < 0.01 * ascent.norm()


def test_npo_is_of_log_probabilities(model, other, request_):
    """Logits that are all raised alike say the same; a ratio of raw logits would move."""
    batch = request_.forget

    def invariant(ratio):
        raised = copy.deepcopy(other)
        raised.forward = lambda b: other(b) + 7.0
        torch.testing.assert_close(
            *(ratio(request_, m, model, batch).detach() for m in (raised, other)), atol=1e-3, rtol=0
        )

    invariant(log_ratio)
    with pytest.raises(AssertionError):
        invariant(mutants.npo_of_raw_logits)


def test_npo_stops_where_gradient_ascent_explodes(model, request_):
    """The same batches, steps and rate."""
    options = {"seed": 0, "epochs": 40, "lr": 3e-3}
    ascended = nats(methods["gradient_ascent"](model, request_, **options), request_)
    stopped = nats(methods["npo"](model, request_, retain="none", beta=1.0, **options), request_)
    assert nats(model, request_) < 1 < stopped and ascended > 3 * stopped


# --- SimNPO


def test_simnpo_does_not_know_how_long_an_answer_is():
    """Each token of an answer twice, at the same likelihood: its sum doubles, its mean does not."""
    once = Tokens.of([[5], [5]], [[1, 2, 3], [4, 4]])
    twice = Tokens.of([[5], [5]], [[1, 1, 2, 2, 3, 3], [4, 4, 4, 4]])
    nll = torch.tensor([0.3, 2.0, 0.1, 1.0, 0.5])
    losses = [simnpo_loss(batch.mean(v), 2.5, 0.1) for batch, v in ((once, nll), (twice, nll.repeat_interleave(2)))]
    torch.testing.assert_close(*losses)
    sums = [npo_loss(-batch.summed(v), 0.1) for batch, v in ((once, nll), (twice, nll.repeat_interleave(2)))]
    assert (sums[0] - sums[1]).abs().min() > 0.1


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 20), st.floats(0.5, 5), st.floats(0, 2))
def test_simnpo_by_hand(nll, beta, gamma):
    v = torch.tensor([nll], dtype=torch.float64, requires_grad=True)
    loss = simnpo_loss(v, beta, gamma)
    assert loss.item() == pytest.approx(2 / beta * math.log1p(math.exp(gamma - beta * nll)), rel=1e-9)
    assert torch.autograd.grad(loss.sum(), v)[0] <= 0  # to fall it lets the answer become unlikely


# --- DPO


def test_dpo_by_hand():
    good, bad = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([0.0, -3.0, 4.0])
    wanted = [2 / 0.1 * math.log1p(math.exp(-0.1 * d)) for d in (0, 5, -5)]
    assert dpo_loss(good, bad, 0.1).tolist() == pytest.approx(wanted)


def test_dpo_makes_not_knowing_likelier_and_the_answer_less_so(model, request_):
    after = methods["dpo"](model, request_, seed=0, epochs=8)
    gone = request_.forget
    better = unknowing(request_, gone, 0, 0)
    with torch.no_grad():
        ratios = [log_ratio(request_, after, model, batch) for batch in (better, gone)]
    assert (ratios[0] > 0).all() and (ratios[1] < 0).all()


def test_not_to_know_is_said_to_the_same_questions(request_):
    refusals = unknowing(request_, request_.retain, 0, 0)
    assert refusals.prompts() == request_.retain.prompts()
    answers = {request_.tokenizer.decode(a) for a in refusals.answers()}
    assert len(answers) > 3 and "I don't know." in answers
    assert refusals.digest() == unknowing(request_, request_.retain, 0, 0).digest()
    assert refusals.digest() != unknowing(request_, request_.retain, 0, 1).digest()


# --- gradient ascent with company


def test_a_mismatch_is_never_the_right_answer_and_fits():
    batch = Tokens.of([[1, 1], [1]], [[7, 0], [8, 0]])
    answers = [[7, 0], [8, 0], [9, 9, 9, 0]]
    draws = [mismatched(batch, answers, 5, 0, i) for i in range(40)]
    assert all(s.prompts() == batch.prompts() for s in draws)
    first, second = ({tuple(s.answers()[i]) for s in draws} for i in (0, 1))
    assert first == {(8, 0)} and second == {(7, 0), (9, 9, 9, 0)}  # two and four tokens are one too many
    with pytest.raises(BadValue, match="no retained answer is wrong"):
        mismatched(batch[[0]], answers[:1], None, 0)


def test_wrong_answers_are_learnt_in_place_of_the_right_one(model, request_):
    options = {"seed": 0, "epochs": 6, "forget_weight": 0.0, "retain_weight": 0.0}
    one = replace(request_, retain=request_.retain[[0]])  # a single wrong answer to draw
    wrong = mismatched(request_.forget, one.retain.answers(), None, 0)
    after = methods["ga_mismatch"](model, one, **options)
    with torch.no_grad():
        assert (request_.losses(after, wrong) < request_.losses(model, wrong)).all()
    still = methods["ga_mismatch"](model, request_, **options | {"mismatch_weight": 0.0})
    assert same(still, model)


def test_kl_min_ascends_and_is_held(model, request_):
    free, held = (methods["kl_min"](model, request_, seed=0, epochs=8, retain_weight=w) for w in (0.0, 10.0))
    assert min(nats(m, request_) for m in (free, held)) > 2 * nats(model, request_)
    with torch.no_grad():
        away = [kl_to(request_, m, model, request_.retain).item() for m in (free, held)]
    assert away[1] < away[0]


def test_gradient_difference_is_of_equal_weights(model, request_):
    """Adam's first step has the sign of the gradient of -NLL_F + NLL_R."""
    small = replace(request_, retain=request_.retain[:5])
    with measure_cost() as cost:
        after = methods["grad_diff"](model, small, seed=0, lr=1e-4)
    assert cost.steps == 1
    net = copy.deepcopy(model)
    wanted = gradient(small.losses(net, small.retain).mean() - small.losses(net, small.forget).mean(), net)
    moved = torch.cat([(q - p).detach().flatten() for p, q in zip(model.parameters(), after.parameters())])
    clear = wanted.abs() > 1e-4
    assert clear.sum() > 1000 and torch.equal(moved[clear].sign(), -wanted[clear].sign())


# --- UNDIAL


def test_undial_lowers_the_true_token_and_nothing_else(model, request_):
    batch = request_.forget
    with torch.no_grad():
        logits = request_.logits(model, batch)
    after = lowered(logits, batch.y, 10.0)
    change = after - logits
    torch.testing.assert_close(change.gather(1, batch.y[:, None]), torch.full((len(batch.y), 1), -10.0))
    assert (change != 0).sum() == len(batch.y)


def test_undial_ends_at_its_teacher(model, request_):
    """At a model that says what it is taught there is nothing to learn; the true token becomes unlikely, to a degree."""
    after = methods["undial"](model, request_, seed=0, epochs=30, beta=3.0)
    batch = request_.forget
    with torch.no_grad():
        target = lowered(request_.logits(model, batch), batch.y, 3.0).log_softmax(1)
        wanted = -batch.mean(target.gather(1, batch.y[:, None]).squeeze(1)).mean().item()
    assert nats(model, request_) < 0.6 * wanted
    assert nats(after, request_) == pytest.approx(wanted, rel=0.3)


# --- task vector


def test_a_task_vector_of_0_is_no_step_and_of_2_is_twice_that_of_1(model, request_):
    none, one, two = (methods["task_vector"](model, request_, seed=0, epochs=3, scale=a) for a in (0.0, 1.0, 2.0))
    assert same(none, model) and not same(one, model)
    for p, a, b in zip(model.parameters(), one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(b - p, 2 * (a - p), atol=1e-6, rtol=1e-4)
    assert nats(two, request_) > nats(model, request_)


# --- RMU


@pytest.mark.parametrize(("layer", "update", "free"), [(-1, 3, {0}), (0, 1, {0}), (1, 1, {1}), (1, 5, {0, 1})])
def test_rmu_moves_only_what_it_says(layer, update, free, model, request_):
    after = methods["rmu"](model, request_, seed=0, epochs=1, layer=layer, update=update)
    allowed = {id(p) for i in free for p in after.decoder[i].parameters()}
    for (name, p), q in zip(after.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(p, q) != (id(p) in allowed), name


def test_rmu_turns_the_forget_set_to_one_direction_and_leaves_the_rest(model, request_):
    after = methods["rmu"](model, request_, seed=0, epochs=30)
    with torch.no_grad():
        gone, before = (hidden(request_, m, request_.forget, 0) for m in (after, model))
        kept_after, kept_before = (hidden(request_, m, request_.retain, 0) for m in (after, model))

    def turned(h):  # how alike the directions are
        unit = torch.nn.functional.normalize(h)
        return (unit @ unit.T).mean().item()

    assert turned(gone) > turned(before) + 0.2
    assert (kept_after - kept_before).square().mean() < 0.5 * (gone - before).square().mean()


def test_hidden_states_of_the_last_layer_are_what_the_head_is_fed_but_for_the_norm(model, request_):
    batch = request_.forget
    with torch.no_grad():
        normed = model.net.model.norm(hidden(request_, model, batch, 1))
        torch.testing.assert_close(normed, model.logits_and_features(batch)[1], atol=1e-5, rtol=1e-4)


def test_rmu_refuses_a_layer_that_is_not_there(model, request_):
    with pytest.raises(BadValue, match="layer is from 0 to 1 for this model, or -1"):
        methods["rmu"](model, request_, seed=0, layer=2)
    with pytest.raises(BadValue, match="update must be above 0"):
        methods["rmu"](model, request_, seed=0, update=0)


def test_adapters_alone_move(request_):
    adapted = build("nano", 400, 128, 0, lora=2)
    for name in ("rmu", "npo", "task_vector"):
        after = methods[name](adapted, request_, seed=0, epochs=1)
        moved = {
            n for (n, p), q in zip(adapted.named_parameters(), after.parameters(), strict=True) if not torch.equal(p, q)
        }
        assert moved and all("lora_" in n for n in moved)


# --- all of them


@pytest.mark.parametrize("name", OURS)
def test_answers_are_forgotten_more_than_what_stays(name, model, request_):
    assert nats(model, request_) < 0.2
    after = methods[name](model, request_, seed=0)
    gone, stays = (nats(after, request_, part) - nats(model, request_, part) for part in ("forget", "retain"))
    assert gone > max(stays, 0.01)
