import numpy as np
import pandas as pd
import pytest
import torch

from unlearnkit import figures
from unlearnkit.analysis.difficulty import (
    NOISE_FLOOR_ROW,
    STEP_CORRELATES,
    difficulty,
    difficulty_table,
    first_step_below,
    forgetting_steps,
    near_duplicates_difficulty_table,
    with_risk,
    with_steps,
)
from unlearnkit.analysis.privacy_risk import ITSELF, mixed_memorisation_config, proxies_table, risks
from unlearnkit.analysis.trajectories import margins
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.images.config import config_grid
from unlearnkit.study import load_task, outputs, references, unlearn
from unlearnkit.study.reference_models import train_references

pytestmark = pytest.mark.slow

SMALL = {"n_targets": 12, "train_size": 120, "max_pool_images": 300, "recipe": {"epochs": 4}}
NAMES = ["loss", "lira_separation", "memorisation", "forgetting_events"]


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("risk")


@pytest.fixture(autouse=True)
def _shared_cache(_own_folders, _one_cache, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(_one_cache))


@pytest.fixture
def grid():
    return config_grid(seeds=2, targets="canary", copies=0, **SMALL)


def test_risks_are_one_row_per_sample_ranker_and_half(grid):
    table = risks(grid, NAMES, 8)
    assert not table.duplicated(["seed", "sample", "ranker", "half"]).any() and table.value.notna().all()
    found = table.groupby(["ranker", "group", "half"]).size().unstack(["ranker", "group"])
    n = {"target": 24, "decoy": sum(len(load_task(config).index("decoy")) for config in grid)}
    assert found["loss"].loc[""].to_dict() == n and (found["lira_separation"] == n["decoy"]).decoy.all()
    assert (found["lira_separation"].target == 24).all()
    assert "decoy" not in found["forgetting_events"]  # it takes a training that they were in
    for config, (_, part) in zip(grid, table.groupby("seed")):
        rows = set(part[part.group == "decoy"]["sample"])
        assert rows == set(load_task(config).index("decoy").tolist())
    assert table.run.nunique() == 2
    again = risks(grid, NAMES, 8)
    pd.testing.assert_frame_equal(table, again)
    assert risks(grid, NAMES, 4).half.unique().tolist() == [""]  # halves of two could fit no Gaussians
    everything = risks(grid[:1], ["loss"], 4, ["target", "similar", "filler", "decoy"])
    n_decoys = len(load_task(grid[0]).index("decoy"))
    assert everything.group.value_counts().to_dict() == {"filler": 108, "target": 12, "decoy": n_decoys}


def test_bad_risks_say_so_before_anything_is_trained(grid):
    with pytest.raises(UnknownName, match="lira_separation"):
        risks(grid, ["lira_onlin"])
    with pytest.raises(BadValue, match="even and at least 4"):
        risks(grid, NAMES, 7)
    with pytest.raises(BadValue, match="groups: test is none of"):
        risks(grid, NAMES, 8, ["target", "test"])


def made(n=40, seeds=3, noise=0.5) -> pd.DataFrame:
    """Risks of which the proxy `loss` knows as much as each half does, and `entropy` nothing."""
    g, rows = np.random.default_rng(0), []
    of = dict.fromkeys(CONDITION_COLUMNS, 0)
    for seed in range(seeds):
        true = g.normal(size=n)
        for ranker, half, value in (
            ("lira_separation", "", true),
            ("lira_separation", "0", true + noise * g.normal(size=n)),
            ("lira_separation", "1", true + noise * g.normal(size=n)),
            ("loss", "", np.exp(true + noise * g.normal(size=n))),
            ("entropy", "", g.normal(size=n)),
        ):
            rows.append(
                pd.DataFrame({"sample": range(n), "ranker": ranker, "half": half, "value": value, "seed": seed})
            )
    return pd.concat(rows, ignore_index=True).assign(group="target", run="x", **of)


def test_proxies_are_judged_beside_the_measure_itself():
    table = proxies_table(made(), ["lira_separation"]).set_index("risk_proxy")
    assert set(table.index) == {"loss", "entropy", ITSELF}
    expected = 6 / np.pi * np.arcsin(1 / np.sqrt(1.25) / 2)
    assert table.spearman["loss"] == pytest.approx(expected, abs=0.08)
    assert table.spearman_low_samples["entropy"] < 0 < table.spearman_high_samples["entropy"]
    half = table.spearman[ITSELF]  # of two halves with the same noise each
    assert half == pytest.approx(6 / np.pi * np.arcsin(1 / 1.25 / 2), abs=0.08)
    assert table.spearman_brown[ITSELF] == pytest.approx(2 * half / (1 + half)) and np.isnan(
        table.spearman_brown["loss"]
    )
    assert (table.n_seeds == 3).all() and (table.n_samples == 120).all()
    with pytest.raises(BadValue, match="'memorisation' is no measure of these risks: known are lira_separation"):
        proxies_table(made(), ["memorisation"])


def test_difficulty_against_other_seeds(grid):
    found = difficulty(grid, ["finetune", "unsir"], n_retrains=2)  # unsir forgets whole classes
    assert set(found.method) == {NOISE_FLOOR_ROW, "finetune"} and len(found) == 2 * 2 * 12
    assert found.groupby(["seed", "sample"]).headroom.nunique().max() == 1
    assert (found.headroom != found.shared_headroom).all()
    assert (found.signed_difficulty.abs() <= found.difficulty + 1e-9).all()
    with pytest.raises(BadValue, match="n_retrains"):
        difficulty(grid, ["finetune"], n_retrains=1)
    table = risks(grid, NAMES, 8)
    joined = with_risk(found, table, "lira_separation")
    assert len(joined) == len(found)
    one = joined[(joined.seed == 1) & (joined.method == "finetune")].set_index("sample").risk
    same = table[
        (table.ranker == "lira_separation") & (table.half == "") & (table.group == "target") & (table.seed == 1)
    ]
    assert one.to_dict() == same.set_index("sample").value.to_dict()
    with pytest.raises(BadValue, match="no risks by 'rmia'"):
        with_risk(found, table, "rmia")


def planted(slope: float, n=200, seeds=3) -> pd.DataFrame:
    """The true headroom grows with risk; difficulty is this headroom, plus slope x risk. Each set of retrained models adds
    noise of its own to what is measured by it."""
    g, parts = np.random.default_rng(0), []
    for seed in range(seeds):
        risk = g.normal(size=n)
        true = risk + 0.7 * g.normal(size=n)
        mine, one, other = g.normal(size=(3, n))
        hard = true + slope * risk + mine + 0.3 * g.normal(size=n)
        columns = {
            "risk": risk,
            "run": f"m{seed}",
            "risk_run": f"r{seed}",
            "headroom_0": true + one,
            "headroom_1": true + other,
            "margin_shift": true,
        }
        columns |= {"headroom": true + (one + other) / 2, "shared_headroom": true + mine}
        columns |= {
            name.replace("headroom", "signed_headroom"): columns[name]
            for name in ("headroom", "headroom_0", "headroom_1")
        }
        for method, value in (("harsh", hard), (NOISE_FLOOR_ROW, g.normal(size=n))):
            parts.append(
                pd.DataFrame(columns | {"difficulty": value, "method": method, "seed": seed, "sample": range(n)})
            )
    return pd.concat(parts, ignore_index=True).assign(**dict.fromkeys(CONDITION_COLUMNS, 0))


def test_the_headroom_is_held_fixed_and_its_noise_is_not_taken_for_difficulty():
    correlation = {}
    for slope in (0.0, 1.5):
        table = difficulty_table(planted(slope)).set_index(["method", "correlate"])
        correlation[slope] = table.loc["harsh"].spearman
        assert (
            table.loc["harsh"].spearman_minus_noise_floor_low["difficulty"] > 0.2
            and abs(table.spearman[NOISE_FLOOR_ROW, "difficulty"]) < 0.15
        )
        assert ("harsh", "headroom") not in table.index and table.spearman[NOISE_FLOOR_ROW, "headroom"] > 0.5
        assert (table.n_seeds == 3).all() and (table.n_samples == 600).all()
    assert (
        correlation[0.0]["difficulty"] > 0.4 and correlation[0.0]["difficulty | headroom"] > 0.12
    )  # noise left it free
    assert abs(correlation[0.0]["difficulty | headroom corrected"]) < 0.1
    assert correlation[1.5]["difficulty | headroom corrected"] > 0.3
    assert correlation[0.0]["difficulty | shared headroom"] < 0.1


def test_when_a_target_is_first_as_far_as_retraining_leaves_it():
    way = torch.tensor([[5.0, 1, 5, 5], [3, 4, 5, 1], [2, 4, 5, 4]])  # phi before, after one step and after two
    found = first_step_below(way, torch.tensor([2.0, 2, 2, 2]))
    assert found.steps_to_forget.tolist() == [2, 0, 3, 1] and found.method_steps.unique().tolist() == [2]
    assert found.already_forgotten.tolist() == [False, True, False, False]
    assert found.never_forgotten.tolist() == [False, False, True, False]
    assert found.rebounded.tolist() == [False, True, False, True]


def test_the_way_ends_where_the_method_does(grid):
    found = forgetting_steps(
        grid, ["random_label", "ssd", "unsir"], 2
    )  # ssd takes no steps, unsir forgets whole classes
    assert set(found.method) == {"random_label"} and len(found) == 24
    assert (found.steps_to_forget == found.method_steps + 1)[found.never_forgotten].all()
    assert (found.steps_to_forget == 0)[found.already_forgotten].all()
    _, way = margins(grid[0], "random_label")
    made = unlearn(grid[0], "random_label")
    for model, phi in ((references([grid[0]])[0]["original"], way[0]), (made, way[-1])):
        torch.testing.assert_close(
            outputs(model)[1].phi[load_task(grid[0]).index("target")].float(), phi, atol=1e-3, rtol=1e-3
        )
    assert len(way) == made.artefact.info["steps"] + 1
    for config, (_, part) in zip(grid, found.groupby("seed")):  # each config by its own retrained models, all of them
        rows = load_task(config).index("target")
        again = train_references([(config, "retrain", repeat) for repeat in ("", "1")], "auto")
        goal = torch.stack([outputs(model)[1].phi[rows] for model in again]).mean(0)
        steps = first_step_below(margins(config, "random_label")[1], goal).steps_to_forget
        assert part.steps_to_forget.tolist() == steps.tolist()
    with pytest.raises(NotApplicable, match="none of these methods takes steps"):
        forgetting_steps(grid, ["ssd"], 2)


def test_steps_take_the_place_of_the_gap(grid):
    gap = difficulty(grid, ["random_label", "ssd"], n_retrains=2)
    joined = with_risk(gap, risks(grid, ["lira_separation"], 4), "lira_separation")
    both = with_steps(joined, forgetting_steps(grid, ["random_label", "ssd"], 2))
    mine = joined[joined.method == "random_label"]
    assert (joined.signed_headroom.abs() <= joined.headroom + 1e-9).all() and (joined.signed_headroom < 0).any()
    assert both.gap.tolist() == mine.difficulty.tolist() and both.difficulty.tolist() != both.gap.tolist()
    table = difficulty_table(both, STEP_CORRELATES).set_index("correlate")
    assert list(table.index) == list(STEP_CORRELATES) and table.share_never_forgotten["difficulty"] == pytest.approx(
        both.never_forgotten.mean()
    )
    assert (
        set(table.run["difficulty"].split()) == {*both.run, *joined.risk_run}
        and "spearman_minus_noise_floor" not in table
    )


def test_copies_are_compared_with_the_same_targets():
    grid = config_grid(seeds=2, targets="canary", copies=[0, 3], **SMALL)
    table = near_duplicates_difficulty_table(
        difficulty(grid, [], n_retrains=2), risks(grid, ["lira_separation"], 4)
    ).set_index(["quantity", "group", "copies"])
    assert set(table.index.get_level_values("quantity")) == {
        "risk: lira_separation", "headroom", f"difficulty: {NOISE_FLOOR_ROW}", f"signed difficulty: {NOISE_FLOOR_ROW}"
    }  # fmt: skip
    first, later = (table.loc["headroom", "target", m] for m in (0, 3))
    assert first.change_from_fewest_copies == 0 and later.change_from_fewest_copies == pytest.approx(
        later.value - first.value
    )
    assert (table.n_seeds == 2).all()


def test_figures_show_their_data():
    risks_ = made()
    figure, data = figures.plot_privacy_risk(risks_, proxies_table(risks_, ["lira_separation"]))
    assert len(figure.axes) == 3 and len(data) == 120 and {"risk", "risk_half_a", "risk_half_b"} <= set(data)
    assert [t.get_text() for t in figure.axes[2].get_yticklabels()][-1] in (ITSELF, "loss")  # the best on top
    found = planted(0.0, n=20, seeds=2)
    steps = found[found.method != NOISE_FLOOR_ROW].assign(
        gap=found.difficulty, already_forgotten=False, never_forgotten=found["sample"] % 4 == 0, rebounded=False
    )
    table = [
        difficulty_table(found).assign(difficulty_measure="gap"),
        difficulty_table(steps, STEP_CORRELATES).assign(difficulty_measure="steps"),
    ]
    figure, data = figures.plot_difficulty(table := pd.concat(table, ignore_index=True))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [NOISE_FLOOR_ROW, "harsh"] and data is table
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()] == ["harsh (25% never)"]
    copies = pd.DataFrame(
        {"targets": "random", "copies": [0, 5] * 2, "quantity": ["headroom"] * 2 + ["signed difficulty: x"] * 2}
    )
    copies = copies.assign(group="target", value=1.0, value_low=None, value_high=None)
    figure, data = figures.plot_difficulty_by_near_duplicates(copies)
    assert set(data.quantity) == {"headroom"} and len(figure.axes) == 1
    few = risks_[risks_.half == ""]  # too few models are not cut into halves
    _, data = figures.plot_privacy_risk(few, proxies_table(few, ["lira_separation"]))
    assert data.risk_half_a.isna().all() and data.risk.notna().any()


def test_mixed_memorisation_holds_the_most_memorised_and_takes_no_test_image():
    (config,) = config_grid(seeds=1, targets="canary", copies=0, **SMALL)
    mixed = mixed_memorisation_config(config, 9, 8)
    assert (
        mixed.targets == "ids" and len(set(mixed.forget_ids)) == 9 and mixed == mixed_memorisation_config(config, 9, 8)
    )
    task = load_task(config)
    memorised = risks([config], ["memorisation"], 8, ["target", "filler"]).query("half == ''").set_index("sample").value
    source = pd.Series(task.source.numpy())[memorised.index]
    value = pd.Series(memorised.to_numpy(), index=source.to_numpy())
    assert value[mixed.forget_ids[:3]].min() >= value.drop(mixed.forget_ids[:3]).max() - 1e-6
    assert value[mixed.forget_ids[6:]].mean() < value[mixed.forget_ids[3:6]].mean() < value[mixed.forget_ids[:3]].mean()
    assert sorted(load_task(mixed).source[load_task(mixed).index("target")].tolist()) == sorted(mixed.forget_ids)
    for wrong in (2, 120):
        with pytest.raises(BadValue, match="n_targets must be at least 3"):
            mixed_memorisation_config(config, wrong, 8)
