import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unlearnkit.analysis.tables import protocols_table
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import (
    CONDITION_COLUMNS,
    bounds,
    interval_columns,
    mean_interval,
    ratio_interval,
    residual_influence,
    shown,
    summarise,
    unbroken,
)


def scores(values, metric="influence", seeds=4):
    config = dict(zip(CONDITION_COLUMNS, ["digits", 640, "canary", 5, "block_mask", 0.3, "", "mlp"], strict=True))
    rows = [
        {**config, "method": m, "seed": s, "metric": metric, "group": "target", "reference": "", "value": v[s]}
        for m, v in values.items()
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def test_a_t_interval_over_seeds():
    v = [1.0, 2.0, 4.0]
    expected = stats.t.interval(0.95, 2, loc=np.mean(v), scale=stats.sem(v))
    found = mean_interval(v)
    assert (found["low"], found["high"], found["n"]) == (pytest.approx(expected[0]), pytest.approx(expected[1]), 3)


def test_one_seed_has_no_interval():
    assert mean_interval([0.5]) == {"mean": 0.5, "low": None, "high": None, "n": 1}
    table = summarise(scores({"original": [0.5]}, seeds=1), {"s": ("influence", "target", "")})
    assert shown(table).s.tolist() == [unbroken("0.50 (n = 1, no interval)")]
    published = table.assign(s_low="", s_high="")  # as columns without any number are read
    assert shown(published).s.tolist() == shown(table).s.tolist()


def test_a_column_with_fewer_seeds_says_so():
    both = pd.concat([scores({"a": [1.0] * 4}), scores({"a": [2.0] * 4}, "MIA-loss").query("seed == 0")])
    columns = {"s": ("influence", "target", ""), "MIA_loss": ("MIA-loss", "target", "")}
    table = summarise(both, columns)
    assert table.n_seeds.tolist() == [4] and table.MIA_loss_n.tolist() == [1] and "s_n" not in table
    texts = {"s": unbroken("1.00 [1.00, 1.00]"), "MIA_loss": unbroken("2.00 (n = 1, no interval)")}
    assert len(texts["s"].split(" ")) == 1  # no line breaks there
    assert shown(table).iloc[0].to_dict() == texts | {"n_seeds": 4, "n_diverged": 0}
    assert "MIA_loss_n" not in summarise(both[both.seed == 0], columns)


def test_fieller_covers_the_true_ratio():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        b = rng.normal(10, 1, 6)
        a = 0.4 * b + rng.normal(0, 1, 6)
        found = ratio_interval(a, b)
        hits += found["low"] <= 0.4 <= found["high"]
    assert 0.92 <= hits / 400 <= 0.98


def test_a_ratio_over_noise_is_masked():
    found = ratio_interval([1.0, 1.2, 0.9], [0.1, -0.2, 0.05])
    assert found["mean"] is found["low"] is found["high"] is None
    assert ratio_interval([2.0], [4.0]) == {"mean": 0.5, "low": None, "high": None, "n": 1}


def test_residual_influence_is_one_for_original_and_zero_for_clean():
    rng = np.random.default_rng(0)
    noise = lambda: rng.normal(0, 0.3, 4)  # noqa: E731
    table = residual_influence(scores({"original": 5 + noise(), "clean": -5 + noise(), "retrain": noise()}))
    found = table.residual_influence.droplevel(CONDITION_COLUMNS)
    assert found["original"] == pytest.approx(1) and found["clean"] == pytest.approx(0)
    assert found["retrain"] == pytest.approx(0.5, abs=0.1)
    low, high = (
        table[f"residual_influence_{side}"].droplevel(CONDITION_COLUMNS)["retrain"] for side in ("low", "high")
    )
    assert low < found["retrain"] < high
    assert set(table.n_seeds) == {4}


def test_residual_influence_over_noise_is_masked_for_a_method_of_which_one_seed_is_left_too():
    table = scores({"original": [1.0, -1.0, 1.5, -1.2], "clean": [0.0] * 4, "lost": [0.5] * 4})
    table = table[(table.method != "lost") | (table.seed == 0)]
    assert residual_influence(table).residual_influence.isna().all()


def test_what_the_original_has_not_learnt_has_no_residual_influence():
    """A target that `original` does not give its label cannot be forgotten; a random one that `clean` guesses may be."""
    shifts = {"original": [5.0, 5.1, 4.9], "clean": [-5.0, -5.1, -4.9], "retrain": [0.0, 0.1, -0.1]}
    influence = scores(shifts, seeds=3)
    for given, guessed, kind, learnt in (
        (0.95, 0.0, "canary", True),
        (0.94, 0.0, "canary", False),
        (0.94, 0.6, "canary", False),
        (0.94, 0.4, "random", False),
        (0.94, 0.6, "random", True),
    ):
        accuracy = scores({"original": [given] * 3, "clean": [guessed] * 3}, "accuracy", seeds=3)
        table = residual_influence(pd.concat([influence, accuracy]).assign(targets=kind))
        assert table.learnt.eq(learnt).all() and table.residual_influence.notna().eq(learnt).all()
    assert residual_influence(influence).learnt.all()  # no accuracy, no gate
    clean_alone = scores({"clean": [0.0] * 3}, "accuracy", seeds=3)
    assert residual_influence(pd.concat([influence, clean_alone])).learnt.all()
    bound = scores({"original": [float(np.float32(0.95))] * 3}, "accuracy", seeds=3)  # as records keep it
    assert residual_influence(pd.concat([influence, bound])).learnt.all()


@pytest.mark.parametrize(("told", "learnt"), [(1.0, True), (0.5, False)])
def test_of_texts_what_is_learnt_is_the_fact_and_not_its_tokens(told, learnt):
    influence = scores({"original": [5.0, 5.1, 4.9], "clean": [-5.0, -5.1, -4.9]}, seeds=3)
    tokens = scores({"original": [0.9] * 3, "clean": [0.6] * 3}, "accuracy", seeds=3)
    facts = scores({"original": [told] * 3, "clean": [0.0] * 3}, "fact-accuracy", seeds=3)
    table = residual_influence(pd.concat([influence, tokens, facts]).assign(targets="random"))
    assert table.learnt.eq(learnt).all()


def test_residual_influence_less_another_is_paired_by_seed():
    """The spread that two methods share is no part of the interval of their difference."""
    shared = np.array([0.0, 2.0, -2.0, 1.0])
    both = {"good": -1 + shared, "control": 1 + shared}
    table = scores({"original": np.full(4, 5.0), "clean": np.full(4, -5.0), **both})
    less = residual_influence(table, name="minus", less={"good": "control", "retrain": "good"})
    assert less.index.get_level_values("method").tolist() == ["good"]  # no row where one was not measured
    assert less[["minus", "minus_low", "minus_high"]].to_numpy() == pytest.approx(-0.2)
    own = residual_influence(table).residual_influence.droplevel(CONDITION_COLUMNS)
    assert less.minus.item() == pytest.approx(own["good"] - own["control"])
    uneven = {"original": [5.0, 9.0, 5.0, 6.0], "clean": [-5.0] * 4, "good": [-1.0, 1.0, 0.5, 0.0]}
    table = scores({name: np.array(values) for name, values in uneven.items()} | {"control": 1 + shared})
    some = table[(table.method != "control") | (table.seed != 1)]  # what seed 1 has of the others does not count
    some, alone = (
        residual_influence(t, name="minus", less={"good": "control"}) for t in (some, table[table.seed != 1])
    )
    assert some.n_seeds.item() == 3 and some.minus_low.item() < some.minus.item()
    assert some[["minus", "minus_low"]].to_numpy() == pytest.approx(alone[["minus", "minus_low"]].to_numpy())


def test_no_interval_leaves_what_a_column_can_hold():
    assert bounds("effective_rank_original") == (1.0, np.inf) and bounds("relearn_steps") == (0.0, np.inf)
    assert mean_interval([1.0, 3.0, 9.0], bounds("effective-rank"))["low"] == 1.0


def test_intervals_are_over_seeds_not_rows():
    table = scores({"a": [0.0, 1.0, 0.0, 1.0]})
    found = summarise(table, {"s": ("influence", "target", "")})
    assert found.n_seeds.tolist() == [4] and found.s.tolist() == [0.5]
    with pytest.raises(BadValue, match="more than one influence of one seed"):  # samples in place of seeds
        summarise(pd.concat([table, table]), {"s": ("influence", "target", "")})


def tidy(methods, metrics, seeds=3, **more) -> pd.DataFrame:
    """A tidy score table of made-up numbers: every method, metric and seed."""
    config = {
        "dataset": "d",
        "train_size": 9,
        "targets": "tenth",
        "copies": 0,
        "perturbation": "k",
        "strength": 0.0,
        "similarity_level": "",
    }
    rows = [
        config
        | {"architecture": "a", "seed": s, "method": m, "metric": n, "group": g, "reference": r, "value": v + s}
        | more
        for s in range(seeds)
        for m in methods
        for n, g, r, v in metrics
    ]
    return pd.DataFrame(rows)


def test_the_table_of_protocols_puts_methods_between_the_references():
    scores = pd.concat(
        tidy(["scrub", "initial", "retrain", "original", "clean", "finetune"], [("UA", "target", "", v)], protocol=p)
        for p, v in (("tenth", 1.0), ("class", 2.0))
    )
    table = protocols_table(scores)
    order = ["original", "retrain", "finetune", "scrub", "clean", "initial"]
    assert table.protocol.tolist() == ["tenth"] * 6 + ["class"] * 6 and table.method.tolist() == order * 2
    assert table.UA.tolist() == [2.0] * 6 + [3.0] * 6 and (table.n_seeds == 3).all()


def test_intervals_over_seeds_stay_within_what_is_possible():
    half = 4.302653 / 3**0.5  # t of 2 degrees of freedom, standard deviation 1
    free = mean_interval([1.0, 2.0, 3.0])
    assert (free["low"], free["high"]) == (pytest.approx(2 - half), pytest.approx(2 + half))
    columns = interval_columns("seconds", [1.0, 2.0, 3.0]) | interval_columns("TA", [0.9, 1.0, 1.0])
    assert columns["seconds_low"] == 0 and columns["seconds_high"] == pytest.approx(2 + half)
    assert columns["TA_high"] == 1 and columns["TA_low"] < 0.9
    assert interval_columns("phi_gap", [1.0, 2.0, 3.0])["phi_gap_low"] == pytest.approx(2 - half)  # may be anything


def test_two_seeds_have_no_interval():
    assert mean_interval([0.1, 0.2]) == {"mean": pytest.approx(0.15), "low": None, "high": None, "n": 2}
    assert ratio_interval([1.0, 2.0], [2.0, 4.0]) == {"mean": 0.5, "low": None, "high": None, "n": 2}
