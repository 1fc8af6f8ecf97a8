"""T9, F14 and T10 against scores whose orders are known."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit import figures
from unlearnkit.analysis import method_ranking as synthesis
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS

HERE = dict(zip(CONDITION_COLUMNS, ["digits", 640, "canary", 25, "block_mask", 0.3, "", "small_cnn"]))


def scores(gaps: dict[str, tuple[float, float]], seeds: int = 3, wobble: float = 0.0) -> pd.DataFrame:
    """Scores of methods whose average gaps to retrain and to clean are given, the same on each seed but for a `wobble` in
    turn; phi is the gap to clean, so that |phi - clean's| orders as it does."""
    rows = []
    everyone = gaps | {"original": (0.0, 0.9), "retrain": (0.01, 0.8), "clean": (0.8, 0.0), "clean-again": (0.8, 0.01)}
    for seed in range(seeds):
        for name, pair in everyone.items():
            of = {**HERE, "seed": seed, "method": name, "run": "r"}
            for reference, gap in zip(("retrain", "clean"), pair):
                moved = gap + wobble * seed * (name == "a")
                rows.append(of | {"metric": "avg-gap", "reference": reference, "group": "all", "value": moved})
            rows.append(of | {"metric": "phi", "reference": "", "group": "target", "value": pair[1]})
            cost = {"seconds": ("", 2.0 if name == "retrain" else 1.0), "steps": ("", 40 if name == "retrain" else 10)}
            cost["RTE"] = ("retrain", 1.0 if name == "retrain" else 0.5)
            for metric, (reference, value) in cost.items():
                rows.append(of | {"metric": metric, "reference": reference, "group": "all", "value": float(value)})
    return pd.DataFrame(rows)


REVERSED = {"a": (0.1, 0.7), "b": (0.2, 0.6), "c": (0.3, 0.5)}


def test_who_is_near_retrain_is_far_from_clean():
    table = synthesis.ranking_table(scores(REVERSED)).set_index("method")
    assert table.rank_retrain[["original", "a", "b", "c"]].tolist() == [1, 2, 3, 4]
    assert table.rank_clean[["original", "a", "b", "c"]].tolist() == [4, 3, 2, 1]
    assert table.rank_change[["original", "a", "b", "c"]].tolist() == [3, 1, -1, -3]
    assert table.rank_clean[["retrain", "clean", "clean-again"]].isna().all()  # references are in no order
    found = synthesis.orders_table(scores(REVERSED)).set_index("metric").loc["avg-gap"]
    assert found.tau == -1 and (found.nearest_retrain, found.nearest_clean) == ("original", "c")
    assert (found.n_seeds, found.n_methods) == (3, 4)


def test_the_order_is_one_where_the_references_are_one():
    alike = {name: (gap, gap) for name, (gap, _) in REVERSED.items()}
    everyone = scores(alike)
    everyone.loc[everyone.method.isin(["original"]) & (everyone.metric == "avg-gap"), "value"] = 0.9
    assert synthesis.orders_table(everyone).set_index("metric").tau["avg-gap"] == 1
    assert (synthesis.ranking_table(everyone).rank_change.dropna() == 0).all()


def test_one_seed_has_no_interval_and_a_method_that_diverged_no_place():
    table = synthesis.ranking_table(scores(REVERSED, seeds=1)).set_index("method")
    assert table.rank_change_low.isna().all() and table.rank_change["a"] == 1
    lost = scores(REVERSED)
    gone = (lost.method == "b") & (lost.seed == 1)
    row = lost[gone].iloc[0].to_dict() | {"metric": "diverged", "reference": "", "group": "all", "value": 1.0}
    table = synthesis.ranking_table(pd.concat([lost[~gone], pd.DataFrame([row])])).set_index("method")
    assert table.n_diverged["b"] == 1 and table.n_seeds["b"] == 2
    assert table.rank_retrain["c"] == pytest.approx((4 + 3 + 4) / 3)


def test_a_distance_is_to_what_the_metric_calls_best_or_to_the_row_itself():
    far = synthesis.reference_distances(scores(REVERSED)).set_index(["metric", "reference", "method", "seed"]).distance
    assert far["avg-gap", "retrain", "b", 0] == pytest.approx(0.2)
    assert far["residual influence", "clean", "b", 0] == pytest.approx(0.6) and far[
        "residual influence", "retrain", "b", 0
    ] == pytest.approx(0.2)
    of = scores(REVERSED).query("metric == 'phi'")
    zrf = synthesis.reference_distances(pd.concat([scores(REVERSED), of.assign(metric="ZRF", reference="initial")]))
    zrf = zrf[zrf.metric == "ZRF"].set_index(["reference", "method", "seed"]).distance
    assert zrf["clean", "b", 0] == pytest.approx(0.6) and zrf["retrain", "b", 0] == pytest.approx(0.2)
    with pytest.raises(BadValue, match="no row clean"):
        synthesis.reference_distances(scores(REVERSED).query("method != 'clean'"))


def test_metrics_agree_as_their_orders_do():
    figure, data = figures.plot_rank_agreement(scores(REVERSED))
    at = data.set_index(["metric_a", "metric_b", "reference"])
    assert at.tau["avg-gap", "residual influence", "clean"] == 1  # phi was made so
    assert at.tau["avg-gap", "avg-gap", "both"] == -1
    assert (at.n_seeds == 3).all() and (at.n_conditions == 1).all()
    assert len(data) == 2 + 2 and figure.axes


def test_images_and_texts_are_ordered_apart_and_stand_in_one_table():
    texts = scores({name: (gap, gap) for name, (gap, _) in REVERSED.items()}).assign(
        dataset="fictional", perturbation="paraphrase of both", architecture="nano_llama"
    )
    texts.loc[(texts.method == "original") & (texts.metric == "avg-gap"), "value"] = 0.9
    both = pd.concat([scores(REVERSED), texts[texts.metric != "phi"]], ignore_index=True)
    figure, data = figures.plot_rank_agreement(both)
    same = data[data.reference == "both"].set_index(["domain", "metric_a"]).tau
    assert same["images", "avg-gap"] == -1 and same["texts", "avg-gap"] == 1  # a mean over both would be 0
    assert ("texts", "residual influence") not in same and [a.get_title().split("\n")[0] for a in figure.axes[:2]] == [
        "images",
        "texts",
    ]
    table = synthesis.ranking_table(both).set_index(["dataset", "method"]).rank_change
    assert table["digits", "a"] == 1 and table["fictional", "a"] == 0
    assert set(synthesis.cost_table(both).dataset) == {"digits", "fictional"}


def test_seeds_that_differ_give_an_interval():
    found = synthesis.orders_table(scores(REVERSED, wobble=0.3)).set_index("metric").loc["avg-gap"]
    assert -1 < found.tau < 1 and found.tau_low < found.tau < found.tau_high


def test_costs_are_ratios_to_retraining():
    table = synthesis.cost_table(scores(REVERSED)).set_index("method")
    assert table.steps_ratio["a"] == 0.25 and table.seconds_ratio["a"] == 0.5 and table.seconds_ratio["retrain"] == 1
    assert "clean" not in table.index and (table.n_seeds == 3).all()
    assert np.allclose(table.seconds_low, table.seconds)
