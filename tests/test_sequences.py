"""Sequences against one-shot: the scores of one model in closed form, and T8 and F13 over a tiny grid."""

from dataclasses import replace
from math import exp

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnkit import figures
from unlearnkit.analysis import forgetting_order, order_tables
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.core.statistics import mean_interval
from unlearnkit.images.config import config_grid
from unlearnkit.methods import methods
from unlearnkit.privacy_risk.subset_models import SubsetOutputs

pytestmark = pytest.mark.slow

SMALL = {"targets": "random", "n_targets": 6, "train_size": 120, "copies": 0, "recipe": {"epochs": 6, "lr": 0.1}}
FAST = {"epochs": 2, "batch_size": 3}
BASES = ["finetune", "random_label", "amnesiac"]


# --- one model ---


def shadows(n: int, inside_mean: float = 2.0, outside_mean: float = -2.0) -> SubsetOutputs:
    """Two models with and two without each sample, phi one apart on both sides: means as given, variance 2."""
    inside = torch.tensor([True, True, False, False])[:, None].expand(4, n)
    apart = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:, None]
    phi = torch.where(inside, inside_mean, outside_mean) + apart
    return SubsetOutputs(phi, phi > 0, inside)


def test_membership_by_hand():
    """Equal variances s^2 = 2: the log ratio is (mean_in - mean_out) (phi - the middle) / s^2."""
    phi = torch.tensor([0.0, 1.0, -0.5, 30.0], dtype=torch.float64)
    found = forgetting_order.membership(shadows(4), phi)
    assert found.tolist() == pytest.approx([1 / (1 + exp(-4 * v / 2)) for v in phi.tolist()])
    raised = forgetting_order.membership(shadows(4, 3.0, 1.0), phi)
    assert raised.tolist() == pytest.approx([1 / (1 + exp(-2 * (v - 2) / 2)) for v in phi.tolist()])


def test_membership_needs_models_on_both_sides():
    seen = shadows(2)
    inside = seen.inside.clone()
    inside[2:, 1] = True
    with pytest.raises(BadValue, match="sample 1 is out of 0 of 4"):
        forgetting_order.membership(replace(seen, inside=inside), torch.zeros(2))


@pytest.mark.parametrize("n", [1, 3, 10, 11])
def test_strata_are_thirds_by_risk(n):
    risk = torch.randperm(n, generator=torch.Generator().manual_seed(n)).double()
    parts = forgetting_order.strata(risk)
    assert list(parts) == ["low", "middle", "high"] and sorted(torch.cat([*parts.values()]).tolist()) == [*range(n)]
    sizes = [len(p) for p in parts.values()]
    assert max(sizes) - min(sizes) <= 1
    assert torch.cat([risk[p] for p in parts.values()]).diff().ge(0).all()


def value(table, metric, stratum="all") -> float:
    return table.set_index(["metric", "stratum"]).value[metric, stratum]


def test_a_model_is_no_distance_from_itself(all_outputs):
    seen, parts = shadows(10), forgetting_order.strata(torch.arange(10).double())
    table = forgetting_order.strata_scores(all_outputs["retrain"], [all_outputs["retrain"]] * 3, seen, parts)
    assert [value(table, m) for m in ("ToW", "ToW-MIA")] == [1.0, 1.0]
    gaps = table[table.metric.str.endswith("-gap")]
    assert len(gaps) == 3 * 4 and (gaps.value == 0).all()


def test_gaps_by_hand(all_outputs):
    """Against two models: one that is the same, and one whose phi on the targets is 1 less and which is wrong on three."""
    original = all_outputs["original"]
    rows = original.rows("target")
    logits = original.logits.clone()
    logits[rows, original.labels[rows]] -= 1.0  # phi is linear in the label's logit
    other = replace(original, logits=logits)
    vars(other).pop("correct", None)
    seen, parts = shadows(len(rows)), forgetting_order.strata(torch.arange(len(rows)).double())
    table = forgetting_order.strata_scores(original, [original, other], seen, parts)
    assert value(table, "phi-gap") == pytest.approx(0.5, abs=1e-5)
    assert [value(table, "phi-gap", s) for s in forgetting_order.STRATA] == pytest.approx([0.5] * 3, abs=1e-5)
    member = forgetting_order.membership(seen, original.phi[rows]) - forgetting_order.membership(seen, other.phi[rows])
    assert value(table, "LiRA-gap") == pytest.approx(member.abs().mean().item() / 2)
    lost = (original.correct[rows] - other.correct[rows])[parts["low"]].mean().item()
    assert value(table, "FA-gap", "low") == pytest.approx(lost / 2)
    assert value(table, "FA") == original.correct[rows].mean() and value(table, "TA") > 0.5


# --- over a grid ---


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_CACHE", str(folder / "cache"))
        patch.setenv("UNLEARNKIT_TUNED", str(folder / "tuned"))
        options = {"finetune": FAST, "random_label": {**FAST, "lr": 0.05}}
        scores = forgetting_order.order_scores(config_grid(seeds=2, **SMALL), BASES, [1, 2, 3], options=options)
        again = forgetting_order.order_scores(config_grid(seeds=2, **SMALL), BASES, [1, 2, 3], options=options)
    pd.testing.assert_frame_equal(scores, again)
    return scores, order_tables.order_table(scores)


def test_t8_has_a_row_for_each_base_order_and_number_of_batches(made):
    t8 = made[1]
    assert len(t8) == 2 + len(BASES) * (1 + 2 * 4) and t8.run.str.len().gt(0).all()
    of = t8.set_index(["base", "order", "batches"])
    floor, original = of.loc[("", "retrain", 0)], of.loc[("", "original", 0)]
    assert floor.n_seeds == original.n_seeds == 2 and 0 < floor.ToW <= 1 and original.FA > 0.5
    refused = t8[(t8.base == "amnesiac") & (t8.order != "one-shot")]
    assert (refused.n_refused == 2).all() and (refused.n_seeds == 0).all() and refused.ToW.isna().all()
    ran = t8[t8.base.isin(["finetune", "random_label"])]
    assert set(ran.n_seeds) == {2} and not ran.n_refused.any() and not ran.n_diverged.any()
    assert ran.groupby("base").steps.nunique().eq(1).all()  # one budget, in any order and number of batches


def test_differences_are_paired_and_of_a_base_without_order_the_same(made):
    scores, t8 = made
    plain = t8[(t8.base == "finetune") & t8.order.isin(forgetting_order.ORDERS)]
    assert plain.groupby("batches").tow_minus_one_shot.nunique().eq(1).all()
    one = scores[(scores.metric == "phi-gap") & (scores.stratum == "all") & (scores.base == "random_label")]
    by_seed = one.set_index(["order", "batches", "seed"]).value.sort_index()
    expected = mean_interval(by_seed["descending", 3] - by_seed["one-shot", 1])
    row = t8.set_index(["base", "order", "batches"]).loc[("random_label", "descending", 3)]
    found = [row.phi_gap_minus_one_shot, row.phi_gap_minus_one_shot_low, row.phi_gap_minus_one_shot_high]
    assert found == pytest.approx([expected["mean"], np.nan, np.nan], nan_ok=True)  # two seeds have no interval
    apart = order_tables.order_contrasts(scores).set_index(["batches", "metric", "base"])
    both = mean_interval(by_seed["descending", 3] - by_seed["ascending", 3])
    assert apart.difference[3, "phi_gap", "random_label"] == pytest.approx(both["mean"])
    assert apart.difference[3, "phi_gap", "all"] == pytest.approx(both["mean"])  # finetune knows no order
    assert apart.difference[3, "phi_gap", "finetune"] == 0 and apart.n_seeds[3, "phi_gap", "all"] == 2


def test_what_diverged_is_in_no_mean(made):
    scores, _ = made
    lost = (scores.base == "random_label") & (scores.order == "random") & (scores.batches == 2) & (scores.seed == 0)
    marked = scores[lost].iloc[:1].assign(metric="diverged", stratum="all", value=1.0)
    row = order_tables.order_table(pd.concat([scores[~lost], marked])).set_index(["base", "order", "batches"])
    found = row.loc[("random_label", "random", 2)]
    assert found.n_diverged == 1 and found.n_seeds == 1
    assert pd.isna(found.tow_minus_one_shot_low) and not pd.isna(found.tow_minus_one_shot)


def test_f13_draws_what_it_returns(made):
    figure, data = figures.plot_forgetting_order(made[1])
    assert len(figure.axes) == 2 * len(BASES) and len(data) == len(made[1])
    lines = figure.axes[1].containers  # random_label's ToW: one line per order, from one-shot on
    assert len(lines) == 4 and all(len(line[0].get_xdata()) == 3 for line in lines)
    assert all(len(line[0].get_xdata()) == 1 for line in figure.axes[2].containers)  # amnesiac: one-shot alone


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"retrains": 2}, BadValue, "at least 3 retrained models, got retrains=2"),
        ({"ranker": "lira_separatio"}, UnknownName, "Did you mean 'lira_separation'"),
        ({"bases": ["scrb"]}, UnknownName, "Did you mean 'scrub'"),
        ({"orders": ["up"]}, BadValue, "option 'order'"),
        ({"options": {"scrub": {"lrr": 1.0}}}, UnknownName, "Did you mean 'lr'"),
    ],
)
def test_names_are_checked_before_anything_runs(change, error, message, monkeypatch):
    monkeypatch.setattr(forgetting_order, "train_references", lambda *a: pytest.fail("something ran"))
    asked = {"bases": ["scrub"], "batches": [3], "orders": ["ascending"]} | change
    with pytest.raises(error, match=message):
        forgetting_order.order_scores(config_grid(seeds=1, **SMALL), **asked)


def test_more_batches_than_targets_are_refused():
    asked = {"bases": ["finetune"], "batches": [7], "orders": ["ascending"], "options": {"finetune": FAST}}
    with pytest.raises(BadValue, match="a forget set of 6 can be cut into 1 to 6 batches, got batches=7"):
        forgetting_order.order_scores(config_grid(seeds=1, **SMALL), **asked)
    assert methods["rsu(finetune)"].resolve({})["ranker"] == "loss"
