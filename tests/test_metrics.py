import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit.divergence import js, kl
from unlearnkit.evidence import Evidence, take
from unlearnkit.metrics import metrics, score
from unlearnkit.metrics.attacks import confidence_attack, loss_attack
from unlearnkit.task import ROLES, unit

NO_COST = {"seconds", "steps", "RTE"}


def evidence(logits, labels, roles, **more):
    role = torch.tensor([ROLES.index(r) for r in roles], dtype=torch.int8)
    return Evidence(
        torch.as_tensor(logits, dtype=torch.float32), torch.tensor(labels), role, torch.arange(len(role)), **more
    )


def shuffled(e: Evidence, seed: int) -> Evidence:
    order = torch.randperm(len(e.ids), generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(
        e, logits=e.logits[order], labels=e.labels[order], role=e.role[order], ids=e.ids[order], _memo={}
    )


# --- contracts, over every registered metric ---


@pytest.mark.parametrize("name", sorted(metrics))
def test_the_order_of_samples_does_not_matter(name, evidences):
    plain = score(evidences["retrain"], evidences, [name])
    mixed = score(shuffled(evidences["retrain"], 1), {k: shuffled(v, 1) for k, v in evidences.items()}, [name])
    assert plain.value.tolist() == pytest.approx(mixed.value.tolist(), rel=1e-6, abs=1e-9)
    assert len(plain)


@pytest.mark.parametrize("name", sorted(metrics))
def test_the_names_of_classes_do_not_matter(name, evidences):
    to = torch.randperm(10, generator=torch.Generator().manual_seed(0))

    def renamed(e):
        logits = torch.empty_like(e.logits)
        logits[:, to] = e.logits
        return dataclasses.replace(e, logits=logits, labels=to[e.labels], _memo={})

    plain = score(evidences["original"], evidences, [name])
    other = score(renamed(evidences["original"]), {k: renamed(v) for k, v in evidences.items()}, [name])
    loose = 0.35 if name == "MIA-loss" else 1e-6  # other test samples are drawn beside the targets
    assert plain.value.tolist() == pytest.approx(other.value.tolist(), rel=1e-6, abs=loose)


@pytest.mark.parametrize("name", sorted(n for n in metrics if metrics[n].info["references"]))
def test_a_reference_scores_perfectly_against_itself(name, evidences):
    best = {"ToW": 1.0, "RTE": 1.0}.get(name, 0.0)
    for reference in metrics[name].info["references"]:
        found = metrics[name](evidences[reference], evidences[reference])
        assert list(found.values()) == pytest.approx([best] * len(found), abs=1e-9)


@pytest.mark.parametrize("name", sorted(metrics))
def test_every_metric_states_direction_unit_and_meaning(name):
    assert metrics[name].info["direction"] in ("lower", "higher", "gap")
    assert metrics[name].info["unit"] and metrics[name].summary


def test_an_exception_is_not_swallowed(evidences):
    broken = dataclasses.replace(evidences["original"], labels=evidences["original"].labels + 100, _memo={})
    with pytest.raises(RuntimeError):
        score(broken, evidences, ["loss"])


# --- closed forms ---


def test_accuracies():
    e = evidence(
        [[2, 1], [1, 2], [3, 0], [0, 3], [1, 0], [1, 0]],
        [0, 0, 0, 0, 0, 1],
        ["target", "target", "similar", "filler", "filler", "test"],
    )
    found = score(e, {}, ["FA", "UA", "RA", "TA"]).set_index("metric").value
    assert found.to_dict() == pytest.approx({"FA": 0.5, "UA": 0.5, "RA": 2 / 3, "TA": 0.0})


def test_phi_is_the_logit_of_the_probability_and_survives_where_it_rounds_to_one():
    e = evidence([[3.0, 1.0, 0.5], [80.0, 0.0, 0.0]], [0, 0], ["target", "target"])
    p = e.log_probs[0, 0].exp().item()
    assert e.phi[0].item() == pytest.approx(math.log(p / (1 - p)))
    assert e.phi[1].item() == pytest.approx(80 - math.log(2))
    assert torch.tensor(e.log_probs[1, 0].exp().item(), dtype=torch.float32) == 1.0


def test_kl_and_js_closed_forms():
    p, q = (torch.tensor([v], dtype=torch.float64) for v in ([0.5, 0.5], [0.9, 0.1]))
    assert kl(p.log(), p.log()).item() == pytest.approx(0)
    assert kl(p.log(), q.log()).item() == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert kl(q.log(), p.log()).item() != pytest.approx(kl(p.log(), q.log()).item())
    a, b = (torch.tensor([v], dtype=torch.float64).log() for v in ([1.0, 0.0], [0.0, 1.0]))
    assert js(a, b).item() == pytest.approx(math.log(2))
    assert kl(a, a).item() == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.floats(0.1, 30))
def test_js_is_symmetric_and_bounded(seed, classes, scale):
    z = torch.randn(2, 4, classes, generator=torch.Generator().manual_seed(seed)).double() * scale
    p, q = z.log_softmax(-1)
    assert torch.allclose(js(p, q), js(q, p))
    assert (js(p, q) >= -1e-12).all() and (js(p, q) <= math.log(2) + 1e-12).all()


def test_gap_and_tug_of_war():
    labels, roles = [0] * 6, ["target", "target", "filler", "filler", "test", "test"]
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    reference = evidence([wrong, wrong, right, right, right, right], labels, roles)
    model = evidence([right, wrong, right, right, right, wrong], labels, roles)
    attack = abs(confidence_attack(model) - confidence_attack(reference))
    found = {n: metrics[n](model, reference)["all"] for n in ("avg-gap", "ToW")}
    assert found == pytest.approx({"avg-gap": (0.5 + 0 + 0.5 + attack) / 4, "ToW": 0.5 * 1 * 0.5})


def test_neighbour_cost_and_rte():
    roles = ["similar", "similar", "target", "test"]
    before = evidence([[1, 0]] * 4, [0] * 4, roles, cost={"seconds": 8.0, "steps": 4})
    after = evidence([[1, 0], [0, 1], [0, 1], [1, 0]], [0] * 4, roles, cost={"seconds": 2.0, "steps": 1})
    assert metrics["neighbour-cost"](after, before) == {"similar": 0.5}
    assert metrics["RTE"](after, before) == {"all": 0.25}
    none = evidence([[1, 0]] * 2, [0, 0], ["target", "test"])
    assert metrics["neighbour-cost"](none, none) == {} and metrics["seconds"](none, None) == {}


# --- attacks: a memoriser is caught, a stranger is not ---


def population(memorised: bool, n: int = 300, seed: int = 0) -> Evidence:
    """Members are confident, others less so; the targets are like members if memorised, else like others."""
    g = torch.Generator().manual_seed(seed)
    roles = ["target"] * n + ["filler"] * n + ["test"] * n
    margin = torch.randn(3 * n, generator=g)
    margin[n : 2 * n] += 8
    margin[:n] += 8 if memorised else 0
    labels = torch.randint(2, (3 * n,), generator=g)
    logits = torch.zeros(3 * n, 2).scatter_(1, labels[:, None], margin[:, None])
    return evidence(logits.tolist(), labels.tolist(), roles)


def test_the_attacks_catch_a_memoriser_and_pass_a_stranger():
    assert confidence_attack(population(True)) < 0.05  # taken for members
    assert confidence_attack(population(False)) > 0.95
    assert loss_attack(population(True)) > 0.95
    assert loss_attack(population(False)) == pytest.approx(0.5, abs=0.1)


def test_the_attack_turns_with_the_labels_of_its_populations():
    e = population(True)
    role = e.role.clone()
    filler, test = ROLES.index("filler"), ROLES.index("test")
    role[e.role == filler], role[e.role == test] = test, filler
    assert confidence_attack(dataclasses.replace(e, role=role, _memo={})) > 0.95


def test_too_few_targets_give_no_loss_attack():
    e = evidence([[1, 0]] * 6, [0] * 6, ["target"] * 3 + ["test"] * 3)
    assert loss_attack(e) is None and metrics["MIA-loss"](e) == {}


# --- shapes that must hold ---


def test_retrain_knows_targets_no_better_than_test_without_copies(raw):
    """Retrain's forget accuracy lies within noise of its test accuracy on an i.i.d. split."""
    from conftest import RECIPE
    from data_builders.compose import compose
    from unlearnkit.models import build
    from unlearnkit.train import fit

    task = compose(raw, n_targets=150, copies=0, train_size=700, seed=2)
    model = fit(build("small_cnn", (1, 8, 8), 10, 0), task.training_set("retrain"), RECIPE, seed=0)
    found = score(take(model, task), {}, ["FA", "TA"]).set_index("metric").value
    spread = (found.TA * (1 - found.TA) * (1 / 150 + 1 / 397)) ** 0.5
    assert abs(found.FA - found.TA) < 4 * spread


def test_evidence_is_one_pass_in_eval_mode_and_the_batch_does_not_matter(models, task):
    calls = []
    model = models["original"].train()
    model.register_forward_hook(lambda module, given, out: calls.append((module.training, len(out))))
    found = take(model, task)
    assert sum(n for _, n in calls) == len(task.y) and not any(training for training, _ in calls)
    assert model.training
    with torch.no_grad():
        alone = model.eval()(unit(task.x[:1]))
    torch.testing.assert_close(found.logits[:1], alone, atol=1e-5, rtol=1e-4)
