"""Influence on one scale: no change of confidence moves it, and nothing is called unlearned that is broken or unmoved."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnkit import figures, study
from unlearnkit.analysis.influence import (
    ARM,
    primary_contrasts,
    residual_influences,
)
from unlearnkit.analysis.matched_controls import is_matched_control, matched_control
from unlearnkit.core.errors import BadValue
from unlearnkit.figures.style import COLOURS, row_colours
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import margin
from unlearnkit.metrics import left_out, metrics
from unlearnkit.metrics.contracts import outputs_from
from unlearnkit.metrics.standardised import exposure, rank_share, standardised
from unlearnkit.tuning import objective

CLASSES, TARGETS, DECOYS = 10, 60, 200


def logits_of(label_lead: float, n: int, seed: int) -> torch.Tensor:
    """Logits of n samples of label 0, whose own is raised by label_lead."""
    logits = torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits[:, 0] += label_lead
    return logits


def influence(measure, change=lambda z: z) -> float:
    """Residual influence of `original`, its logits changed, between itself and `clean`."""
    label = torch.zeros(TARGETS + DECOYS, dtype=torch.long)
    means = {}
    for name, lead in (("original", 6.0), ("clean", 0.0)):
        z = torch.cat([logits_of(lead, TARGETS, 1), logits_of(0.0, DECOYS, 2)])
        for key, version in ((name, z), ("changed", change(z) if name == "original" else z)):
            phi = margin(version, label[: len(version)])
            means.setdefault(key, measure(phi[:TARGETS], phi[TARGETS:]).mean().item())
    return (means["changed"] - means["clean"]) / (means["original"] - means["clean"])


CHANGES = {f"logits / {t}": lambda z, t=t: z / t for t in (0.5, 2, 5)} | {"logits + 7": lambda z: z + 7}


@pytest.mark.parametrize("measure", [standardised, rank_share])
@pytest.mark.parametrize("change", CHANGES)
def test_no_change_of_confidence_moves_it(measure, change):
    assert influence(measure) == 1
    assert influence(measure, CHANGES[change]) == pytest.approx(1, abs=0.1)


def test_the_plain_margin_is_caught():
    def plain(phi, decoys):
        return phi

    def net_of_decoys(phi, decoys):
        return phi - decoys.mean()

    for mutant in (plain, net_of_decoys):
        moved = [abs(influence(mutant, change) - 1) for change in CHANGES.values()]
        assert max(moved) > 0.1


@pytest.mark.parametrize("name", ["influence", "influence-rank", "phi"])
def test_the_registered_metrics_have_no_confidence_in_them(all_outputs, name):
    """And `phi` is there to be caught."""
    at = {model: metrics[name](outputs)["target"] for model, outputs in all_outputs.items()}
    changed = [
        replace(all_outputs["original"], logits=CHANGES[change](all_outputs["original"].logits)) for change in CHANGES
    ]
    moved = [(metrics[name](o)["target"] - at["original"]) / (at["original"] - at["clean"]) for o in changed]
    assert (max(map(abs, moved)) > 0.1) == (name == "phi"), moved


def test_one_decoy_is_no_scale():
    one = outputs_from(torch.randn(3, 2), [0, 1, 0], ["target", "decoy", "test"])
    assert metrics["influence"](one) == {} and "2 decoys" in left_out(one, ["influence"]).why.item()


def test_closed_forms():
    decoys = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    phi = torch.tensor([1.5, 3.0, 9.0], dtype=torch.float64)
    assert rank_share(phi, decoys).tolist() == [0.5, 0.875, 1]
    assert standardised(phi, decoys).tolist() == pytest.approx(((phi - 1.5) / decoys.std()).tolist())
    assert exposure(np.array([0.5, 0.5]), 100) == 1 and exposure(np.ones(3), 128) == 8
    with pytest.raises(BadValue, match="at least 2 decoys"):
        standardised(phi, decoys[:1])


# --- the table ------------------------------------------------------------------------------------------------------

NAMES = {  # method: (score, label given, test accuracy, divergence from the original)
    "original": (5.0, 1.0, 0.9, 0.0),
    "original-again": (5.0, 1.0, 0.9, 0.05),
    "retrain": (2.5, 0.6, 0.9, 0.3),
    "retrain-again": (2.5, 0.6, 0.9, 0.3),
    "clean": (0.0, 0.0, 0.9, 0.4),
    "clean-again": (0.0, 0.0, 0.9, 0.4),
    "noise": (0.0, 0.1, 0.1, 0.6),
    "idle": (5.0, 1.0, 0.9, 0.01),
    "good": (0.0, 0.0, 0.89, 0.4),
}


def table_of(changes=None, seeds=5, n=40, dose=0, sd=0.5, **arm) -> pd.DataFrame:
    rng, rows = np.random.default_rng(dose), []
    strength = 0.3 if dose else 0.0
    arm = dict(zip(ARM, ("canary", "", dose, "block_mask", strength, ""), strict=True)) | arm
    for name, (score, given, accuracy, divergence) in (NAMES | (changes or {})).items():
        for seed in range(seeds):
            s = score + sd * rng.standard_normal(n)
            values = {
                "score": s,
                "rank": 1 / (1 + np.exp(-s)),
                "label_given": given,
                "divergence": divergence,
                "TA": accuracy,
            }
            rows.append(
                pd.DataFrame({"target": np.arange(n) + 1000 * seed, **values}).assign(method=name, seed=seed, **arm)
            )
    models = {"dataset": "digits", "train_size": 640, "architecture": "mlp", "augment": "none", "n_decoys": 200}
    return pd.concat(rows, ignore_index=True).assign(**models)


def row(table: pd.DataFrame, method: str, **where) -> pd.Series:
    fits = table[table.method == method]
    for name, value in where.items():
        fits = fits[fits[name] == value]
    assert len(fits) == 1
    return fits.iloc[0]


def test_the_ends_of_the_scale_and_what_lies_between():
    table = residual_influences(table_of())
    assert row(table, "original").residual_influence == 1 and row(table, "clean").residual_influence == 0
    half = row(table, "retrain")
    assert half.residual_influence_low < 0.5 < half.residual_influence_high < 0.6 and half.verdict == "left"
    assert 0 < half.label_given_low <= half.label_given <= half.label_given_high <= 1
    assert row(table, "good").verdict == "as clean" and row(table, "clean-again").verdict == "as clean"


def test_a_broken_or_an_unmoved_model_is_not_called_unlearned():
    table = residual_influences(table_of())
    noise, idle = row(table, "noise"), row(table, "idle")
    assert noise.residual_influence_low < 0 < noise.residual_influence_high and noise.verdict == "not usable"
    assert idle.verdict == "not moved" and not idle.moved


def test_controls_are_named_as_such_and_the_negative_one_is_in_no_family():
    rows = {"classifier_only": (2.5, 0.6, 0.9, 0.3), "expand(retrain)(near=text top 9 control)": (2.5, 0.6, 0.9, 0.3)}
    table = residual_influences(table_of(rows))
    negative, matched = (row(table, name) for name in rows)
    assert (negative.verdict, matched.verdict) == ("negative control", "matched control")
    assert row(table, "retrain").verdict == "left"  # with the same scores
    family = {"all": {"contrast": "minus_retrain", "method": [*rows, "good"]}}
    assert set(primary_contrasts(table, family).method) == {"expand(retrain)(near=text top 9 control)", "good"}


@pytest.mark.parametrize("wrapped", ["expand(retrain)", "weigh(rsu(npo))"])
@pytest.mark.parametrize(("before", "after"), [("", ""), ("", ", power=2.0"), ("epochs=3, ", ", power=2.0")])
def test_the_matched_control_of_a_search_is_known_by_its_name(wrapped, before, after):
    control = f"{wrapped}({before}near=text top 9 control{after})"
    assert matched_control(f"{wrapped}({before}near=text top 9{after})") == control
    assert is_matched_control(control) and matched_control(control) == ""
    assert not is_matched_control(wrapped) and is_matched_control(matched_control(wrapped))  # of its default search


@pytest.mark.parametrize("options", ["near=text top 9{}", "near=text top 9{}, power=2.0"])
def test_a_search_for_neighbours_is_compared_with_its_matched_control_on_the_same_targets(options):
    search, control = (f"weigh(retrain)({options.format(word)})" for word in ("", " control"))
    scores = table_of({search: (1.0, 0.2, 0.9, 0.4), control: (3.5, 0.7, 0.9, 0.3)})
    table = residual_influences(scores)
    assert (
        row(table, search).minus_control == pytest.approx(-0.5, abs=0.05) and row(table, search).p_minus_control < 0.01
    )
    assert pd.isna(row(table, control).minus_control) and pd.isna(row(table, "good").minus_control)
    family = {"searches": {"contrast": "minus_control", "method": [search, control, "good"]}}
    assert list(primary_contrasts(table, family).method) == [search]
    some = residual_influences(scores[(scores.seed < 3) | ~scores.method.isin([search, control])])
    alone = residual_influences(scores[scores.seed < 3])
    assert row(some, search).minus_control == pytest.approx(row(alone, search).minus_control)


def test_a_model_that_knows_targets_less_than_one_that_never_saw_them_is_below_clean():
    table = residual_influences(table_of({"good": (-3.0, 0.0, 0.9, 0.4)}))
    assert row(table, "good").verdict == "below clean" and row(table, "good").residual_influence_high < 0


def test_an_arm_that_the_original_did_not_learn_has_no_influence():
    table = residual_influences(table_of({"original": (5.0, 0.9, 0.9, 0.0)}))
    assert set(table.verdict) - {"reference"} == {"not learnt"} and table.residual_influence.isna().all()
    facts = residual_influences(table_of({"original": (5.0, 0.9, 0.9, 0.0)}, targets="random"))
    assert set(facts.verdict) - {"reference"} == {"not learnt"}  # nobody guesses them
    guessed = {"original": (5.0, 0.9, 0.9, 0.0), "clean": (0.0, 0.8, 0.9, 0.3)}
    random = residual_influences(table_of(guessed, targets="random"))
    assert random.residual_influence.notna().all()  # whose labels any model may guess


@pytest.mark.parametrize(("given", "learnt"), [(38, True), (37, False)])
def test_a_share_of_exactly_the_bound_is_learnt_as_it_is_stored(given, learnt):
    """In float32 the mean of 38 ones and 2 zeros is below 0.95."""
    scores = table_of(seeds=1)
    stored = scores.label_given.astype("float32")
    own = scores.method == "original"
    scores["label_given"] = stored.mask(own, (scores.target < given).astype("float32"))
    assert residual_influences(scores).learnt.eq(learnt).all()


def test_nothing_to_remove_is_masked():
    table = residual_influences(table_of({"original": (0.0, 1.0, 0.9, 0.0)}))
    assert row(table, "retrain").verdict == "masked" and pd.isna(row(table, "retrain").residual_influence)


def test_where_margin_and_rank_disagree_no_verdict_is_given():
    scores = table_of()
    mine = scores.method == "good"
    scores.loc[mine, "rank"] = 0.9
    assert row(residual_influences(scores), "good").verdict == "depends on the measure"


def test_doses_and_methods_are_compared_paired_and_families_adjusted():
    scores = pd.concat([table_of({"retrain": (0.0, 0.0, 0.9, 0.3)}), table_of(dose=25)])
    table = residual_influences(scores)
    more = row(table, "retrain", copies=25)
    assert more.over_no_copies == pytest.approx(0.5, abs=0.05) and more.p_over_no_copies < 0.01
    assert pd.isna(row(table, "retrain", copies=0).over_no_copies) and pd.isna(more.minus_retrain)
    assert row(table, "good", copies=25).minus_retrain == pytest.approx(-0.5, abs=0.05)
    families = {"all": {"contrast": "over_no_copies", "copies": 25, "method": ["retrain", "good", "noise", "idle"]}}
    contrasts = primary_contrasts(table, families)
    assert set(contrasts.method) == {"retrain", "good"}  # gated rows are not counted
    assert (contrasts.p_adjusted >= contrasts.p).all()
    assert contrasts.set_index("method").p_adjusted["retrain"] == pytest.approx(2 * more.p_over_no_copies)


def test_a_set_that_lacks_a_kind_is_left_to_the_table_and_what_lies_beyond_the_frame_is_marked():
    away = {"retrain": (-25.0, 0.0, 0.9, 0.3)}
    scores = [
        table_of(),
        table_of(dose=25),
        table_of(away, targets="memorised"),
        table_of(dose=25, targets="memorised"),
    ]
    other = pd.concat([table_of(), table_of(dose=25)]).assign(dataset="other")
    table = residual_influences(pd.concat([*scores, other]))
    figure, data = figures.plot_influence(table, {"good": "good"})
    drawn = figure.axes
    assert {axis.get_title() for axis in drawn} >= {"digits (mlp): memorised", "digits (mlp): canary"}
    assert not any("other" in axis.get_title() for axis in drawn) and set(data.dataset) == {"digits", "other"}
    assert sum(line.get_marker() == "v" for line in drawn[0].lines) == 1  # retrain without near-duplicates
    alone, _ = figures.plot_influence(table[table.dataset == "other"], {})
    assert any("other" in axis.get_title() for axis in alone.axes)


def test_a_legend_names_what_only_one_set_has_and_natural_paraphrases():
    """A method that one set lacks has its line explained, too; natural paraphrases have no share of words."""
    natural = {"perturbation": "paraphrase of question", "strength": 0.5}
    second = pd.concat([table_of(), table_of(dose=1).assign(**natural)]).assign(dataset="tofu")
    first = pd.concat([table_of(), table_of(dose=25).assign(**natural)])
    first = first[first.method != "good"]
    figure, _ = figures.plot_influence(
        residual_influences(pd.concat([first, second])), {"good": "a good one"}, kinds=["canary"], **natural
    )
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "a good one" in named and len(named) == len(set(named))
    kinds = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert {"natural, question", "question, 50% other words"} <= set(kinds)


def test_near_duplicates_of_one_kind_have_no_panel_on_the_right():
    figure, _ = figures.plot_influence(
        residual_influences(pd.concat([table_of(), table_of(dose=25)])), {}, kinds=["canary"]
    )
    assert [axis.get_title() for axis in figure.axes] == ["digits (mlp): canary"]


def test_a_row_has_one_colour_in_all_figures():
    some, others = row_colours(["retrain", "influence", "fisher"]), row_colours(["muda", "scrub", "influence"])
    assert some["retrain"] == COLOURS["retrain"] and others["muda"] == COLOURS["muda"]
    assert not {some["influence"], some["fisher"]} & set(COLOURS.values()) and some["influence"] != some["fisher"]
    pair = row_colours(["expand(retrain)(near=text top 9)", "expand(retrain)(near=text top 9 control)", "expand(npo)"])
    assert len(set(pair.values())) == 3  # the last has not the first one's


def test_a_method_measured_on_some_seeds_is_compared_on_these_alone():
    scores = table_of()
    late = scores.seed >= 3
    scores.loc[late, "score"] += 40.0  # whatever the other seeds' models say, originals and clean ones included
    table = residual_influences(scores[~late | (scores.method != "good")])
    alone = residual_influences(scores[~late])
    assert row(table, "good").residual_influence == pytest.approx(row(alone, "good").residual_influence)
    assert row(table, "good").minus_retrain == pytest.approx(row(alone, "good").minus_retrain)
    assert row(table, "good").n_seeds == 3 and row(table, "retrain").n_seeds == 5
    scores.loc[late & (scores.method == "retrain"), "TA"] = 1.0  # of seeds on which the other was not measured
    scores.loc[scores.method == "good", "TA"] = 0.88
    again = residual_influences(scores[~late | (scores.method != "good")])
    assert row(again, "good").usable and not row(residual_influences(scores), "good").usable


def test_seeds_that_differ_widen_the_interval():
    steady = table_of(seeds=5)
    shifted = steady.assign(
        score=steady.score + steady.seed.map({0: -1.5, 1: 1.5, 2: 0, 3: -1, 4: 1}) * (steady.method == "retrain")
    )
    widths = [row(residual_influences(t), "retrain") for t in (steady, shifted)]
    widths = [r.residual_influence_high - r.residual_influence_low for r in widths]
    assert widths[1] > 3 * widths[0]


def test_references_are_needed_and_methods_are_measured_on_the_same_targets():
    scores = table_of()
    with pytest.raises(BadValue, match="clean-again"):
        residual_influences(scores[scores.method != "clean-again"])
    with pytest.raises(BadValue, match="two rows"):
        residual_influences(pd.concat([scores, scores]))
    other = scores.assign(target=scores.target + (scores.method == "good"))
    with pytest.raises(BadValue, match="good was measured on other targets"):
        residual_influences(other)


# --- from models ----------------------------------------------------------------------------------------------------

SMALL = {"arms": [{"targets": "canary", "n_targets": 3, "copies": [0, 10]}], "n_decoys": 30, "train_size": 300}


EPOCHS = {"finetune": {"epochs": 2}}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("memory")
        (home / "notebooks" / "grids").mkdir(parents=True)
        patch.setenv("UNLEARNKIT_HOME", str(home))
        patch.setenv("UNLEARNKIT_CACHE", str(home / "cache"))
        configs = [Config(**SMALL, seed=seed) for seed in (0, 1)]
        scores = study.target_scores(
            configs, ["finetune", ("finetune", {"lr": 0.2})], {"finetune": {"epochs": 2}}, memory="kept", device="cpu"
        )
        yield configs, scores, home


def test_one_row_per_model_and_target(measured):
    _, scores, _ = measured
    assert set(scores.method) == {*study.REFERENCE_ROWS, "finetune", "finetune(lr=0.2)"}
    assert len(scores) == 2 * 8 * 6 and not scores.duplicated(["method", "seed", "target"]).any()
    assert set(map(tuple, scores[ARM].drop_duplicates().to_numpy().tolist())) == {
        ("canary", "", 0, "block_mask", 0.0, ""),
        ("canary", "", 10, "block_mask", 0.3, ""),
    }
    assert scores["rank"].between(0, 1).all() and scores.divergence.between(-1e-9, np.log(2)).all()
    assert (scores[scores.method == "original"].divergence.abs() < 1e-9).all()
    table = residual_influences(scores)
    assert len(table) == 2 * 8 and set(table.n_seeds) == {2} and set(table.n_targets) == {6}


def test_scores_are_kept_and_nothing_is_computed_twice(measured, monkeypatch):
    configs, scores, home = measured
    assert len(list((home / "kept").glob("*.parquet"))) == 2
    monkeypatch.setattr(
        "unlearnkit.study.per_target.train_references", lambda asked, device: asked and pytest.fail("trained")
    )
    monkeypatch.setattr("unlearnkit.study.per_target.unlearn_row", lambda *args, **kwargs: pytest.fail("unlearned"))
    again = study.target_scores(configs, ["finetune"], EPOCHS, memory="kept", device="cpu")
    pd.testing.assert_frame_equal(again, scores[scores.method != "finetune(lr=0.2)"].reset_index(drop=True))
    with pytest.raises(pytest.fail.Exception, match="unlearned"):  # other options are another row
        study.target_scores(configs, ["finetune"], {"finetune": {"epochs": 3}}, memory="kept", device="cpu")


def test_a_damaged_file_of_kept_scores_is_said(measured):
    configs, _, home = measured
    file = next((home / "kept").glob("*seed1*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(BadValue, match="damaged"):
        study.target_scores(configs, memory="kept", device="cpu")
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(BadValue, match="does not hold remembered scores"):
        study.target_scores(configs, memory="kept", device="cpu")
    file.write_bytes(whole)


def test_a_config_of_one_arm_has_no_scores_per_target():
    with pytest.raises(BadValue, match="give the config of digits its `arms`"):
        study.target_scores([Config()])


def test_tuning_prefers_what_removes_influence_and_keeps_the_rest(measured):
    configs, _, _ = measured
    task = objective.mixed_task(study.load_task(configs[0]), ["random"])
    assert {role: len(task.index(role)) for role in ("target", "similar", "decoy", "test")} == {
        "target": 3, "similar": 0, "decoy": 30, "test": 60}  # fmt: skip
    distance = objective.measure(configs[0], "cpu")
    (refs,) = study.references([configs[0]], ["original", "retrain"], device="cpu")
    assert distance(refs["retrain"].load()) == 0
    assert distance(refs["original"].load()) >= 1  # the whole influence
    assert objective.worst(configs[0]) > distance(refs["original"].load())  # diverging is worse than doing nothing
    assert "canaries, memorised images" in objective.goal(configs[0])
    with pytest.raises(BadValue, match="add an arm with copies 0"):
        objective.mixed_task(
            study.load_task(
                Config(arms=[{"targets": "canary", "n_targets": 2, "copies": 1}], n_decoys=5, train_size=100)
            ),
            ["random"],
        )
