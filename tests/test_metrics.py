import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import metric_functions as contracts
import mutants_metrics as mutants
from data_builders.task import ROLES, unit
from language import all_text_outputs, small_pool  # noqa: F401 (fixtures)
from metric_functions import population
from unlearnkit.core.divergence import js, kl
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.images.outputs import Outputs, forward_task
from unlearnkit.metrics import metrics, score, single_pass_metrics
from unlearnkit.metrics.attacks import best_threshold, confidence_attack, entropy_attack, loss_attack
from unlearnkit.metrics.contracts import CONTRACTS, check, outputs_from
from unlearnkit.metrics.divergence import zero_retrain_forgetting
from unlearnkit.metrics.ensembles import histogram_kl

# --- contracts ---


BY_DOMAIN = [(name, domain) for name in sorted(metrics) for domain in metrics[name].info["domains"]]
OF_TEXTS = ("order_of_samples", "doubled_samples", "every_sample_counts", "exceptions_come_through")  # mutants of both


@pytest.fixture
def of_domain(all_outputs, all_text_outputs):  # noqa: F811
    return {"image": all_outputs, "text": all_text_outputs}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(("name", "domain"), BY_DOMAIN)
def test_contract(name, domain, contract, of_domain):
    contract(metrics[name], of_domain[domain])


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
def test_contract_fails_on_its_mutants(contract, of_domain):
    for domain in ("image", "text") if contract.__name__ in OF_TEXTS else ("image",):
        for mutant in mutants.BY_CONTRACT[contract.__name__]:
            with pytest.raises(AssertionError):
                contract(mutant, of_domain[domain])


def test_check_tells_what_holds(all_outputs):
    assert set(check(metrics["JS"], all_outputs).values()) == {"holds"}
    (broken,) = mutants.BY_CONTRACT["order_of_samples"][:1]
    assert check(broken, all_outputs)["order_of_samples"] == "the order of samples changes the value"


def of_targets(e: Outputs) -> float:
    return confidence_attack(e)["target"]


ENTROPIES = [mutants.entropy_with_the_wrong_log, mutants.entropy_of_the_batch, mutants.entropy_of_rounded_probabilities]
HISTOGRAMS = [mutants.histogram_without_the_maximum, mutants.histogram_swapped]
ATTACKS = [
    mutants.share_of_members,
    mutants.entropy_sign_flipped,
    mutants.fitted_on_the_targets,
    mutants.fitted_on_all_test_samples,
]
STRANGERS = [mutants.scored_on_what_it_was_fitted_on, mutants.scored_on_all_test_samples, mutants.constant_answer]
BY_FUNCTION = [  # contract, ours, mutants
    (contracts.kl_is_kl, kl, [mutants.kl_swapped, mutants.kl_averaged]),
    (contracts.js_is_bounded, js, [mutants.js_of_raw_sums, mutants.js_unhalved, mutants.jeffreys]),
    (contracts.modified_entropy_is_right, lambda e: e.modified_entropy, ENTROPIES),
    (contracts.histogram_counts_all, histogram_kl, HISTOGRAMS),
    (contracts.min_k_is_of_a_fifth, lambda e: e.min_k, [mutants.min_k_rounded_up, mutants.min_k_with_the_end_token]),
    (contracts.zrf_is_bounded, zero_retrain_forgetting, [mutants.zrf_unbounded, mutants.zrf_as_a_cosine]),
    (contracts.attack_is_right, of_targets, ATTACKS),
    (contracts.attack_is_right, entropy_attack, ATTACKS[1:2]),
    (contracts.stranger_is_at_chance, loss_attack, STRANGERS),
]


@pytest.mark.parametrize(
    ("contract", "ours", "broken"), BY_FUNCTION, ids=[f"{c[0].__name__}-{i}" for i, c in enumerate(BY_FUNCTION)]
)
def test_contract_of_a_function_and_its_mutants(contract, ours, broken):
    contract(ours)
    for mutant in broken:
        with pytest.raises(AssertionError):
            contract(mutant)


def test_every_mutant_is_used():
    used = {m.name for group in mutants.BY_CONTRACT.values() for m in group}
    used |= {m.__name__ for _, _, group in BY_FUNCTION for m in group} | {"mutant", "take_in_training_mode"}
    functions = inspect.getmembers(mutants, inspect.isfunction)
    assert {name for name, f in functions if f.__module__ == mutants.__name__} == used


def test_the_batch_size_of_evidence_does_not_matter(task):
    contracts.batches_do_not_matter(forward_task, task)
    with pytest.raises(AssertionError):
        contracts.batches_do_not_matter(mutants.take_in_training_mode, task)


@pytest.mark.parametrize("name", sorted(metrics))
def test_every_metric_states_direction_unit_and_meaning(name):
    assert metrics[name].info["direction"] in ("lower", "higher", "gap")
    assert metrics[name].info["unit"] and metrics[name].summary


def test_what_is_missing_is_named_with_the_way_to_get_it(all_outputs):
    bare = dataclasses.replace(
        all_outputs["retrain"], features=None, margins=None, relearn_steps=None, attack_class=None
    )
    assert (
        score(bare, all_outputs).metric.unique().tolist() == single_pass_metrics() and "DA" not in single_pass_metrics()
    )
    with pytest.raises(NotApplicable, match="'ROUGE-L' has no meaning for images"):
        metrics["ROUGE-L"](bare)
    for name, way in (
        ("DA", "features=True"),
        ("KLoM", "study.ensemble"),
        ("relearn", "study.relearn_steps"),
    ):
        with pytest.raises(BadValue, match=f"'{name}'.*{way}"):
            score(bare, all_outputs, [name])
    with pytest.raises(BadValue, match="'CKA' needs features"):
        score(all_outputs["original"], {"retrain": bare, "clean": bare}, ["CKA"])
    with pytest.raises(BadValue, match="'initial' among the references"):
        score(bare, {}, ["ZRF"])
    with pytest.raises(BadValue, match="compares with a reference"):
        metrics["JS"](bare)
    with pytest.raises(UnknownName, match="Did you mean 'KLoM'"):
        score(bare, all_outputs, ["KLOM"])


def test_a_replaced_field_is_read_anew(all_outputs):
    """What is kept of outputs, such as the rows of a group or an attack, is kept of these alone."""
    outputs = all_outputs["original"]
    before = metrics["MIA"](outputs), metrics["FA"](outputs)
    role = torch.where(
        outputs.role == 0, 2, torch.where(outputs.role == 2, 0, outputs.role)
    )  # swapped with the fillers
    swapped = dataclasses.replace(outputs, role=role.to(torch.int8))
    assert not swapped.rows("target").equal(outputs.rows("target"))
    assert (
        (metrics["MIA"](outputs), metrics["FA"](outputs)) == before != (metrics["MIA"](swapped), metrics["FA"](swapped))
    )


# --- closed forms ---


def test_accuracies():
    e = outputs_from(
        [[2, 1], [1, 2], [3, 0], [0, 3], [1, 0], [1, 0]],
        [0, 0, 0, 0, 0, 1],
        ["target", "target", "similar", "filler", "filler", "test"],
    )
    found = score(e, {}, ["FA", "UA", "RA", "TA"]).set_index("metric").value
    assert found.to_dict() == pytest.approx({"FA": 0.5, "UA": 0.5, "RA": 2 / 3, "TA": 0.0})


def test_phi_is_the_logit_of_the_probability_and_survives_where_it_rounds_to_one():
    e = outputs_from([[3.0, 1.0, 0.5], [80.0, 0.0, 0.0]], [0, 0], ["target", "target"])
    p = e.log_probs[0, 0].exp().item()
    assert e.phi[0].item() == pytest.approx(math.log(p / (1 - p)))
    assert e.phi[1].item() == pytest.approx(80 - math.log(2))
    assert torch.tensor(e.log_probs[1, 0].exp().item(), dtype=torch.float32) == 1.0


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
    reference = outputs_from([wrong, wrong, right, right, right, right], labels, roles)
    model = outputs_from([right, wrong, right, right, right, wrong], labels, roles)
    attack = abs(of_targets(model) - of_targets(reference))
    found = {n: metrics[n](model, reference)["all"] for n in ("avg-gap", "ToW", "ToW-MIA")}
    expected = {"avg-gap": (0.5 + 0 + 0.5 + attack) / 4, "ToW": 0.5 * 1 * 0.5, "ToW-MIA": (1 - attack) * 1 * 0.5}
    assert found == pytest.approx(expected)


def test_neighbour_cost_and_rte():
    roles = ["similar", "similar", "target", "test"]
    before = outputs_from([[1, 0]] * 4, [0] * 4, roles, cost={"seconds": 8.0, "steps": 4})
    after = outputs_from([[1, 0], [0, 1], [0, 1], [1, 0]], [0] * 4, roles, cost={"seconds": 2.0, "steps": 1})
    assert metrics["neighbour-cost"](after, before) == {"similar": 0.5}
    assert metrics["RTE"](after, before) == {"all": 0.25}
    none = outputs_from([[1, 0]] * 2, [0, 0], ["target", "test"])
    assert metrics["neighbour-cost"](none, none) == {} and metrics["seconds"](none, None) == {}


# --- attacks: a memoriser is caught, a stranger is not ---


def test_the_attack_turns_with_the_labels_of_its_populations():
    e = population(True)
    role = e.role.clone()
    filler, test = ROLES.index("filler"), ROLES.index("test")
    role[e.role == filler], role[e.role == test] = test, filler
    assert of_targets(dataclasses.replace(e, role=role)) > 0.95


def test_the_kl_metric_asks_what_the_reference_knows():
    """KL(reference || model), not the other way round."""
    reference, model = (outputs_from([[math.log(r), 0.0]], [0], ["target"]) for r in (1.0, 9.0))
    assert metrics["KL"](model, reference)["target"] == pytest.approx(0.5 * math.log(5 / 9) + 0.5 * math.log(5))


def test_the_attack_scores_similar_samples_and_decoys_too():
    e = population(False)
    role = e.role.clone()
    role[:100], role[100:200] = ROLES.index("similar"), ROLES.index("decoy")
    found = metrics["MIA"](dataclasses.replace(e, role=role))
    assert set(found) == {"target", "similar", "decoy"} and min(found.values()) > 0.9


@pytest.mark.parametrize("attack", [of_targets, entropy_attack])
def test_a_model_that_never_saw_the_similar_samples_does_not_confuse_the_attack(attack):
    """As for clean, to which targets and similar samples are both strangers that it gets wrong."""
    e = population(False)
    role, logits = e.role.clone(), e.logits.clone()
    role[150:300] = ROLES.index("similar")
    logits[:300] -= 12 * torch.nn.functional.one_hot(e.labels[:300], 2)
    assert attack(dataclasses.replace(e, role=role, logits=logits)) > 0.95


def test_entropy_thresholds_are_those_of_each_label():
    """Label 0 is easy, label 1 hard: one threshold for both would take easy strangers for members."""
    margin = {("filler", 0): 8.0, ("test", 0): 4.0, ("filler", 1): 1.0, ("test", 1): -3.0}
    configs = [(role, label, m) for (role, label), m in margin.items() for _ in range(5)]
    configs += [("target", 0, 4.0), ("target", 0, 8.0), ("target", 1, 1.0), ("target", 1, -3.0)]
    logits = [[m if k == label else 0.0 for k in range(3)] for _, label, m in configs]
    e = outputs_from(logits, [label for _, label, _ in configs], [role for role, _, _ in configs])
    assert entropy_attack(e) == 0.5
    of_none_left = dataclasses.replace(e, labels=torch.where(e.role == 0, 2, e.labels))
    assert entropy_attack(of_none_left) == 1.0  # a class of which no member is left: the threshold of all labels


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_the_threshold_is_the_best_there_is(low, high):
    low, high = np.array(low, float), np.array(high, float)
    quality = lambda t: (low <= t).mean() + (high > t).mean()  # noqa: E731
    assert quality(best_threshold(low, high)) == pytest.approx(max(quality(t / 2) for t in range(-1, 20)))


def test_too_few_targets_give_no_loss_attack():
    e = outputs_from([[1, 0]] * 6, [0] * 6, ["target"] * 3 + ["test"] * 3)
    assert loss_attack(e) is None and metrics["MIA-loss"](e) == {}


# --- shapes that must hold ---


def test_retrain_knows_targets_no_better_than_test_without_copies(raw):
    """Retrain's forget accuracy lies within noise of its test accuracy on an i.i.d. split."""
    from conftest import RECIPE
    from data_builders.build_task import build_task
    from unlearnkit.images.models import build
    from unlearnkit.images.train import fit

    task = build_task(raw, n_targets=150, copies=0, train_size=700, seed=2)
    model = fit(build("small_cnn", (1, 8, 8), 10, 0), task.training_set("retrain"), RECIPE, seed=0)
    found = score(forward_task(model, task), {}, ["FA", "TA"]).set_index("metric").value
    spread = (found.TA * (1 - found.TA) * (1 / 150 + 1 / 397)) ** 0.5
    assert abs(found.FA - found.TA) < 4 * spread


def test_outputs_is_one_pass_in_eval_mode_and_the_batch_does_not_matter(models, task):
    calls = []
    model = models["original"].train()
    model.register_forward_hook(lambda module, given, out: calls.append((module.training, len(out))))
    found = forward_task(model, task)
    assert sum(n for _, n in calls) == len(task.y) and not any(training for training, _ in calls)
    assert model.training
    with torch.no_grad():
        alone = model.eval()(unit(task.x[:1]))
    torch.testing.assert_close(found.logits[:1], alone, atol=1e-5, rtol=1e-4)
