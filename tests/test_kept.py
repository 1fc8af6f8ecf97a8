"""What a whole data set takes: rows that are kept, shadow models of the pool, equivalence, families of contrasts."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from unlearnkit import study
from unlearnkit.analysis import (
    difficulty,
    feature_spectra,
    forgetting_order,
    layerwise,
    metric_distances,
    order_tables,
    pool_shadows,
    privacy_risk,
    trajectories,
)
from unlearnkit.analysis.equivalence import two_one_sided, with_equivalence
from unlearnkit.analysis.tables import backdoor_table
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.train import Recipe
from unlearnkit.study import memory, scoring
from unlearnkit.study.memory import Kept
from unlearnkit.study.protocols import protocols
from unlearnkit.study.rows import Row, resolve_row
from unlearnkit.texts.config import text_config_grid
from unlearnkit.wrappers.rsu import ranked_by

RECIPE = {"epochs": 1, "lr": 0.1}
SMALL = {"model": "mlp", "train_size": 80, "max_pool_images": 0, "test_size": 60, "recipe": RECIPE}


def forbidden(*args, **kwargs):
    raise AssertionError("a kept row was measured again")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_row_is_made_once_and_again_where_something_else_was_asked(tmp_path):
    row, made = resolve_row(Config(), "finetune"), []

    def make():
        made.append(1)
        return pd.DataFrame({"value": [float(len(made))]})

    kept = Kept(tmp_path, "scores", metrics=["UA"])
    assert kept.missing([row]) == [row]
    assert kept.get(row, make).value.tolist() == kept.get(row, make).value.tolist() == [1.0]
    assert Kept(tmp_path, "scores", metrics=["UA"]).missing([row]) == []
    assert Kept(tmp_path, "scores", metrics=["TA"]).missing([row]) == [row]  # other metrics
    assert Kept(tmp_path, "risks", metrics=["UA"]).missing([row]) == [row]  # another kind
    assert kept.missing([resolve_row(Config(), "finetune", {"epochs": 3})])  # other options
    nothing = Kept("", "scores")
    assert [nothing.get(row, make).value[0] for _ in range(2)] == [2.0, 3.0]  # without a folder


def test_files_of_kept_rows_have_names_that_every_system_allows(tmp_path):
    (config,) = text_config_grid(dataset="fictional", model="hf:smollm2", seeds=1, train_size=48)
    name = memory._file(tmp_path, config).name
    assert re.fullmatch(r"fictional-hf_smollm2-seed0-[0-9a-f]{8}\.parquet", name)
    ours = memory._file(tmp_path, replace(config, model="nano_llama")).name
    assert ours.startswith("fictional-nano_llama-seed0-") and ours[-16:] != name[-16:]


def test_tables_of_study_two_are_remade_from_what_was_kept(home, monkeypatch):
    grids = protocols(["class 3"], "digits", seeds=1, **SMALL)
    memory, options = str(home / "kept"), {"finetune": {"epochs": 1}}

    def made():
        kwargs = {"memory": memory, "tuned": False}
        names = ["original", "finetune"]
        scores = study.scores(grids["class 3"], names, options, metrics=["UA", "DA"], options_in_name=False, **kwargs)
        spectra = feature_spectra.feature_spectra(grids, names, options, **kwargs)
        planes = feature_spectra.planes(grids["class 3"], names, options, **kwargs)
        steps = trajectories.trajectories(grids["class 3"], [{"method": "finetune"}], options, every=2, **kwargs)
        return [scores, *spectra, planes, steps]

    first = made()
    assert set(first[0].method) == {"original", "finetune"} == set(first[3].method) and set(first[4].method) == {
        "finetune"
    }
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(home / "another"))
    for module, name in ((scoring, "_score"), (feature_spectra, "models_of_rows"), (trajectories, "_trajectory")):
        monkeypatch.setattr(module, name, forbidden)
    for before, after in zip(first, made(), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert not (home / "another" / "model").exists()  # nothing was trained


def test_distances_to_retraining_are_remade_from_what_was_kept(home, monkeypatch):
    grid = protocols(["class 3"], "digits", seeds=1, **SMALL)["class 3"]
    names, options = ["original", "retrain", "finetune"], {"finetune": {"epochs": 1}}
    kwargs = {"tuned": False, "memory": str(home / "kept")}

    def made():
        distances = [metric_distances.distance_table(grid, names, n, options, **kwargs) for n in (4, 0)]
        return [*distances, layerwise.layer_scores(grid, names, [], ["DA"], options, **kwargs)]

    first = made()
    with_ensembles, alone, _ = (set(table.metric) for table in first)
    assert with_ensembles - alone >= {"KLoM on targets", "U-LiRA"}  # neither is taken for the other
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(home / "another"))
    monkeypatch.setattr(metric_distances, "_distances", forbidden)
    monkeypatch.setattr(layerwise, "_scores", forbidden)
    for before, after in zip(first, made(), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert not (home / "another").exists()  # nothing was trained
    with pytest.raises(AssertionError, match="measured again"):
        metric_distances.distance_table(grid, names, 4, {"finetune": {"epochs": 2}}, **kwargs)


def test_backdoors_are_remade_from_what_was_kept(home, monkeypatch):
    grid = config_grid(seeds=2, targets="backdoor", n_targets=8, copies=[0, 1], **SMALL)
    names, options = [*study.BASELINES, "retrain", "finetune"], {"finetune": {"epochs": 1}}
    kwargs = {"metrics": ["ASR", "TA", "RA", "avg-gap"], "tuned": False, "options_in_name": False}
    made = lambda: backdoor_table(study.scores(grid, names, options, **kwargs, memory=str(home / "kept")))  # noqa: E731
    first = made()
    assert set(first.method) == set(names) and "RTE" not in first  # for which nobody asked
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(home / "another"))
    monkeypatch.setattr(scoring, "_score", forbidden)
    pd.testing.assert_frame_equal(first, made())
    assert not (home / "another").exists()


def test_a_class_of_that_label_is_forgotten_by_every_seed():
    grid = protocols(["class 3"], "digits", seeds=2, **SMALL)["class 3"]
    assert [config.forget_ids for config in grid] == [[3], [3]]


# --- shadow models of the pool ---


def test_strata_of_the_pool_stand_in_the_order_of_their_memorisation(home):
    start = Config(
        recipe=Recipe(**RECIPE), **{k: v for k, v in SMALL.items() if k != "recipe"}, targets="random", copies=0
    )
    config = pool_shadows.memorisation_strata_config(start, 30, 4)
    task, raw = study.load_task(config), pool_shadows.load_pool(config)
    targets = task.index("target")
    assert task.source[targets].tolist() == config.forget_ids and config.targets == "ids" and len(targets) == 30
    value = dict(zip(raw.ids.tolist(), pool_shadows.pool_models(config, 4).memorisation.tolist(), strict=True))
    chosen = [value[i] for i in config.forget_ids]
    assert chosen == sorted(chosen, reverse=True) and min(chosen[:10]) >= max(chosen[10:])
    thirds = [pool_shadows.stratum_alone(config, name).forget_ids for name in ("high", "middle", "low")]
    assert [i for third in thirds for i in third] == config.forget_ids and len(thirds[1]) == 10
    with pytest.raises(UnknownName, match="Did you mean 'high'"):
        pool_shadows.stratum_alone(config, "hihg")
    other = pool_shadows.memorisation_strata_config(Config(**{**vars(start), "seed": 1}), 30, 4)
    assert set(other.forget_ids) != set(config.forget_ids)

    said = pool_shadows.pool_models(config, 4)
    seen = pool_shadows.pool_outputs(config, targets, 4)
    row = raw.ids.tolist().index(config.forget_ids[7])
    assert seen.phi[:, 7].tolist() == said.phi[:, row].double().tolist() and seen.inside.sum(0).tolist() == [2] * 30
    by_chance = pool_shadows.chance(seen, 0)
    assert torch.equal(by_chance.phi, seen.phi) and not torch.equal(by_chance.inside, seen.inside)

    risks = privacy_risk.risks([config], ["memorisation", "loss", "lira_ratio"], 4, of_pool=True)
    assert set(risks.ranker) == {"memorisation", "loss"}  # the task has no shadow models of its own
    own = risks[(risks.ranker == "memorisation") & (risks.group == "target")].value
    assert own.tolist() == pytest.approx(chosen)


def test_what_models_of_the_pool_cannot_know_is_refused(home):
    canary = Config(recipe=Recipe(**RECIPE), targets="canary", n_targets=4, copies=0, train_size=80, model="mlp")
    with pytest.raises(NotApplicable, match="no canaries"):
        pool_shadows.pool_outputs(canary, study.load_task(canary).index("target"), 4)
    with pytest.raises(BadValue, match="multiple of 3"):
        pool_shadows.memorisation_strata_config(canary, 31, 4)


def test_without_a_ranker_the_forget_set_stands_in_its_order(models, request_):
    assert ranked_by("", models["original"], request_, seed=0).diff().eq(-1).all()


def test_orders_are_remade_from_what_was_kept(home, monkeypatch):
    common = {"targets": ["mixed"], "n_targets": 6, "copies": 0, "seeds": 1} | SMALL
    grid = forgetting_order.target_configs(**common, pool_models=4)
    options = {"random_label": {"epochs": 1, "batch_size": 3}}
    arguments = (grid, ["random_label"], [2], ["descending"], options)
    kwargs = {"ranker": "", "pool_models": 4, "memory": str(home / "kept"), "tuned": False}
    scores = forgetting_order.order_scores(*arguments, **kwargs)
    assert set(scores.order) == {"retrain", "original", "one-shot", "descending"}
    gaps = scores[scores.metric == "LiRA-gap"].set_index(["order", "stratum"]).value
    assert gaps.between(0, 1).all() and set(gaps.index.get_level_values(1)) == {"all", "low", "middle", "high"}
    monkeypatch.setattr(forgetting_order, "_row_scores", forbidden)
    pd.testing.assert_frame_equal(scores, forgetting_order.order_scores(*arguments, **kwargs))


def test_a_forget_set_of_memorised_images_and_its_difficulty_are_remade_from_what_was_kept(home, monkeypatch):
    start = Config(recipe=Recipe(**RECIPE), targets="random", copies=0, **{k: SMALL[k] for k in SMALL if k != "recipe"})
    memory, options = str(home / "kept"), {"finetune": {"epochs": 1}}

    def made():
        config = pool_shadows.memorisation_strata_config(start, 6, 4, memory=memory)
        return config, difficulty.difficulty([config], ["finetune"], 2, options, tuned=False, memory=memory)

    config, gaps = made()
    assert config == pool_shadows.memorisation_strata_config(start, 6, 4) and set(gaps.method) == {
        "retrain",
        "finetune",
    }
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(home / "another"))
    monkeypatch.setattr(pool_shadows, "half_models", forbidden)
    monkeypatch.setattr(difficulty, "models_of_rows", forbidden)
    again, same = made()
    assert again == config
    pd.testing.assert_frame_equal(gaps, same)
    assert not (home / "another" / "model").exists()  # nothing was trained


def test_a_sequence_whose_strata_have_methods_of_their_own_is_a_row_of_its_own(home):
    grid = forgetting_order.target_configs(["mixed"], 4, n_targets=6, copies=0, seeds=1, **SMALL)
    options, refined = {"random_label": {"epochs": 1, "batch_size": 2}}, {"random_label": "finetune, base, salun"}
    kwargs = {"ranker": "", "pool_models": 4, "tuned": False, "refined": refined}
    scores = forgetting_order.order_scores(grid, ["random_label"], [3], ["descending", "ascending"], options, **kwargs)
    steps = scores[scores.metric == "steps"].set_index(["order", "batches"]).value
    # 37 batches of two of those that stay and three of those that go: a third of both passes, and of the first alone
    assert steps["one-shot", 1] == steps["ascending", 3] == 40 and steps["ascending refined", 3] == 39
    contrasts = order_tables.order_contrasts(scores)
    assert set(contrasts.base) <= {"random_label", "all"}  # the row is in none of the directions


# --- tests of differences ---


def test_two_one_sided_tests_by_scipy():
    differences = np.array([0.01, 0.02, -0.005, 0.015])
    found = two_one_sided(differences, 0.05)
    above = stats.ttest_1samp(differences, -0.05, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.05, alternative="less").pvalue
    assert found["p"] == pytest.approx(max(above, below)) and found["p"] < 0.05
    low, high = stats.t.interval(0.9, 3, differences.mean(), stats.sem(differences))
    assert (found["low"], found["high"]) == pytest.approx((low, high)) and -0.05 < low < high < 0.05
    assert two_one_sided(differences + 0.05, 0.05)["p"] > 0.05
    assert two_one_sided(differences[:2], 0.05) == {"mean": pytest.approx(0.015), "low": None, "high": None, "p": None}
    assert two_one_sided(np.zeros(3), 0.05)["p"] == 0.0


def test_a_variant_is_compared_with_the_whole_method_seed_by_seed():
    gaps = {
        "original": [0.5, 0.5, 0.5],
        "muda": [0.1, 0.2, 0.3],
        "muda(weight=0.0)": [0.11, 0.2, 0.31],
        "other": [0.4, 0.1, 0.3],
    }
    columns = {"dataset": "d", "architecture": "a", "protocol": "p", "metric": "avg-gap", "reference": "retrain"}
    rows = [columns | {"method": m, "seed": s, "value": v} for m, values in gaps.items() for s, v in enumerate(values)]
    table = pd.DataFrame([{"dataset": "d", "architecture": "a", "protocol": "p", "method": m} for m in gaps])
    found = with_equivalence(table, pd.DataFrame(rows)).set_index("method")
    assert found.gap_over_full["muda(weight=0.0)"] == pytest.approx(0.02 / 3)
    assert found.equivalence_margin["other"] == pytest.approx(0.05) and pd.isna(found.p_equivalence["muda"])
    assert found.p_equivalence["muda(weight=0.0)"] < 0.05 < found.p_equivalence["other"]


def test_primary_contrasts_are_adjusted_apart_from_what_is_explored():
    asked, other = "descending - ascending", "descending - shuffled"
    rows = [
        (asked, "ToW_MIA", "all", 0.02),
        (asked, "phi_gap", "all", 0.03),
        (asked, "ToW", "all", 0.04),
        (asked, "ToW_MIA", "salun", 0.01),
        (other, "phi_gap", "all", None),
    ]
    found = order_tables.in_families(pd.DataFrame(rows, columns=["contrast", "metric", "base", "p"]))
    assert found.family.tolist() == ["primary"] * 2 + ["exploratory"] * 3
    assert found.p_adjusted.tolist()[:4] == pytest.approx([0.04, 0.04, 0.04, 0.02]) and pd.isna(found.p_adjusted[4])
    assert Row(Config(), "original").of == {}
