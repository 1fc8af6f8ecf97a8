"""Which reference distribution a margin comes from: closed forms, and the pipeline over tasks of a hundred digits."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit import figures, study
from unlearnkit.analysis.distributions import (
    SCORED_GROUPS,
    attacks,
    attacks_table,
    compare,
    models_beside_references,
    nearest_reference,
)
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.optimise import minimise
from unlearnkit.images import domain as images
from unlearnkit.images.config import config_grid
from unlearnkit.methods import methods
from unlearnkit.metrics.ensembles import histogram_kl, lira_accuracy
from unlearnkit.study import REFERENCES
from unlearnkit.study import reference_models as references
from unlearnkit.study import unlearned_models as unlearned
from unlearnkit.study.ensembles import drop_diverged, margins, models_of_reference
from unlearnkit.study.rows import resolve_row

pytestmark = pytest.mark.slow

SMALL = {"targets": "canary", "n_targets": 5, "train_size": 120, "recipe": {"epochs": 4, "batch_size": 32, "lr": 0.1}}
SEEDS = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def references_at(n: int = 400, samples: int = 20, at=(10.0, 5.0, -5.0)) -> dict[str, torch.Tensor]:
    return {r: normal(i, n, samples) + mean for i, (r, mean) in enumerate(zip(REFERENCES, at))}


# --- which reference ---


@pytest.mark.parametrize(
    ("at", "reference"), [(10, "original"), (5, "retrain"), (-5, "clean"), (50, "none"), (0.2, "none")]
)
def test_a_model_is_assigned_to_the_reference_it_was_drawn_from(at, reference):
    share = nearest_reference(normal(9, 400, 20) * 0.5 + at, references_at())
    assert set(share) == {*REFERENCES, "none"} and share[reference].min() > 0.95


def test_between_two_references_the_shares_are_those_of_the_normal_distribution():
    near = references_at(n=4000, at=(2.0, 0.0, -40.0))
    share = {w: v.mean().item() for w, v in nearest_reference(normal(9, 4000, 20), near).items()}
    assert share["original"] == pytest.approx(0.1587 - 0.0014, abs=0.01)  # beyond half way, 1 ...
    assert share["retrain"] == pytest.approx(0.8413, abs=0.01)
    assert share["clean"] == 0 and share["none"] == pytest.approx(0.0013, abs=0.002)  # ... and below -3


def test_references_that_are_one_share_a_model():
    one = normal(0, 40, 6)
    share = nearest_reference(normal(1, 40, 6).clamp(-2, 2), dict.fromkeys(REFERENCES, one))
    for reference in REFERENCES:
        torch.testing.assert_close(share[reference], torch.full((6,), 1 / 3, dtype=torch.float64))
    two = nearest_reference(one.clamp(-2, 2), {"original": one + 50, "retrain": one, "clean": one})
    assert two["original"].max() == 0 and two["retrain"].tolist() == two["clean"].tolist() == [0.5] * 6


def test_no_model_is_judged_by_the_draw_that_it_was_made_from():
    """An original that stands alone among the originals, and the model made from it: fitted on it, they would take it."""
    original = torch.tensor([1.0, 1, -1, -1, 8, 1, 1, -1])[:, None]
    found = {"original": original, "retrain": normal(0, 8, 1) + 40, "clean": normal(1, 8, 1) - 40}
    models = torch.zeros(8, 1)
    models[4] = 8
    share = nearest_reference(models, found)
    assert share["none"].item() == pytest.approx(1 / 8) and share["original"].item() == pytest.approx(7 / 8)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(4, 13), st.floats(-6, 6))
def test_shares_sum_to_one_and_see_no_scale_order_of_references_or_samples(seed, n, shift):
    found = {w: normal(seed + i, n, 4) + 3 * i for i, w in enumerate(REFERENCES)}
    models = normal(seed + 9, n, 4) + shift
    share = nearest_reference(models, found)
    assert all(((v >= -1e-9) & (v <= 1)).all() for v in share.values())
    torch.testing.assert_close(sum(share.values()), torch.ones(4, dtype=torch.float64))
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed % 1000))
    other = nearest_reference(models[:, order] * 4, {w: found[w][:, order] * 4 for w in reversed(REFERENCES)})
    for reference, value in share.items():
        torch.testing.assert_close(other[reference], value[order])


# --- sample by sample ---


def test_per_sample_values_are_those_of_the_metrics():
    found, models = references_at(n=12, samples=7), normal(9, 12, 7) + 4
    table = compare(models, found).set_index(["reference", "sample"])
    for reference in REFERENCES:
        assert table.klom[reference].tolist() == pytest.approx(histogram_kl(models, found[reference]).tolist())
        assert table.lira[reference].tolist() == pytest.approx(lira_accuracy(models, found[reference]).tolist())


def test_the_same_models_are_at_0_and_told_by_a_coin():
    same = compare(normal(0, 16, 5), dict.fromkeys(REFERENCES, normal(0, 16, 5)))
    assert (same.klom == 0).all() and (same.lira == 0.5).all() and len(same) == 15


def test_a_draw_that_diverged_is_left_out_of_all():
    models, found = normal(9, 6, 3), references_at(n=6, samples=3)
    models[1], found["clean"][4] = torch.nan, torch.nan
    kept = drop_diverged(models, *found.values())
    assert all(torch.equal(k, v[[0, 2, 3, 5]]) for k, v in zip(kept, (models, *found.values())))
    models[0] = torch.nan
    with pytest.raises(BadValue, match="of 6 models only 3 did not diverge, and at least 4 are needed"):
        drop_diverged(models, *found.values())


# --- over a grid ---


def models(config, name: str, n: int) -> list:
    return models_beside_references(resolve_row(config, name), n)


@pytest.fixture
def grid():
    return config_grid(seeds=1, copies=6, **SMALL)


def test_tables_hold_what_the_metrics_say_and_nothing_is_made_twice(grid, monkeypatch):
    samples, scores = attacks(grid, ["finetune"], 4, fpr=0.05)
    of = scores.set_index(["method", "metric", "reference", "group"]).value
    known = study.scores(grid, ["original", "finetune"], metrics=["KLoM", "U-LiRA"], n_models=4)
    for row in known[known.group.isin(SCORED_GROUPS)].itertuples():
        assert of[row.method, row.metric, row.reference, row.group] == pytest.approx(row.value), row
    assert of["original", "KLoM", "original", "target"] == 0 and of["original", "U-LiRA", "original", "target"] == 0.5
    assert (scores[scores.metric == "assigned"].groupby(["method", "group"]).value.sum() - 1).abs().max() < 1e-9
    per = samples[(samples.method == "finetune") & (samples.reference == "clean")]
    assert list(per[per.group == "target"]["sample"]) == study.load_task(grid[0]).index("target").tolist()
    assert len(per) == len(per["sample"].unique()) and set(per.group) == {
        "target",
        "similar",
        "filler",
        "decoy",
        "test",
    }
    assert per[per.group == "target"].klom.mean() == pytest.approx(of["finetune", "KLoM", "clean", "target"])

    monkeypatch.setattr(references, "_train", None)
    monkeypatch.setattr(unlearned, "_warm_up", None)
    again = attacks(grid, ["finetune"], 4, fpr=0.05)
    assert again[0].equals(samples) and again[1].equals(scores)
    table = attacks_table(scores)
    assert list(table.method) == ["original", "retrain", "finetune", "clean-again"]
    assert table.share_like_clean[3] > table.share_like_clean[0] and table.share_like_clean_low.isna().all()
    assert (table.n_seeds == 1).all()
    figure, data = figures.plot_distributions(samples)
    assert len(figure.axes) == 4 and (data.n_models == 4).all() and (data.klom_q05 <= data.klom_q95).all()
    one = {name: margins(models(grid[0], name, 4))[:, 0] for name in ("original", "clean-again")}
    one["original"][1] = torch.nan  # it diverged
    others = {"original": one["original"], "clean": one["clean-again"]}
    assert len(figures.plot_margins(one, others)[1]) == 14


def test_floors_are_the_references_from_other_seeds_and_members_those_of_the_study(grid):
    (config,) = grid
    reference = margins(models_of_reference(config, "retrain", 4))
    assert torch.equal(reference, study.ensemble(config, "retrain", 4, reference=True))
    assert not torch.isclose(margins(models(config, "retrain", 4)), reference).any(1).all()
    assert torch.equal(margins(models(config, "clean-again", 4))[:2], study.ensemble(config, "clean-again", 2))
    assert torch.equal(margins(models(config, "finetune", 4))[:2], study.ensemble(config, "finetune", 2))


def test_methods_that_diverge_are_counted_and_too_many_stop(grid, monkeypatch):
    calls = []

    def diverges(model, task, *, seed, device="auto"):
        calls.append(seed)
        lr = 0.01 if len(calls) not in lost else float("nan")
        return minimise(model, lambda net: iter([task.losses(net, task.forget).mean() * lr]), lr=1.0)

    monkeypatch.setitem(methods._entries, "diverges", replace(methods["finetune"], function=diverges))
    lost = {2}
    samples, scores = attacks(grid, ["diverges"], 5, fpr=0.05)
    table = attacks_table(scores).set_index("method")
    assert table.n_diverged.to_dict() == {"original": 0, "retrain": 0, "diverges": 1, "clean-again": 0}
    assert samples.groupby("method").n_models.first().to_dict() == {
        "original": 5, "retrain": 5, "diverges": 4, "clean-again": 5
    }  # fmt: skip
    assert table.klom_vs_clean.notna().all() and "tpr_vs_clean" in table
    with pytest.raises(BadValue, match="of 4 models only 3 did not diverge"):
        attacks(grid, ["diverges"], 4, fpr=0.05)


def test_a_reference_that_diverges_costs_its_draw_alone(grid, monkeypatch):
    real, (config,) = images.fit_many, grid
    bad = references.derive(config.seed, "retrain", "3")

    def fit_many(models, samples, recipe, *, seeds, **more):
        if bad in seeds:
            raise NonFiniteLoss("the loss is not finite")
        return real(models, samples, recipe, seeds=seeds, **more)

    monkeypatch.setattr(images, "fit_many", fit_many)
    clean = models_of_reference(config, "clean", 5)
    assert [m is None for m in clean] == [False, False, False, True, False]
    assert margins(clean).isnan().all(1).tolist() == [False, False, False, True, False]
    with pytest.raises(NonFiniteLoss, match="all 1 models diverged"):
        margins([None])


@pytest.mark.parametrize(
    ("n", "fpr", "message"),
    [
        (3, 0.1, "at least 4 models of each kind.*got n_models = 3"),
        (
            4,
            0.01,
            r"rate of 0\.01 cannot be resolved: 5 targets times 4 models are 20 scores.*the smallest rate is 0\.05",
        ),
        (4, 0.0, "cannot be resolved"),
    ],
)
def test_what_cannot_be_told_is_said_before_any_training(grid, n, fpr, message, monkeypatch):
    monkeypatch.setattr(references, "_train", None)
    with pytest.raises(BadValue, match=message):
        attacks(grid, ["finetune"], n, fpr=fpr)
