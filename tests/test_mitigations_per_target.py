"""T4-text: mitigations by scores per target, each search beside its matched control, with gates before the front."""

import numpy as np
import pandas as pd
import pytest

from test_influence import row, table_of
from unlearnkit import figures
from unlearnkit.analysis.influence import residual_influences
from unlearnkit.analysis.matched_controls import matched_control
from unlearnkit.analysis.mitigations import wrapped_methods
from unlearnkit.analysis.mitigations_per_target import target_mitigations_table
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import mean_interval
from unlearnkit.runner import grid
from unlearnkit.study.rows import label
from unlearnkit.texts.config import text_config_grid

SEARCH, CONTROL = (f"weigh(retrain)(near=text top 9{word})" for word in ("", " control"))
KNOWN, DIVERSE, BARE = "expand(retrain)(near=text top 25)", "diversify(good)", "expand(retrain)(near=feature top 9)"
ROWS = {  # method: (score, label given, test accuracy, divergence from the original), as in test_influence
    SEARCH: (1.0, 0.2, 0.9, 0.4),
    CONTROL: (2.0, 0.4, 0.9, 0.4),
    KNOWN: (0.0, 0.0, 0.9, 0.4),
    DIVERSE: (-2.0, 0.0, 0.9, 0.4),
    BARE: (2.0, 0.4, 0.9, 0.4),
}
LOST = {
    SEARCH: 0.1,
    CONTROL: 0.2,
    KNOWN: 0.0,
    DIVERSE: 0.3,
    BARE: 0.3,
    "clean": 0.6,
    "noise": 0.0,
}  # on near-duplicates


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    arms = {"perturbation": "paraphrase of both", "targets": "random"}
    table = pd.concat([table_of(ROWS, n=15, dose=dose, **arms) for dose in (0, 25)], ignore_index=True)
    return table.assign(RA_similar=0.8 - table.method.map(LOST).fillna(0) - 0.01 * table.seed * table.method.isin(LOST))


@pytest.fixture(scope="module")
def t4(scores) -> pd.DataFrame:
    return target_mitigations_table(scores, copies=25, strength=0.3)


def test_numbers_are_those_of_the_main_table(scores, t4):
    of_arm = residual_influences(scores)
    of_arm = of_arm[of_arm.copies == 25]
    assert sorted(t4.method) == sorted(of_arm.method) and not t4.method.duplicated().any()
    for name in (SEARCH, "retrain", "good"):
        own, main = row(t4, name), row(of_arm, name)
        assert own.influence_removed == pytest.approx(1 - main.residual_influence)
        assert (own.influence_removed_low, own.influence_removed_high) == pytest.approx(
            (1 - main.residual_influence_high, 1 - main.residual_influence_low)
        )
        assert own.influence_removed_rank_low == pytest.approx(1 - main.residual_influence_rank_high)
        assert (own.verdict, own.label_given, own.n_targets) == (main.verdict, main.label_given, main.n_targets)
    pair = row(t4, SEARCH), row(of_arm, SEARCH)
    assert pair[0].minus_control == pair[1].minus_control == pytest.approx(-0.2, abs=0.05)
    assert pair[0].p_minus_control == pair[1].p_minus_control < 0.01


def test_the_cost_is_that_of_seeds_with_their_interval(t4):
    expected = mean_interval([0.1 + 0.01 * seed for seed in range(5)])
    cost = row(t4, SEARCH)[["neighbour_cost", "neighbour_cost_low", "neighbour_cost_high"]]
    assert cost.tolist() == pytest.approx([expected["mean"], expected["low"], expected["high"]])
    assert row(t4, "original").neighbour_cost == 0 == row(t4, "retrain").neighbour_cost_high


def test_every_row_says_what_it_is_held_against(t4):
    said = t4.set_index("method").matched_control
    assert said[SEARCH] == "measured" and said[CONTROL] == "is one" and said[BARE] == "not measured"
    assert said[DIVERSE] == "none: it looks for no neighbours" and said["retrain"] == said["clean"] == ""
    assert t4.set_index("method").number_known.to_dict() == {m: m == KNOWN for m in t4.method}


def test_the_front_counts_only_what_may_be_called_unlearned(scores, t4):
    """`good` removes all at no cost; `noise` does, too, and is broken; so does the search that knows the number."""
    assert set(t4.method[t4.pareto_optimal]) == {"good"}
    without = target_mitigations_table(scores[scores.method != "good"], copies=25, strength=0.3)
    assert set(without.method[without.pareto_optimal]) == {"retrain", SEARCH}
    lost = without[without.method == SEARCH].index
    some = scores[(scores.method != "good") & ~((scores.method == SEARCH) & (scores.seed == 0))]
    fewer = target_mitigations_table(some, copies=25, strength=0.3)
    assert fewer.n_seeds[lost].item() == 4 and not fewer.pareto_optimal[lost].item()


def test_the_figure_draws_what_it_returns_and_leaves_gated_rows_grey(t4):
    figure, data = figures.plot_mitigations(t4)
    assert [axis.get_title().split("\n")[0] for axis in figure.axes] == ["retrain", "good", "idle", "noise"]
    assert len(data) == len(t4) and {"usable", "verdict", "number_known", "influence_removed_high"} <= set(data)
    retrained, broken = figure.axes[0], figure.axes[3]
    assert "0.6" in [line.get_color() for line in broken.lines] and "0.6" not in [
        line.get_color() for line in retrained.lines
    ]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "not usable, or not moved" in labels and "weigh, near=text top 9 control" in labels


def test_masked_influence_is_on_no_front(scores):
    flat = scores.assign(score=np.where(scores.method == "original", 0.0, scores.score))
    table = target_mitigations_table(flat, copies=25, strength=0.3)
    assert table.influence_removed.isna().all() and not table.pareto_optimal.any()


def test_a_dose_that_no_arm_has_is_refused(scores):
    with pytest.raises(BadValue, match="no arm has targets with 25 near-duplicates of strength 0.5"):
        target_mitigations_table(scores, copies=25, strength=0.5)


@pytest.mark.parametrize("profile", ["smoke", "small", "full"])
def test_the_grids_take_the_models_of_the_dose_response(profile):
    """Of the whole texts the rows, too, which are then kept ones."""
    by_notebook: dict[str, list] = {}
    for job in grid.load(profile):
        if "T3" in job.makes or "T4-text" in job.makes:
            by_notebook.setdefault(job.notebook.stem[:2], []).append(job.parameters)
    (dose,), (mitigations,) = by_notebook["54"], by_notebook["55"]
    configs = [
        {
            c
            for one in given["sets"]
            for c in text_config_grid(**shared(given) | {k: one[k] for k in one if k != "methods"})
        }
        for given in (dose, mitigations)
    ]
    assert configs[1] and configs[1] <= configs[0]
    assert dose.get("memory") == mitigations.get("memory")
    if profile == "full":
        wanted = wrapped_methods(mitigations["bases"], mitigations["wrappers"], mitigations["variants"])
        there = {label(*((m, {}) if isinstance(m, str) else m)) for m in dose["methods"]}
        assert {label(*pair) for pair in wanted} - {"retrain"} <= there


def shared(given: dict) -> dict:
    return {name: given[name] for name in ("n_decoys", "test_size", "seeds") if name in given}


@pytest.mark.parametrize(("profile", "table"), [("small", "T4"), ("small", "T4-text"), ("full", "T4-text")])
def test_every_search_of_the_grids_has_its_control(profile, table):
    (given,) = [job.parameters for job in grid.load(profile) if table in job.makes]
    names = {label(*pair) for pair in wrapped_methods(given["bases"], given["wrappers"], given["variants"])}
    alone = {name for name in names if (control := matched_control(name)) and control not in names}
    assert not {name for name in alone if "align_weight=0.0" not in name}  # itself the control of align's own part
