"""Wrappers: the requests that the base gets, the base alone where no neighbour is found, and the published table."""

import copy
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mutants
from conftest import RECIPE
from data_builders.build_task import build_task
from data_builders.task import Samples
from runs import Runs
from unlearnkit import figures, study
from unlearnkit.analysis import mitigations as solutions
from unlearnkit.analysis.matched_controls import matched_control, split
from unlearnkit.core.alignment import alignment, moment, principal
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable, UnknownName
from unlearnkit.core.registry import Entry, Wrapped
from unlearnkit.figures.mitigations import _styles
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.predict import predict
from unlearnkit.images.request import request_of
from unlearnkit.images.tasks import load_task
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import CONTRACTS, input_is_untouched, output_keeps_its_shape, same, seed_decides
from unlearnkit.study.rows import label, resolve_row
from unlearnkit.wrappers import wrappers
from unlearnkit.wrappers.impute import vote
from unlearnkit.wrappers.neighbours import NEAR, Neighbours, Vectors, find, parted
from unlearnkit.wrappers.weigh import drawn

pytestmark = pytest.mark.slow

IMAGES = sorted(name for name in wrappers if "image" in wrappers[name].info["domains"])
AROUND = [name for name in IMAGES if "near" in wrappers[name].options()]  # that look for neighbours
NOTHING, ALL = "pixel above 1", "pixel above -1"
RUNS = Runs()


@pytest.fixture(scope="module")
def duplicated(raw):
    """A task whose similar samples are found exactly, by pixels."""
    return build_task(
        raw,
        targets="canary",
        n_targets=10,
        copies=4,
        perturbation="exact_duplicate",
        strength=0.0,
        train_size=250,
        seed=1,
    )


def asks(name: str, model, request, **options):
    """What a wrapper asks of its base: the Request, and the seed."""
    calls = []

    def base(model, request, *, seed, device="auto"):
        calls.append((request, seed))
        return copy.deepcopy(model)

    wrappers[name](base, model, request, seed=3, device="cpu", **options)
    (call,) = calls
    return call


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", IMAGES)
def test_contract(name, contract, models, request_):
    contract(RUNS.of(methods[f"{name}(finetune)"], contract), models["original"], request_)


@pytest.mark.parametrize("contract", [input_is_untouched, output_keeps_its_shape], ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", IMAGES)
def test_contract_with_running_statistics(name, contract, normed, request_):
    contract(RUNS.of(methods[f"{name}(finetune)"], contract), normed, request_)


@pytest.mark.parametrize("base", ["random_label", "scrub", "neggrad_plus"])
@pytest.mark.parametrize("name", IMAGES)
def test_seeds_decide_around_other_methods(name, base, models, short_request):
    entry = methods[f"{name}({base})"]
    options = {"batch_size": 5} if name == "rsu" else {}  # or scrub would have fewer steps than there are batches
    seed_decides(Entry("method", entry.name, partial(entry, **options), entry.info), models["original"], short_request)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
def test_a_wrapper_does_not_hide_a_broken_base(contract, models, request_):
    if contract.__name__ in ("forget_set_stays_unread", "divergence_is_an_error"):
        pytest.skip("every wrapper reads the forget set, and refuses what is not finite before its base can hide it")
    if contract.__name__ == "prompt_and_padding_never_count":
        pytest.skip("images have no prompts: see test_language_wrappers.py")
    broken, wrapper = mutants.BY_CONTRACT[contract.__name__], wrappers["expand"]
    with pytest.raises(AssertionError):
        contract(Wrapped("method", "expand(broken)", wrapper.function, {}, broken), models["original"], request_)


@pytest.mark.parametrize("base", sorted(methods))
@pytest.mark.parametrize("name", sorted(wrappers))
def test_a_wrapper_goes_around_every_method(name, base):
    """No option of one has the name of another's."""
    entry = methods[f"{name}({base})"]
    assert set(entry.options()) == {*wrappers[name].options(), *methods[base].options()}
    assert set(entry.resolve({})) == set(entry.options())


@pytest.mark.parametrize("name", sorted(wrappers))
def test_every_wrapper_says_where_it_comes_from(name):
    assert wrappers[name].info["source"] and wrappers[name].summary
    hints = wrappers[name].hints()
    for option in wrappers[name].options().values():
        sources = [extra for extra in get_args(hints[option.name])[1:] if isinstance(extra, str)]
        assert option.default is not option.empty and sources, f"{option.name}: no default, or no source of it"


def nothing_found_is_the_base_alone(entry, base, model, request):
    assert not len(find(model, request, NOTHING))
    after = entry(model, request, seed=5, device="cpu", near=NOTHING)
    assert same(after, base(model, request, seed=5, device="cpu"))


@pytest.mark.parametrize("base", ["finetune", "random_label"])
@pytest.mark.parametrize("name", AROUND)
def test_nothing_found_is_the_base_alone(name, base, models, request_):
    nothing_found_is_the_base_alone(methods[f"{name}({base})"], methods[base], models["original"], request_)


def test_a_wrapper_that_steps_all_the_same_is_caught(models, request_):
    def steps(base, model, request, *, seed, device="auto", near: str = NOTHING):
        return base(base(model, request, seed=seed, device=device), request, seed=seed, device=device)

    entry = Wrapped("method", "steps(finetune)", steps, {}, methods["finetune"])
    with pytest.raises(AssertionError):
        nothing_found_is_the_base_alone(entry, methods["finetune"], models["original"], request_)


@pytest.mark.parametrize("name", AROUND)
def test_to_take_all_is_refused(name, models, request_):
    options = {"power": 0.0} if name == "weigh" else {}
    with pytest.raises(BadValue, match="all 240 retained samples were found to be neighbours"):
        asks(name, models["original"], request_, near=ALL, **options)
    with pytest.raises(BadValue, match="at most 240 are possible"):
        asks(name, models["original"], request_, near="feature top 241")


# --- expand ---


def test_expand_around_retrain_trains_on_no_near_duplicate_where_neighbours_are_found(duplicated, models):
    request = request_of(duplicated, RECIPE)
    asked, seed = asks("expand", models["original"], request, near="pixel above 1")
    assert asked.retain.digest() == duplicated.of("filler").digest() and seed == 3
    assert asked.forget.digest() == duplicated.of("target", "similar").digest()
    assert asked.validation is request.validation and asked.recipe is request.recipe


def test_expand_moves_and_neither_loses_nor_relabels(models, request_):
    asked, _ = asks("expand", models["original"], request_)
    neighbours = find(models["original"], request_)
    assert 0 < len(neighbours) == len(asked.forget) - len(request_.forget)
    whole, before = (r.forget.joined(r.retain) for r in (asked, request_))

    def sorted_rows(samples):
        return sorted(map(tuple, torch.cat([samples.x.flatten(1), samples.y[:, None]], 1).tolist()))

    assert sorted_rows(whole) == sorted_rows(before)


# --- weigh ---


def test_weigh_without_a_power_is_expand_and_with_a_large_one_the_base(models, request_):
    for power, other in ((0.0, partial(asks, "expand")), (1e6, lambda model, request: (request, 3))):
        asked, expected = (
            asks("weigh", models["original"], request_, power=power)[0],
            other(models["original"], request_)[0],
        )
        for name in ("forget", "retain"):
            assert getattr(asked, name).digest() == getattr(expected, name).digest()


def draws_by_the_power_of_similarity(draw):
    n = 20_000
    for similarity, power, chance in ((0.5, 2.0, 0.25), (0.9, 4.0, 0.6561), (1.0, 9.0, 1.0), (-0.5, 1.0, 0.0)):
        neighbours = Neighbours(torch.arange(n), torch.full((n,), similarity, dtype=torch.float64))
        kept = draw(neighbours, power, seed=0)
        spread = (n * chance * (1 - chance)) ** 0.5
        assert abs(len(kept) - n * chance) <= 5 * spread  # five standard deviations
        assert kept.tolist() == sorted(set(kept.tolist()))
    half = Neighbours(torch.arange(50), torch.full((50,), 0.5, dtype=torch.float64))
    assert torch.equal(draw(half, 1.0, seed=1), draw(half, 1.0, seed=1))
    assert not torch.equal(draw(half, 1.0, seed=1), draw(half, 1.0, seed=2))


def test_weigh_draws_by_the_power_of_similarity():
    draws_by_the_power_of_similarity(drawn)


def test_a_draw_that_ignores_the_power_is_caught():
    with pytest.raises(AssertionError):
        draws_by_the_power_of_similarity(lambda neighbours, power, seed: drawn(neighbours, 1.0, seed))


def control_takes_as_many_as_were_drawn(weigh, model, request):
    """Label by label; at power 0, where all that is found is drawn, it is the control of `expand`."""
    near, stays = "feature+label top 10", lambda model, request, **_: request
    found = find(model, request, near)
    for seed in (0, 1, 2):
        by_chance, matched = (
            weigh(stays, model, request, seed=seed, near=near + word, power=20.0).forget[len(request.forget) :]
            for word in ("", " control")
        )
        assert 0 < len(by_chance) < len(found) and by_chance.digest() != matched.digest()
        assert sorted(by_chance.y.tolist()) == sorted(matched.y.tolist())
    pair = (
        w(stays, model, request, seed=0, near=f"{near} control", **o)
        for w, o in ((weigh, {"power": 0.0}), (wrappers["expand"], {}))
    )
    assert len({asked.forget.digest() for asked in pair}) == 1


def test_the_control_of_weigh_takes_as_many_as_were_drawn(models, request_):
    control_takes_as_many_as_were_drawn(wrappers["weigh"], models["original"], request_)


def test_a_control_that_is_drawn_by_its_own_similarity_is_caught(models, request_):
    """As many as are found, of which few are near enough to be drawn."""

    def weigh(base, model, request, *, seed, near, power):
        close, rest = parted(request.retain, drawn(find(model, request, near), power, seed))
        return base(model, replace(request, forget=request.forget.joined(close), retain=rest), seed=seed)

    with pytest.raises(AssertionError):
        control_takes_as_many_as_were_drawn(weigh, models["original"], request_)


@pytest.mark.parametrize("power", [-1.0, float("nan"), float("inf")])
def test_weigh_refuses_a_power_that_is_none(power, models, request_):
    with pytest.raises(BadValue, match="power is 0 or more"):
        asks("weigh", models["original"], request_, power=power)


# --- impute ---


def test_a_vote_by_hand():
    """Of 4 voters on a line: those nearest, by angle, to the first axis are 0, 1, 2."""
    voters = Vectors(torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1, 0.1], [1, 0.2], [0, 1]]).double()))
    asked, labels = Vectors(torch.tensor([[1.0, 0.0], [0, 1]]).double()), torch.tensor([7, 5, 5, 1])
    assert vote(asked, voters, labels, 1).tolist() == [7, 1]
    assert vote(asked, voters, labels, 2).tolist() == [7, 1]  # a tie: the nearest
    assert vote(asked, voters, labels, 3).tolist() == [5, 5]
    assert vote(Vectors(asked.vectors[:0]), voters, labels, 3).tolist() == []
    with pytest.raises(BadValue, match="at most 4 are possible"):
        vote(asked, voters, labels, 5)


def test_impute_gives_canaries_copies_their_true_label_by_pixels_and_keeps_all_else(duplicated, models):
    request = request_of(duplicated, RECIPE)
    options = {"near": "pixel above 1", "votes_by": "pixel"}
    asked, _ = asks("impute", models["original"], request, **options)
    assert asked.forget.digest() == request.forget.digest()
    assert torch.equal(asked.retain.stored, request.retain.stored)
    changed, similar = asked.retain.y != request.retain.y, torch.arange(240) < 40
    assert not changed[~similar].any() and changed[similar].double().mean() > 0.9
    again, _ = asks("impute", models["clean"], request, **options)
    assert torch.equal(again.retain.y, asked.retain.y)  # the model has no say


def test_impute_needs_as_many_voters_as_it_asks_for(models, request_):
    with pytest.raises(BadValue, match="at least 1 and at most"):
        asks("impute", models["original"], request_, voters=239)
    with pytest.raises(BadValue, match="got 0"):
        asks("impute", models["original"], request_, voters=0)


# --- align ---


def aligned_share(model, request):
    """DA of targets and neighbours in the main directions of the others, by the features of `model`."""
    neighbours = find(model, request)
    others = torch.ones(len(request.retain), dtype=torch.bool)
    others[neighbours.index] = False
    push = request.forget.joined(request.retain[neighbours.index])
    push, rest = (predict(model, s.stored)[1] for s in (push, request.retain[others]))
    return alignment(push, principal(moment(rest))).item()


def test_align_aligns(models, request_):
    original = models["original"]
    stays = Entry("method", "stays", lambda model, request, *, seed, device="auto": copy.deepcopy(model))
    entry = Wrapped("method", "align(stays)", wrappers["align"].function, {}, stays)
    before, after = aligned_share(original, request_), []
    for weight in (0.0, 10.0):
        after.append(aligned_share(entry(original, request_, seed=0, align_weight=weight), request_))
    assert after[1] > max(after[0], before)


def test_what_align_pushes_leaves_no_trace_in_running_statistics(normed, request_):
    """The forget set is white noise a hundred times as bright."""
    bright = replace(request_, forget=Samples(100 * request_.forget.x, request_.forget.y))
    stays = lambda model, request, *, seed, device="auto": copy.deepcopy(model)  # noqa: E731
    align = wrappers["align"].function
    after = align(stays, normed, bright, seed=0, align_epochs=1, align_lr=1e-6, align_weight=1e-6)
    plain = methods["finetune"](normed, request_, seed=0, epochs=1, lr=1e-6)
    pairs = zip(after.buffers(), plain.buffers(), strict=True)
    assert all(torch.allclose(a, b, rtol=0.2, atol=0.05) for a, b in pairs if a.is_floating_point())


def test_align_says_that_its_base_left_nothing_to_align(models, request_):
    def dead(model, request, *, seed, device="auto"):
        model = copy.deepcopy(model)
        with torch.no_grad():
            for p in model.body[-2].parameters():
                p.zero_()
        return model

    with pytest.raises(NonFiniteLoss, match="all features are 0"):
        wrappers["align"](dead, models["original"], request_, seed=0)


def test_a_wrapper_of_two_with_the_same_option_is_refused():
    with pytest.raises(BadValue, match="have an option near"):
        methods["expand(align(finetune))"]


# --- the table ---

SMALL = {"targets": "canary", "n_targets": 5, "train_size": 120, "copies": 8, "recipe": {"epochs": 16, "lr": 0.1}}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Scores and T4 of a tiny study."""
    folder = tmp_path_factory.mktemp("solutions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_CACHE", str(folder / "cache"))
        patch.setenv("UNLEARNKIT_TUNED", str(folder / "tuned"))
        also = [{"wrapper": "expand", "near": near} for near in ("feature+label top 8", f"{NEAR} control")]
        scores = solutions.mitigation_scores(
            config_grid(seeds=3, **SMALL), solutions.wrapped_methods(["finetune"], ["expand", "impute"], also)
        )
    return scores, solutions.mitigations_table(scores)


def test_t4_has_a_row_for_each_base_and_wrapper(table):
    scores, t4 = table
    searches = [f"expand(finetune)(near={near})" for near in (f"{NEAR} control", "feature+label top 8")]
    named = ["finetune", "expand(finetune)", *searches, "impute(finetune)"]
    assert t4.method.tolist() == ["original", *named, "clean", "clean-again"]
    assert t4.base.tolist()[1:6] == ["finetune"] * 5
    assert t4.wrapper.tolist()[1:6] == ["", "expand", "expand", "expand", "impute"]
    assert t4.options.tolist()[4] == "near=feature+label top 8" and set(t4.n_seeds) == {3}
    rows = t4.set_index("method")
    assert (
        rows.influence_removed["original"] == 0
        and rows.influence_removed["clean"] == 1
        and rows.neighbour_cost["original"] == 0
    )
    assert not rows.pareto_optimal[["original", "clean", "clean-again"]].any() and rows.pareto_optimal[named].any()
    assert (t4.influence_removed_low.dropna() <= t4.influence_removed[t4.influence_removed_low.notna()]).all()
    assert t4.learnt.eq(True).all()
    assert rows.minus_control.notna().sum() == 1  # beside the default search alone stands its control
    difference = rows.influence_removed[searches[0]] - rows.influence_removed["expand(finetune)"]
    assert rows.minus_control["expand(finetune)"] == pytest.approx(difference)
    truth = scores[scores.metric == solutions.TRUE]
    assert set(truth.method) == set(t4.method) and truth.run.str.len().eq(20).all()


@pytest.mark.parametrize(
    ("method", "control"),
    [
        ("expand(retrain)", "expand(retrain)(near=feature+label top 10 control)"),
        ("weigh(scrub)(power=2.0)", "weigh(scrub)(near=feature+label top 10 control, power=2.0)"),
        ("impute(retrain)(votes_by=pixel)", "impute(retrain)(near=feature+label top 10 control, votes_by=pixel)"),
        ("weigh(scrub)(lr=0.1, power=2.0)", "weigh(scrub)(lr=0.1, near=feature+label top 10 control, power=2.0)"),
        ("expand(npo)(near=text top 9)", "expand(npo)(near=text top 9 control)"),
        ("expand(npo)(near=text top 9 control)", ""),
        ("diversify(npo)", ""),  # it searches for nothing
        ("retrain", ""),
        ("scrub(max_epochs=3)", ""),
    ],
)
def test_the_control_of_a_row_is_the_same_around_random_samples(method, control):
    assert matched_control(method) == control
    if control:
        base, options = split(control)["base"], split(control)["options"]
        chosen = dict(part.split("=") for part in options.split(", "))
        chosen |= {name: float(chosen[name]) for name in ("power", "lr") if name in chosen}
        name = f"{split(control)['wrapper']}({base})"
        assert resolve_row(Config(), name, chosen).label == control  # as the score table names it


def test_f6_draws_what_it_returns(table):
    figure, data = figures.plot_mitigations(table[1])
    assert (
        len(figure.axes) == 1
        and len(data) == 8
        and {"influence_removed", "neighbour_cost", "pareto_optimal"} <= set(data)
    )
    renamed = [table[1].assign(wrapper=table[1].wrapper.replace("impute", f"w{i}"), targets=f"t{i}") for i in range(12)]
    figure, _ = figures.plot_mitigations(pd.concat(renamed))  # more wrappers than colours, a row of panels each
    assert len(figure.axes) == 12
    masked = table[1].assign(influence_removed=np.nan, influence_removed_low=np.nan, influence_removed_high=np.nan)
    figure, _ = figures.plot_mitigations(masked)
    assert "residual influence\nis masked" in [text.get_text() for text in figure.axes[0].texts]


def test_a_control_has_the_marker_of_its_search_and_a_paler_colour():
    rows = [("", ""), ("expand", ""), ("expand", f"near={NEAR} control"), ("impute", "votes_by=pixel")]
    rows += [("impute", f"near={NEAR} control, votes_by=pixel"), ("expand", "near=pixel top 1")]
    styles = _styles(pd.DataFrame(rows, columns=["wrapper", "options"]))
    own, control = styles["expand"], styles[f"expand, near={NEAR} control"]
    assert own[1] == control[1] != styles["expand, near=pixel top 1"][1] and sum(control[0]) > sum(own[0])
    assert styles["impute, votes_by=pixel"][1] == styles[f"impute, near={NEAR} control, votes_by=pixel"][1]


def test_a_method_that_diverged_on_a_seed_is_not_on_the_front(table):
    scores, t4 = table
    (name, *_) = t4.method[t4.pareto_optimal]
    lost = (scores.method == name) & (scores.seed == 0)
    extra = scores[lost].iloc[:1].assign(metric="diverged", group="all", reference="", value=1.0)
    again = solutions.mitigations_table(pd.concat([scores[~lost], extra])).set_index("method")
    assert again.n_diverged[name] == 1 and again.n_seeds[name] == 2
    assert not again.pareto_optimal[name] and again.pareto_optimal.any()


def test_a_control_that_diverged_on_a_seed_is_compared_on_the_others(table):
    scores, t4 = table
    name = f"expand(finetune)(near={NEAR} control)"
    gone = scores.method == name
    lost = gone & (scores.seed == 0)
    fewer = solutions.mitigations_table(scores[~lost]).set_index("method").loc["expand(finetune)"]
    alone = solutions.mitigations_table(scores[scores.seed > 0]).set_index("method").loc["expand(finetune)"]
    assert fewer.n_seeds == 3 and fewer.minus_control_n == 2 and "minus_control_n" not in t4
    assert fewer.minus_control == pytest.approx(alone.minus_control)
    nowhere = solutions.mitigations_table(pd.concat([
        scores[~gone], scores[gone].assign(metric="diverged", group="all", reference="", value=1.0).drop_duplicates("seed")
    ])).set_index("method")  # fmt: skip
    assert nowhere.learnt.eq(True).all() and pd.isna(nowhere.minus_control["expand(finetune)"])


def test_true_labels_are_those_of_the_raw_images():
    (config,) = config_grid(seeds=1, **SMALL)
    task, true = load_task(config), solutions.true_labels(config)
    wrong = task.index("target", "similar", "decoy")
    assert (true[wrong] != task.y[wrong]).all()
    right = task.index("filler", "test", "validation")
    assert torch.equal(true[right], task.y[right])


def test_rows_are_checked_before_anything_runs():
    assert solutions.wrapped_methods(["retrain"], ["weigh"], [{"wrapper": "expand", "near": "pixel top 1"}]) == [
        ("retrain", {}),
        ("weigh(retrain)", {}),
        ("expand(retrain)", {"near": "pixel top 1"}),
    ]
    own = {"wrapper": "expand", "near": "pixel top 1", "bases": ["npo"]}
    assert solutions.wrapped_methods(["retrain", "npo"], [], [own])[2:] == [("expand(npo)", {"near": "pixel top 1"})]
    for bases, around, also, error, message in (
        (["retrian"], [], [], UnknownName, "Did you mean 'retrain'"),
        (["retrain"], ["expnd"], [], UnknownName, "Did you mean 'expand'"),
        (["retrain"], [], [{"wrapper": "expand", "nr": "x"}], UnknownName, "Did you mean 'near'"),
        (["retrain"], [], [{"wrapper": "expand", "near": "pixel tap 1"}], UnknownName, "Did you mean 'top'"),
        (["retrain"], [], [{"wrapper": "weigh", "power": "1"}], BadValue, "must be float"),
    ):
        with pytest.raises(error, match=message):
            solutions.wrapped_methods(bases, around, also)


@pytest.mark.parametrize("method", ["finetune", "clean-again", "expand(scrub)", "finetune(lr=0.1)"])
@pytest.mark.parametrize("options", [{}, {"near": "pixel top 3", "power": 2.0}])
def test_a_label_is_taken_apart_as_it_was_made(method, options):
    found = solutions.split(label(method, options) if "=" not in method else method)
    assert found["base"] == {"expand(scrub)": "scrub", "finetune(lr=0.1)": "finetune"}.get(method, method)
    assert found["wrapper"] == ("expand" if "expand" in method else "")
    assert found["options"] == ("lr=0.1" if "=" in method else "near=pixel top 3, power=2.0" if options else "")


def test_the_front_by_hand():
    v = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.4, 0.5], [1, 0], [np.nan, 2]])
    assert solutions.pareto_front(v).tolist() == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]  # equals do not dominate each other
    assert solutions.pareto_front(np.array([[3.0]])).tolist() == [True]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_nothing_dominates(points):
    expected = [
        not any(all(b >= a for a, b in zip(p, q)) and q != p for q in points) for p in points
    ]  # at least as good in all, and not the same
    assert solutions.pareto_front(np.array(points)).tolist() == expected


def test_a_wrapped_method_runs_with_the_bases_tuned_values(tmp_path, monkeypatch):
    (config,) = config_grid(seeds=1, **SMALL)
    monkeypatch.setattr("unlearnkit.methods.tuned_options.values", lambda *a: {"epochs": 1})
    made = study.unlearn(config, "expand(finetune)")
    assert made.artefact.manifest["params"]["options"]["epochs"] == 1
    assert made.key != study.unlearn(config, "finetune").key
    with pytest.raises(NotApplicable, match="whole classes"):
        study.unlearn(config, "expand(unsir)", tuned=False)
