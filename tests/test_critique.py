"""Candidate metrics, the order they put methods in, and the negative controls: closed forms, and tiny configs."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from unlearnkit import study
from unlearnkit.analysis import metric_distances as critique
from unlearnkit.analysis.metric_agreement import control_detection, kendall, metric_agreement, rankable, spearman
from unlearnkit.analysis.metric_distances import (
    CANDIDATE_METRICS,
    ENSEMBLE_DISTANCES,
    ensemble_distances,
    metric_distances,
)
from unlearnkit.analysis.tables import BACKDOOR_COLUMNS, backdoor_table
from unlearnkit.core.errors import BadValue
from unlearnkit.figures import plot_metric_agreement, plot_metrics_by_layer
from unlearnkit.images.config import Config, config_grid
from unlearnkit.metrics import metrics
from unlearnkit.metrics.ensembles import histogram_kl
from unlearnkit.study import reference_models as references
from unlearnkit.study import unlearned_models as unlearned

pytestmark = pytest.mark.slow

SMALL = {"train_size": 120, "recipe": {"epochs": 8, "batch_size": 32, "lr": 0.1}}
VALUES = st.lists(st.integers(0, 6), min_size=3, max_size=9)


# --- order ---


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9), st.integers(1, 8))
def test_tau_and_spearman_are_scipys(seed, n, levels):
    a, b = np.random.default_rng(seed).integers(levels + 1, size=(2, n)).astype(float)
    once = np.ones((1, n))
    for ours, theirs in ((kendall, kendalltau), (spearman, spearmanr)):
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert ours(a, b, once)[0] == 0
        else:
            assert ours(a, b, once)[0] == pytest.approx(theirs(a, b).statistic)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 8))
def test_a_weight_is_how_often_a_method_is_drawn(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, n))
    weights = rng.multinomial(n, np.full(n, 1 / n), size=1)
    pairs = [(i, j) for i, j in itertools.permutations(np.repeat(np.arange(n), weights[0]), 2) if i != j]
    if pairs:
        signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in pairs]
        assert kendall(a, b, weights)[0] == pytest.approx(np.mean(signs))
    drawn = np.repeat(np.arange(n), weights[0])
    ranks = [v.argsort().argsort()[drawn] for v in (a, b)]
    if len(set(drawn)) > 1:
        assert spearman(a, b, weights)[0] == pytest.approx(np.corrcoef(ranks)[0, 1])


def test_a_method_without_a_value_is_in_no_pair():
    a, b = np.array([1.0, 2, 3, np.nan]), np.array([1.0, 2, 3, 0])
    once = np.ones((1, 4))
    assert kendall(a, b, once)[0] == kendall(b, a, once)[0] == pytest.approx(1)
    assert spearman(a, b, once)[0] == pytest.approx(1)


def table(orders: dict[str, list[float]], true: list[float], seeds=(0, 1, 2), making=2.0) -> pd.DataFrame:
    """Distances as of distance_table: metric -> distance of methods m0, m1, ..., the same on every seed."""
    rows = []
    for seed in seeds:
        halves = {f"{h} half of {t}": true for t in ENSEMBLE_DISTANCES for h in ("first", "second")}
        known = orders | dict.fromkeys(ENSEMBLE_DISTANCES, true) | halves
        for metric, values in known.items():
            for method, value in zip((*(f"m{i}" for i in range(len(true))), "retrain", "initial"), (*values, 0.0, 9.0)):
                of = {"method": method, "metric": metric, "distance": value, "method_seconds": making, "run": "k"}
                rows.append(Config(seed=seed).columns() | of | {"seconds": 0.5, "n_models": 8})
    return pd.DataFrame(rows)


def test_agreement_of_the_same_and_of_the_reversed_order():
    true = [1.0, 2, 3, 4, 5]
    found = metric_agreement(table({"UA": true, "LP": true[::-1], "DA": [7.0] * 5, "U-LiRA": true}, true))
    of = found[found.ensemble_distance == "KLoM on all"].set_index("metric")
    assert of.tau.to_dict() == {"UA": 1, "LP": -1, "DA": 0, "U-LiRA": 1, "half of KLoM": 1}
    assert of.loc["LP", ["spearman", "tau_low", "tau_high"]].tolist() == [-1, -1, -1]
    assert set(found.n_seeds) == {3} and set(found.n_methods) == {
        5
    }  # neither what is retrained nor what was never trained
    assert of.n_models_trained.to_dict() == {"UA": 1, "LP": 1, "DA": 1, "U-LiRA": 15, "half of KLoM": 7}
    assert of.cost_seconds["UA"] == 2.5 and of.cost_seconds["U-LiRA"] == 15 * 2 + 7 * 2 + 0.5
    one = metric_agreement(table({"UA": true}, true, seeds=[0]))
    assert one.tau_low.isna().all() and set(one.n_seeds) == {1}
    with pytest.raises(BadValue, match="no KLoM"):
        metric_agreement(table({"UA": true}, true)[lambda t: t.metric == "UA"])


def test_the_interval_holds_what_it_should():
    rng = np.random.default_rng(0)
    true = list(rng.random(12))
    noisy = pd.concat([table({"UA": list(true + rng.normal(0, 0.3, 12))}, true, [s]) for s in range(5)])
    row = metric_agreement(noisy).query("metric == 'UA'").iloc[0]
    assert row.tau_low < row.tau < row.tau_high and 0.05 < row.tau_high - row.tau_low < 1.2


# --- controls ---


def test_a_control_is_flagged_where_it_is_beyond_the_floor():
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(5):
        floor = {"UA": 0.1 + 0.01 * rng.random(), "LP": 0.1 + 0.1 * rng.random()}
        far = {"UA": floor["UA"] + 0.5 + 0.01 * rng.random(), "LP": floor["LP"] + 0.1 * rng.normal()}
        for metric in ("UA", "LP"):
            distances = {"retrain": floor, "classifier_only": far, "scrub": dict.fromkeys(floor, 0.3)}
            for method, values in distances.items():
                of = {"method": method, "metric": metric, "distance": values[metric], "run": "k"}
                rows.append(Config(seed=seed).columns() | of)
    found = control_detection(pd.DataFrame(rows)).set_index("metric")
    assert found.detected.to_dict() == {"UA": True, "LP": False}
    assert found["rank"]["UA"] == 2 and set(found.n_methods) == {2} and set(found.n_seeds) == {5}
    assert found.excess_over_noise_floor["UA"] == pytest.approx(0.5, abs=0.02)
    single = control_detection(pd.DataFrame(rows)[lambda t: t.seed == 0])
    assert single.detected.isna().all() and set(single.n_seeds) == {1}
    with pytest.raises(BadValue, match="no row 'retrain'"):
        control_detection(pd.DataFrame(rows)[lambda t: t.method != "retrain"])


# --- distances ---


def test_the_retrained_model_is_at_no_distance_from_itself(all_outputs):
    found = metric_distances(all_outputs["retrain"], all_outputs)
    assert found.distance.abs().max() < 1e-9 and set(found.metric) <= set(CANDIDATE_METRICS)
    other = metric_distances(all_outputs["original"], all_outputs).set_index("metric")
    assert other.distance["UA"] > 0.3 and other.distance["ToW"] == 1 - other.value["ToW"]
    ua = [metrics["UA"](all_outputs[m])["target"] for m in ("original", "retrain")]
    assert other.value["UA"] == ua[0] and other.reference_value["UA"] == ua[1]
    assert (other.seconds >= 0).all() and other.metric_family.notna().all()


def test_ensemble_distance_is_klom_and_halves_share_no_model():
    models, retrained = (torch.randn(12, 9, generator=torch.Generator().manual_seed(s)) + s for s in (0, 1))
    rows = {"target": torch.arange(3), "filler": torch.arange(3, 6), "test": torch.arange(6, 9)}
    found = ensemble_distances(models, retrained, rows).set_index("metric").distance
    klom = histogram_kl(models, retrained)
    assert found["KLoM on targets"] == pytest.approx(klom[:3].mean().item())
    assert found["KLoM on all"] == pytest.approx(klom.mean().item())
    changed = models.clone()
    changed[1::2] += 5
    moved = ensemble_distances(changed, retrained, rows).set_index("metric").distance
    assert moved["first half of KLoM on all"] == found["first half of KLoM on all"]
    assert moved["second half of KLoM on all"] != found["second half of KLoM on all"]
    lost = models.clone()
    lost[4] = torch.nan
    assert set(ensemble_distances(lost, retrained, rows).n_models) == {11}


def test_distances_of_a_grid_and_nothing_is_made_twice(monkeypatch):
    grid = config_grid(seeds=2, targets="class", copies=0, **SMALL)
    names = ["original", "initial", "retrain", "classifier_only", "gradient_ascent", "cmf_head"]
    found = critique.distance_table(grid, names, 4)
    assert set(found.method) == set(names) - {"cmf_head"}  # which has no meaning for classes
    assert {"UA", "DA", "relearn", "U-LiRA", *ENSEMBLE_DISTANCES} <= set(found.metric)
    assert found.distance.notna().all() and (found.distance >= 0).all() and found.run.str.len().eq(20).all()
    assert rankable(found.method.unique()) == ["original", "classifier_only", "gradient_ascent"]
    same = found[found.method.isin(["original", "classifier_only"]) & found.metric.isin(["DA", "CKA", "LP"])]
    assert same.groupby(["metric", "seed"]).distance.nunique().eq(1).all()  # the control's features are the original's
    floor = found[(found.method == "retrain") & found.metric.isin(ENSEMBLE_DISTANCES)].distance.max()
    assert floor < found[(found.method == "initial") & found.metric.isin(ENSEMBLE_DISTANCES)].distance.min()
    for module, name in ((references, "_train"), (unlearned, "_warm_up"), (critique, "_outputs")):
        monkeypatch.setattr(module, name, None)
    pd.testing.assert_frame_equal(critique.distance_table(grid, names, 4), found)
    assert len(metric_agreement(found)) == 2 * (
        found.metric.isin([*CANDIDATE_METRICS, "U-LiRA"]).groupby(found.metric).any().sum() + 1
    )


def test_a_method_that_diverged_has_a_row_that_says_so(monkeypatch):
    (config,) = config_grid(seeds=1, targets="tenth", copies=0, **SMALL)
    real = study.model(config, "finetune")
    object.__setattr__(real.artefact, "manifest", real.artefact.manifest | {"info": {"diverged": "finetune: no"}})
    monkeypatch.setattr(critique, "model_of_row", lambda *a, **k: real)
    found = critique.distance_table([config], ["finetune"])
    assert found.metric.tolist() == ["diverged"]


# --- figures and tables ---


def test_f8_shows_each_metric_once_in_each_panel_and_the_best_on_top():
    true = [1.0, 2, 3, 4, 5]
    found = table({"LP": true[::-1], "UA": true, "DA": [7.0] * 5}, true)
    both = pd.concat([found, found.assign(targets="tenth")])
    figure, data = plot_metric_agreement(metric_agreement(both))
    *panels, cost = figure.axes
    assert len(panels) == 2 and len(data) == 2 * 2 * 4
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["UA", "DA", "LP"]
    assert len(cost.collections) == 1 and cost.get_xscale() == "log"
    filled = [line for line in panels[0].lines if line.get_marker() == "o"]
    assert sorted(float(line.get_xdata()[0]) for line in filled) == [-1, -1, 0, 0, 1, 1]
    single = metric_agreement(table({"UA": true}, true, seeds=[0]))
    assert plot_metric_agreement(single)[1].tau_low.isna().all()  # one seed: dots without lines


def test_f8_layers_has_a_panel_for_each_condition_and_metric():
    values = {"group": "test", "reference": "", "layer": "body", "mean": 0.5, "low": 0.4, "high": 0.6, "n_seeds": 3}
    rows = [
        {**Config(targets=t).columns(), "method": m, "metric": k, "depth": d, **values}
        for t, m, k, d in itertools.product(("class", "tenth"), ("original", "retrain"), ("DA", "LP", "ES"), (1, 2))
    ]
    figure, data = plot_metrics_by_layer(pd.DataFrame(rows), [("DA", "test", ""), ("LP", "test", "")])
    assert len(figure.axes) == 4 and len(data) == 16 and set(data.metric) == {"DA", "LP"}


def test_t7_stands_between_original_and_clean():
    grid = config_grid(seeds=2, targets="backdoor", n_targets=8, copies=[0, 1], **SMALL)
    scores = study.scores(grid, [*study.BASELINES, "retrain", "ssd"], metrics=["ASR", "TA", "RA", "avg-gap", "RTE"])
    found = backdoor_table(scores)
    assert found.method.tolist() == ["original", "retrain", "ssd", "clean", "clean-again"] * 2
    assert (
        set(BACKDOOR_COLUMNS) <= set(found)
        and found[["ASR", "TA"]].notna().all(axis=None)
        and set(found.n_seeds) == {2}
    )
