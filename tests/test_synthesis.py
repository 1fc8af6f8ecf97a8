"""T9, F14 and T10 against scores whose orders are known."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit import figures
from unlearnkit.analysis import method_ranking as ranking
from unlearnkit.analysis.costs import cost_table
from unlearnkit.analysis.influence import ARM, CONDITION
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.images.config import config_grid
from unlearnkit.runner import grid
from unlearnkit.study import REFERENCE_ROWS, Row
from unlearnkit.study.memory import identity
from unlearnkit.study.rows import resolve_row
from unlearnkit.texts.config import text_config_grid

HERE = dict(zip(CONDITION, ["digits", 640, "mlp", ""])) | dict(zip(ARM, ["canary", "", 25, "block_mask", 0.3, ""]))
REFERENCES = {
    "original": 0.0,
    "original-again": 0.0,
    "retrain": 0.05,
    "retrain-again": 0.06,
    "clean": 1.0,
    "clean-again": 0.99,
}
BETWEEN = {"a": 0.2, "b": 0.4, "c": 0.9}  # the nearer to retrain, the farther from clean


def scores(way: dict[str, float], seeds: int = 3, wobble: float = 0.0, **more) -> pd.DataFrame:
    """Per target: each method is so far on the way from original, 0, to clean, 1, in all that is measured of it; wobble: how
    much `a` differs from seed to seed."""
    rows = []
    for seed in range(seeds):
        for method, value in (REFERENCES | way).items():
            at = value + wobble * seed * (method == "a")
            for target in range(4):
                known = {
                    "target": target,
                    "score": 3 - 3 * at + 0.01 * target,
                    "rank": 1 - at / 2,
                    "label_given": 1 - at,
                }
                whole = {"TA": 0.9 - at / 100, "RA": 0.99 - at / 100, "divergence": at, "n_decoys": 20, "run": "r"}
                rows.append(HERE | {"method": method, "seed": seed} | known | whole)
    return pd.DataFrame(rows).assign(**more)


def test_who_is_near_retrain_is_far_from_clean():
    table = ranking.ranking_table(scores(BETWEEN)).set_index("method")
    assert table.rank_retrain[["a", "b", "c"]].tolist() == [1, 2, 3]
    assert table.rank_clean[["a", "b", "c"]].tolist() == [3, 2, 1]
    assert table.rank_change[["a", "b", "c"]].tolist() == [2, 0, -2]
    assert set(table.index) == {"original", *BETWEEN} and pd.isna(
        table.rank_clean["original"]
    )  # references are in no order
    assert table.gap_clean["b"] == pytest.approx((0.6 + 0.006 + 0.006 + 0.3) / 4)
    found = ranking.orders_table(scores(BETWEEN)).set_index("metric").loc["avg-gap"]
    assert found.tau == -1 and (found.nearest_retrain, found.nearest_clean) == ("a", "c")
    assert (found.n_seeds, found.n_targets, found.n_methods) == (3, 12, 3)


def test_the_order_is_one_where_the_references_are_one():
    everyone = scores(BETWEEN)
    clean = everyone[everyone.method.str.startswith("clean")]
    again = [
        clean.assign(method=clean.method.str.replace("clean", "retrain")),
        everyone[~everyone.method.str.startswith("retrain")],
    ]
    everyone = pd.concat(again, ignore_index=True)
    assert (ranking.orders_table(everyone).tau == 1).all()
    assert (ranking.ranking_table(everyone).rank_change.dropna() == 0).all()


def test_what_is_not_usable_is_in_no_order():
    broken = scores(BETWEEN)
    broken.loc[broken.method == "b", "TA"] = 0.3
    table = ranking.ranking_table(broken).set_index("method")
    assert "b" not in table.index and table.rank_clean[["c", "a"]].tolist() == [1, 2]
    broken.loc[broken.method == "a", "TA"] = 0.3
    with pytest.raises(BadValue, match="no arm has 2 methods"):
        ranking.orders_table(broken)


@pytest.mark.parametrize("name", ["classifier_only", "expand(a)(near=feature top 10 control)", "idle"])
def test_what_is_not_counted_is_in_no_order(name):
    """A negative control, a matched control, and a method that moves the model less than a second training does."""
    with_it = scores(BETWEEN | {name: 0.3, "expand(a)(near=feature top 10)": 0.8})
    if name == "idle":
        with_it.loc[with_it.method == name, "divergence"] = -1.0
    table = ranking.ranking_table(with_it).set_index("method")
    assert pd.isna(table.rank_clean[name]) and table.gap_clean.notna().all()
    assert table.rank_clean[["c", "expand(a)(near=feature top 10)", "b", "a"]].tolist() == [1, 2, 3, 4]
    orders = ranking.orders_table(with_it)
    pd.testing.assert_frame_equal(orders, ranking.orders_table(with_it[with_it.method != name]))


def test_a_method_that_diverged_on_a_seed_keeps_its_place_by_the_others():
    lost = scores(BETWEEN)
    table = ranking.ranking_table(lost[(lost.method != "b") | (lost.seed != 1)]).set_index("method")
    assert table.rank_retrain[["a", "b", "c"]].tolist() == [1, 2, 3]


def test_without_a_reference_it_says_which():
    with pytest.raises(BadValue, match="no row clean"):
        ranking.orders_table(scores(BETWEEN).query("method != 'clean'"))


def test_metrics_agree_as_their_orders_do():
    figure, data = figures.plot_rank_agreement(scores(BETWEEN))
    at = data.set_index(["metric_a", "metric_b", "reference"])
    assert at.tau["FA", "avg-gap", "clean"] == at.tau["TA", "influence", "retrain"] == 1
    assert at.tau["avg-gap", "avg-gap", "both"] == -1
    assert (at.n_seeds == 3).all() and (at.n_conditions == 1).all()
    assert len(data) == 6 * 5 + 6 and figure.axes


def test_images_and_texts_are_ordered_apart_and_stand_in_one_table():
    texts = scores(BETWEEN, dataset="fictional", perturbation="paraphrase of both", architecture="nano_llama")
    texts.loc[texts.method == "c", ["rank", "label_given"]] = 2.0  # beyond original: far from both
    both = pd.concat([scores(BETWEEN), texts], ignore_index=True)
    figure, data = figures.plot_rank_agreement(both)
    same = data[data.reference == "both"].set_index(["domain", "metric_a"]).tau
    assert same["images", "FA"] == -1 and same["texts", "FA"] > -1  # a mean over both would be between
    assert [a.get_title().split("\n")[0] for a in figure.axes[:2]] == ["images", "texts"]
    table = ranking.ranking_table(both).set_index(["dataset", "method"]).rank_retrain
    assert table["digits", "c"] == table["fictional", "c"] == 3


def test_seeds_that_differ_give_an_interval():
    found = ranking.orders_table(scores({"a": 0.35, "b": 0.4, "c": 0.45}, wobble=1.0)).set_index("metric").loc["FA"]
    assert found.tau_low < found.tau_high


def test_tau_is_the_usual_one():
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 20, 7)).astype(float)  # with ties
    expected = [kendalltau(x, y).statistic for x, y in zip(a, b)]
    assert ranking._taus(a, b) == pytest.approx(expected)


def costs(seeds: int = 3) -> pd.DataFrame:
    here = dict(zip(CONDITION_COLUMNS, ["digits", 640, "canary", 25, "block_mask", 0.3, "", "small_cnn"]))
    rows = []
    for seed in range(seeds):
        for name in ("a", "retrain", "clean"):
            cost = {
                "seconds": ("", 2.0 if name == "retrain" else 1.0),
                "steps": ("", 40.0 if name == "retrain" else 10.0),
            }
            cost["RTE"] = ("retrain", 1.0 if name == "retrain" else 0.5)
            for metric, (reference, value) in cost.items():
                of = here | {"seed": seed, "method": name, "run": "r", "group": "all"}
                rows.append(of | {"metric": metric, "reference": reference, "value": value})
    return pd.DataFrame(rows)


def test_costs_are_ratios_to_retraining():
    table = cost_table(costs()).set_index("method")
    assert table.steps_ratio["a"] == 0.25 and table.seconds_ratio["a"] == 0.5 and table.seconds_ratio["retrain"] == 1
    assert "clean" not in table.index and (table.n_seeds == 3).all()
    assert np.allclose(table.seconds_low, table.seconds)


def test_whole_sets_are_ranked_from_what_studies_of_influence_keep():
    """The job of notebook 90 asks for no row that those of notebooks 50 and 54 do not make."""
    asked: dict[str, set] = {}
    for job in grid.load("full", kept=True):
        given = {"methods": [], "options": {}, "text_sets": [], "text_methods": []} | job.parameters
        own = asked.setdefault(job.notebook.stem, set())
        if job.notebook.stem in ("50_dose_response", "54_text_dose_response"):
            grid_of = config_grid if job.notebook.stem.startswith("50") else text_config_grid
            common = {k: given[k] for k in ("arms", "n_decoys", "max_pool_images", "test_size") if k in given}
            own |= identities(given["sets"], grid_of, given["methods"], given["options"], **common)
        elif job.notebook.stem == "90_synthesis":
            own |= identities(given["sets"], config_grid, given["methods"], given["options"])
            own |= identities(given["text_sets"], text_config_grid, given["text_methods"], {})
    assert len(asked["90_synthesis"]) > 300
    assert asked["90_synthesis"] <= asked["50_dose_response"] | asked["54_text_dose_response"]


def identities(sets, grid_of, methods, options, **common) -> set[str]:
    """What a row is kept by, of each config and method of these sets, and of each config's references."""
    found = set()
    for one in sets:
        chosen = [tuple(name) if isinstance(name, list) else name for name in one.get("methods", methods)]
        for config in grid_of(**common | {k: v for k, v in one.items() if k != "methods"}):
            rows = [Row(config, name) for name in REFERENCE_ROWS]
            for name, own in ((item, {}) if isinstance(item, str) else item for item in chosen):
                rows.append(resolve_row(config, name, {**options.get(name, {}), **own}))
            found |= {identity(row) for row in rows}
    return found
