"""RSU: what it asks of its base and in which order, that its budget is the base's, and what it refuses."""

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from conftest import RECIPE, short
from data_builders.task import Samples
from unlearnkit import study
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.core.registry import Entry
from unlearnkit.images.config import config_grid
from unlearnkit.images.request import request_of
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import same
from unlearnkit.privacy_risk import rankers
from unlearnkit.wrappers.partial_passes import PartialPass, steps_of_pass
from unlearnkit.wrappers.rsu import Order, partition, rsu

pytestmark = pytest.mark.slow

ORDERS = Order.__args__
SPLIT = [
    "finetune",
    "gradient_ascent",
    "neggrad_plus",
    "random_label",
    "salun",
    "scrub",
    "l1_sparse",
    "boundary_shrink",
    "delete",
]
REFUSED = {
    "retrain": "starts from new weights",
    "sisa": "starts from new weights",
    "amnesiac": "cannot be split over batches",
    "amun": "cannot be split over batches",
    "bad_teacher": "cannot be split over batches",
    "expand(finetune)": "cannot be split over batches",
}


def asks(model, request, **options):
    """[(Request, seed, model given)] of each call of the base, which marks the weights that it passes on."""
    calls = []

    def base(model, request, *, seed, device="auto"):
        calls.append((request, seed, copy.deepcopy(model)))
        moved = copy.deepcopy(model)
        with torch.no_grad():
            next(moved.parameters()).add_(1)
        return moved

    after = rsu(base, model, request, seed=3, device="cpu", **options)
    return calls, after


def keys(samples) -> list[bytes]:
    return [image.numpy().tobytes() + bytes([int(label)]) for image, label in zip(samples.stored, samples.y)]


# --- what the base is asked for ---


def no_batch_is_retained_before_it_is_forgotten(calls, request):
    """Contract: of all that is forgotten, now or later, nothing is ever in the retain set, which is the request's."""
    gone = set(keys(request.forget))
    for asked, _, _ in calls:
        assert not gone & set(keys(asked.retain)) and keys(asked.retain) == keys(request.retain)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("batches", [1, 2, 3, 5, 10])
def test_each_batch_is_forgotten_once_and_none_is_retained(order, batches, models, request_):
    calls, after = asks(models["original"], request_, batches=batches, order=order)
    no_batch_is_retained_before_it_is_forgotten(calls, request_)
    assert len(calls) == batches
    sizes = [len(asked.forget) for asked, _, _ in calls]
    assert max(sizes) - min(sizes) <= 1
    assert sorted(k for asked, _, _ in calls for k in keys(asked.forget)) == sorted(keys(request_.forget))
    assert all(t.validation is request_.validation and t.recipe is request_.recipe for t, _, _ in calls)
    assert calls[0][1] == 3 and len({seed for _, seed, _ in calls}) == batches
    first = next(models["original"].parameters())
    for part, (_, _, given_) in enumerate(calls):  # the weights are carried over
        torch.testing.assert_close(next(given_.parameters()), first + part)
    torch.testing.assert_close(next(after.parameters()), first + batches)


def test_a_later_batch_that_is_retained_is_caught(models, request_):
    calls, _ = asks(models["original"], request_, batches=2)
    leaky = [(calls[1][0], 3, None)]
    leaky[0][0].retain.samples = Samples(*(torch.cat([getattr(request_.retain, n), getattr(request_.forget, n)[:1]])
                                           for n in ("stored", "y")))  # fmt: skip
    with pytest.raises(AssertionError):
        no_batch_is_retained_before_it_is_forgotten(leaky, request_)


@pytest.mark.parametrize("ranker", ["loss", "margin", "entropy"])
def test_the_order_is_that_of_the_ranker(ranker, models, request_):
    risk = rankers[ranker](models["original"], request_, seed=3)
    of = dict(zip(keys(request_.forget), risk.tolist()))
    for order, sign in (("descending", 1), ("ascending", -1)):
        calls, _ = asks(models["original"], request_, batches=5, order=order, ranker=ranker)
        values = [[sign * of[k] for k in keys(asked.forget)] for asked, _, _ in calls]
        assert all(min(a) >= max(b) for a, b in pairwise(values))


def test_what_is_forgotten_already_is_replayed(models, request_):
    for replay, sizes in ((0.0, [4, 3, 3]), (0.5, [4, 5, 7]), (1.0, [4, 7, 10])):
        calls, _ = asks(models["original"], request_, batches=3, order="ascending", replay=replay)
        parts = [set(keys(asked.forget)) for asked, _, _ in calls]
        assert [len(part) for part in parts] == sizes
    assert parts[0] < parts[1] < parts[2]  # all of it


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_a_partition(values, data):
    risk, n = torch.tensor(values).double(), len(values)
    batches, order = data.draw(st.integers(1, n)), data.draw(st.sampled_from(ORDERS))
    parts = partition(risk, n, batches, order, seed=0)
    assert sorted(i for i, _ in parts) == [*range(batches)]
    assert sorted(torch.cat([rows for _, rows in parts]).tolist()) == [*range(n)]
    lengths = [len(rows) for _, rows in parts]
    assert min(lengths) >= 1 and max(lengths) - min(lengths) <= 1
    assert all(rows.tolist() == sorted(rows.tolist()) for _, rows in parts)
    if order != "shuffled":  # strata, whichever comes first
        of = dict(parts)
        assert all(risk[of[i]].max() <= risk[of[i + 1]].min() for i in range(batches - 1))
    assert [i for i, _ in parts] == {
        "descending": [*reversed(range(batches))], "ascending": [*range(batches)],
    }.get(order, [i for i, _ in parts])  # fmt: skip


def test_random_orders_are_of_strata_and_shuffled_ones_are_not():
    risk = torch.arange(12).double()
    strata = {tuple(rows.tolist()) for _, rows in partition(risk, 12, 3, "ascending", 0)}
    partitions = {order: {tuple(tuple(r.tolist()) for _, r in partition(risk, 12, 3, order, s)) for s in range(40)}
            for order in ("random", "shuffled")}  # fmt: skip
    assert len(partitions["random"]) == 6 and all(set(parts) == strata for parts in partitions["random"])  # 3! orders
    assert len(partitions["shuffled"]) == 40 and not any(set(parts) == strata for parts in partitions["shuffled"])
    assert partition(None, 12, 3, "shuffled", 0)


# --- the budget ---


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 12))
def test_after_any_number_of_passes_the_parts_took_what_one_run_takes(n, passes, parts):
    taken = [sum(steps_of_pass(n, p, b, parts) for p in range(passes)) for b in range(parts)]
    assert sum(taken) == n * passes and max(taken) - min(taken) <= 1


def numbered(n: int) -> Samples:
    return Samples(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 6), st.integers(1, 8))
def test_partial_passes(n, size, parts, passes):
    total = 0
    for number, rows in enumerate(torch.arange(n).tensor_split(parts)):
        if not len(rows):
            continue
        part = PartialPass(numbered(n)[rows], n, number, parts)
        relabelled = part.relabelled(part.y + 100).to("cpu")
        batches = [b for p in range(passes) for b in (relabelled if p % 2 else part).batches(size, 0, p)]
        assert part.tally.passes == passes and part.tally.steps == len(batches)
        assert all({int(y) % 100 for y in b.y} <= set(rows.tolist()) and len(b) <= size for b in batches)
        total += len(batches)
    if n >= parts:
        assert total == passes * -(-n // size)


def test_a_partial_pass_alone_is_the_samples():
    samples = numbered(10)
    partial = PartialPass(samples, 10, 0, 1)
    for labels in ((), (1,), ("x", 2)):
        expected, batches = ([b.y.tolist() for b in s.batches(4, 7, *labels)] for s in (samples, partial))
        assert batches == expected
    assert (
        len(partial) == 10
        and partial[2:4].y.tolist() == [2, 3]
        and copy.deepcopy(partial).y.tolist() == samples.y.tolist()
    )


def small(name: str) -> dict:
    """Batches so small that each of five batches has a step on the forget set, with few epochs."""
    has = methods[name].options()
    return {k: v for k, v in {"batch_size": 4, "epochs": 2}.items() if k in has}


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize("batches", [2, 3, 5])
def test_all_batches_take_the_steps_of_the_base_alone(name, batches, models, short_request):
    counts = []
    for entry, options in ((methods[name], {}), (methods[f"rsu({name})"], {"batches": batches})):
        with measure_cost() as cost:
            entry(models["original"], short_request, seed=0, **small(name), **options)
        counts.append(cost.steps)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("name", sorted(m for m in methods if "image" in methods[m].info["domains"]))
def test_one_batch_is_the_base_bit_by_bit(name, models, short_request, class_task):
    whole = methods[name].info["whole_classes"]
    asked = short(request_of(class_task, RECIPE)) if whole else short_request
    options = small(name)
    once = methods[f"rsu({name})"](models["original"], asked, seed=4, batches=1, **options)
    assert same(once, methods[name](models["original"], asked, seed=4, **options))


@pytest.mark.parametrize("name", ["finetune", "l1_sparse"])
def test_what_does_not_read_the_forget_set_knows_no_order(name, models, short_request):
    made = [methods[f"rsu({name})"](models["original"], short_request, seed=4, batches=3, order=o) for o in ORDERS]
    assert all(same(made[0], other) for other in made[1:])


@pytest.mark.parametrize("name", ["random_label", "neggrad_plus", "ssd"])
def test_to_others_the_order_matters(name, models, short_request):
    made = [methods[f"rsu({name})"](models["original"], short_request, seed=4, batches=3, order=o) for o in ORDERS]
    assert not any(same(made[0], other) for other in made[1:])


def test_to_first_order_each_target_is_pushed_as_far_as_by_the_base_alone(request_):
    """The label's bias alone, at its start: with losses that are linear in it the sum of all steps is the one-shot run's."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(10))

        def forward(self, x):
            return self.bias.expand(len(x), 10)

    def push(model, request, *, seed, device="auto", epochs=6):
        moved = copy.deepcopy(model)
        for epoch in range(epochs):
            for batch in request.forget.batches(64, seed, epoch):
                with torch.no_grad():  # minus the gradient of the mean logit of the labels
                    moved.bias -= torch.bincount(batch.y, minlength=10) / len(batch)
        return moved

    whole = push(Linear(), request_, seed=0)
    parts = rsu(push, Linear(), request_, seed=0, batches=2, order="shuffled")
    torch.testing.assert_close(parts.bias, whole.bias)


def test_ranking_is_no_part_of_the_cost(models, request_, monkeypatch):
    def trains(model, request, *, seed, device="auto"):
        """A ranker that fine-tunes before it says anything."""
        return rankers["loss"](methods["finetune"](model, request, seed=seed, epochs=1), request, seed=seed)

    monkeypatch.setitem(rankers._entries, "trains", Entry("ranker", "trains", trains))
    with measure_cost() as cost:
        methods["rsu(finetune)"](models["original"], request_, seed=0, batches=2, epochs=1, ranker="trains")
    with measure_cost() as alone:
        methods["finetune"](models["original"], request_, seed=0, epochs=1)
    assert cost.steps == alone.steps


# --- another method for each stratum ---


def test_refined_strata_have_methods_of_their_own(models, request_):
    """The base forgets the middle stratum, whichever order the strata come in."""
    risk = rankers["loss"](models["original"], request_, seed=3)
    middle = risk.argsort(stable=True).tensor_split(3)[1]
    for order in ("descending", "ascending", "random"):
        calls, _ = asks(models["original"], request_, batches=3, order=order, refine="finetune, base, salun")
        ((asked, _, _),) = calls
        assert sorted(keys(asked.forget)) == sorted(keys(request_.forget[middle]))


def test_methods_of_strata_have_the_budget_of_the_base(models, request_):
    options = {"seed": 0, "batches": 2, "order": "ascending", "epochs": 2, "batch_size": 5, "refine": "base, finetune"}
    with measure_cost() as cost:
        methods["rsu(random_label)"](models["original"], request_, **options)
    forget, retain = (-(-len(samples) // 5) for samples in (request_.forget, request_.retain))
    assert cost.steps == forget + 2 * retain  # the first half of two passes over both, the second half over what stays


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batches": 11}, BadValue, "a forget set of 10 can be cut into 1 to 10 batches, got batches=11"),
        ({"batches": 0}, BadValue, "got batches=0"),
        ({"replay": 1.5}, BadValue, "replay is a share"),
        ({"ranker": "los"}, UnknownName, "Did you mean 'loss'"),
        ({"refine": "finetune, salun"}, BadValue, "refine names 2 methods for 3 batches"),
        ({"refine": "finetune, base, salum"}, UnknownName, "Did you mean 'salun'"),
        ({"refine": "base, base, base", "order": "shuffled"}, BadValue, "has no strata"),
    ],
)
def test_what_cannot_be_is_refused(options, error, message, models, request_):
    with pytest.raises(error, match=message):
        asks(models["original"], request_, **options)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_budget_that_cannot_be_split_is_refused(name, models, request_):
    with pytest.raises(NotApplicable, match=REFUSED[name]):
        methods[f"rsu({name})"](models["original"], request_, seed=0, batches=2)


def test_a_batch_without_a_step_is_refused(models, request_):
    rsu_ = partial(methods["rsu(scrub)"], models["original"], request_, seed=0, max_epochs=2)
    with pytest.raises(NotApplicable, match="fewer steps on the forget set than there are batches"):
        rsu_(batches=3)  # two passes of one batch
    rsu_(batches=3, batch_size=5)
    with pytest.raises(NotApplicable, match="fewer steps on the retain set"):
        rsu_(batches=10, batch_size=240, epochs=1, max_epochs=0)


def test_unsir_is_refused_as_well(models, class_task):
    with pytest.raises(NotApplicable, match="cannot be split over batches"):
        methods["rsu(unsir)"](models["original"], request_of(class_task, RECIPE), seed=0, batches=2)


def test_a_stored_run_depends_on_the_code_of_what_its_options_name(monkeypatch):
    small = {"targets": "random", "n_targets": 6, "train_size": 120, "copies": 0, "recipe": {"epochs": 2}}
    (config,) = config_grid(seeds=1, **small)
    options = {"ranker": "entropy", "refine": "finetune, base, cf_k", "batch_size": 2}
    made = study.unlearn(config, "rsu(random_label)", options, tuned=False)
    named = {"unlearnkit.privacy_risk.output_scores", "unlearnkit.methods.cf_k", "unlearnkit.methods.random_label"}
    assert named <= set(made.artefact.manifest["sources"])
    assert made.artefact.info["steps"] > 0
