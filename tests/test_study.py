"""The whole way, on tasks of a hundred digits: what is cached, shared and paired."""

from dataclasses import replace

import pytest
import torch

from unlearnkit import study
from unlearnkit.analysis.dataset_cards import dataset_cards, relations
from unlearnkit.analysis.tables import DOSE_COLUMNS, dose_response_table
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable, UnknownName
from unlearnkit.core.optimise import minimise
from unlearnkit.core.statistics import residual_influence
from unlearnkit.core.store import Store
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import config_grid
from unlearnkit.images.tasks import difficulty_artefact, load_pool
from unlearnkit.methods import methods
from unlearnkit.metrics import single_pass_metrics
from unlearnkit.study import (
    model_outputs as observed,
)
from unlearnkit.study import (
    reference_models as references,
)
from unlearnkit.study import (
    unlearned_models as unlearned,
)

SMALL = {"targets": "canary", "n_targets": 5, "train_size": 120, "recipe": {"epochs": 16, "batch_size": 32, "lr": 0.1}}


@pytest.fixture
def grid():
    return config_grid(seeds=2, copies=[0, 8], **SMALL)


def test_without_copies_retrain_is_clean_and_with_them_it_is_not(grid):
    for config, refs in zip(grid, study.references(grid)):
        assert (refs["retrain"].key == refs["clean"].key) == (config.copies == 0)
        assert refs["original"].key != refs["retrain"].key


def test_retrain_and_clean_share_nothing_with_the_original_but_their_data(grid):
    """Seeds of their own: nets that start from one draw of the weights still point the same way after training."""

    def alike(a, b):
        pairs = [(p.flatten(), q.flatten()) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
        return max(torch.cosine_similarity(p, q, dim=0).item() for p, q in pairs if len(p) >= 100)

    config = next(c for c in grid if c.copies)
    (refs,) = study.references([config])
    nets = {name: model.load() for name, model in refs.items()}
    assert max(alike(nets["original"], nets[name]) for name in ("retrain", "clean")) < 0.5
    assert alike(nets["retrain"], nets["clean"]) > 0.5  # these two differ in their data alone


def test_nothing_is_trained_twice(grid, monkeypatch):
    study.references(grid)
    study.unlearn(grid[0], "finetune")
    monkeypatch.setattr(references, "_train", None)
    monkeypatch.setattr(unlearned, "_warm_up", None)
    study.references(grid)
    study.unlearn(grid[0], "finetune")


def test_a_stored_model_is_the_model(grid):
    a, b = (study.unlearn(grid[0], "scrub").load() for _ in range(2))
    x = study.load_task(grid[0]).of("target").x[:5]
    with torch.no_grad():
        assert torch.equal(a(x), b(x)) and not a.training


def test_a_changed_option_misses(grid):
    assert study.unlearn(grid[0], "finetune", {"epochs": 1}).key != study.unlearn(grid[0], "finetune").key
    assert study.unlearn(grid[0], "finetune", {"epochs": 10}).key == study.unlearn(grid[0], "finetune").key


def test_a_model_is_run_once_for_all_its_metrics(grid, monkeypatch):
    taken = []
    real = outputs_module.forward_task
    monkeypatch.setattr(outputs_module, "forward_task", lambda *a, **k: taken.append(1) or real(*a, **k))
    study.scores(grid[:1], ["original", "retrain", "clean"])
    observed._read_outputs.cache_clear()
    study.scores(grid[:1], ["original", "retrain", "clean"])
    # the untrained model, original, the clean that is also the reference retrain, and the method retrain
    assert len(taken) == 4


def test_the_tables(grid):
    scores = study.scores(grid, [*study.BASELINES, "retrain", "finetune"])
    assert (
        set(scores.metric) == set(single_pass_metrics())
        and scores.value.notna().all()
        and scores.run.str.len().eq(20).all()
    )
    assert set(scores.columns) >= {"dataset", "targets", "copies", "strength", "architecture", "method", "seed",
                                   "reference", "group", "metric", "value", "run"}  # fmt: skip
    table = dose_response_table(scores)
    assert (
        set(DOSE_COLUMNS) | {"residual_influence", "residual_influence_rank"} <= set(table)
        and len(table) == 2 * 5
        and set(table.n_seeds) == {2}
    )
    assert table.method.head(5).tolist() == ["original", "retrain", "finetune", "clean", "clean-again"]
    original = table[table.method == "original"]
    assert original.learnt.all() and original.residual_influence.tolist() == pytest.approx([1.0] * len(original))
    bare = table[table.copies == 0]
    assert (bare.gap_retrain - bare.gap_clean).abs().max() == pytest.approx(0)
    assert set(residual_influence(scores).reset_index().method) == {*study.BASELINES, "retrain", "finetune"}


def test_dataset_cards(grid):
    cards = dataset_cards(grid)
    assert (
        cards.n_train.tolist() == [120, 120]
        and cards.n_near_duplicate.tolist() == [0, 40]
        and set(cards.n_seeds) == {2}
    )
    assert all(len(digests.split()) == 2 for digests in cards.digests)
    table = relations(grid[-1])
    assert set(table.relation) == {"similar", "filler", "decoy"}
    assert table[table.relation == "similar"].ssim.mean() > table[table.relation == "filler"].ssim.mean()


def test_hard_targets_come_from_the_held_out_loss():
    (config,) = config_grid(seeds=1, **{**SMALL, "targets": "hard"})
    task = study.load_task(config)
    from safetensors.torch import load_file

    loss = load_file(difficulty_artefact(config).folder / "difficulty.safetensors")["difficulty"]
    place = {i: row for row, i in enumerate(load_pool(config).ids.tolist())}
    chosen = [place[i] for i in task.source[task.index("target")].tolist()]
    assert loss[chosen].min() >= loss.quantile(0.95)


# --- what some metrics need ---


def counted(monkeypatch, module, name: str) -> list:
    """A list that grows with each call."""
    calls, real = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: calls.append((a, k)) or real(*a, **k))
    return calls


def test_features_cost_one_pass_and_leave_what_was_stored(grid, monkeypatch):
    (refs,) = study.references(grid[:1])
    taken = counted(monkeypatch, outputs_module, "forward_task")
    key, with_both = study.outputs(refs["original"], features=True)
    assert study.outputs(refs["original"])[0] == key and len(taken) == 1  # one pass gave both
    before = study.outputs(refs["clean"])[0]
    assert study.outputs(refs["clean"])[1].features is None and len(taken) == 2
    again = study.outputs(refs["clean"], features=True)
    assert again[0] == before and again[1].features.dtype == torch.float32 and len(taken) == 3
    observed._read_outputs.cache_clear()
    read = study.outputs(refs["original"], features=True)[1]
    assert len(taken) == 3 and torch.equal(read.features, with_both.features)
    model = refs["original"].load()
    with torch.no_grad():
        torch.testing.assert_close(model.head(read.features), read.logits, atol=1e-4, rtol=1e-4)


def test_the_untrained_model_is_no_other_models_start(grid):
    model = study.untrained(grid[0]).load()
    again, other = study.untrained(grid[0]).load(), study.untrained(grid[0], repeat="1").load()
    trained = study.references(grid[:1])[0]["original"].load()
    for a, b, c, d in zip(*(m.parameters() for m in (model, again, other, trained))):
        assert torch.equal(a, b) and not torch.equal(a, d)
        assert torch.equal(a, c) == (a.ndim == 1 and bool((a == a[0]).all()))  # norms start at 1 and 0


def test_an_ensemble_is_of_other_seeds_and_shares_what_there_is(grid):
    config = grid[0]
    margins = study.ensemble(config, "finetune", 3)
    assert margins.shape == (3, len(study.load_task(config).y)) and margins.dtype == torch.float64
    assert torch.equal(margins[0], study.outputs(study.unlearn(config, "finetune"))[1].phi)
    kinds = {"of another seed": margins[1], "and another": margins[2]}
    kinds |= {"method retrain": study.ensemble(config, "retrain", 1)[0]}
    kinds |= {"reference retrain": study.ensemble(config, "retrain", 1, reference=True)[0]}
    kinds |= {name: study.ensemble(config, name, 1)[0] for name in ("original", "clean-again", "initial")}
    assert len({tuple(v.tolist()) for v in kinds.values()}) == len(kinds)
    two = study.ensemble(config, "clean", 2)
    assert torch.equal(two, study.ensemble(config, "clean", 2, reference=True))
    assert torch.equal(two[1], study.outputs(study.references([config], ["clean"], repeat="1")[0]["clean"])[1].phi)
    with pytest.raises(BadValue, match="at least one model"):
        study.ensemble(config, "clean", 0)


def test_metrics_asked_for_by_name_get_what_they_need(grid, monkeypatch):
    config = grid[1]
    asked = ["DA", "CKA", "LP", "relearn", "KLoM", "U-LiRA", "U-LiRA-TPR"]
    rows = ["original", "clean", "initial", "finetune"]
    table = study.scores([config], rows, metrics=asked, n_models=4)
    assert set(table.metric) == set(asked) - {"U-LiRA-TPR"}  # 5 targets and 4 models resolve no 1%
    assert set(table.method) == set(rows) and table.value.notna().all()
    found = table.set_index(["metric", "method", "reference", "group"]).value
    assert found["relearn", "original", "", "target"] == 0 < found["relearn", "clean", "", "target"]
    assert found["KLoM", "clean", "clean", "target"] == 0 < found["KLoM", "original", "clean", "target"]
    assert found["U-LiRA", "clean", "clean", "target"] == 0.5
    assert found["CKA", "clean", "clean", "test"] == pytest.approx(1)
    monkeypatch.setattr(references, "_train", None)
    monkeypatch.setattr(unlearned, "_warm_up", None)
    assert study.scores([config], rows, metrics=asked, n_models=4).equals(table)
    more = study.scores([config], ["clean"], metrics=["DA"])
    assert set(more.metric) == {"DA"} and more.run[0] not in set(table.run)


def test_an_unknown_metric_fails_before_any_training(grid, monkeypatch):
    monkeypatch.setattr(references, "_train", None)
    with pytest.raises(UnknownName, match="Did you mean 'KLoM'"):
        study.scores(grid, ["clean"], metrics=["KLoMM"])


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (["scurb"], None, UnknownName, "Did you mean 'scrub'"),
        (["scrub"], {"scrub": {"lrr": 1.0}}, UnknownName, "Did you mean 'lr'"),
        (["scrub"], {"scrub": {"lr": "1"}}, BadValue, "must be float"),
    ],
)
def test_wrong_names_fail_before_any_training(grid, names, options, error, message, monkeypatch):
    monkeypatch.setattr(references, "_train", None)
    with pytest.raises(error, match=message):
        study.scores(grid, names, options)


def test_diverging_training_is_not_cached(tmp_path):
    (config,) = config_grid(seeds=1, **{**SMALL, "recipe": {"epochs": 2, "lr": 1e30}})
    with pytest.raises(ArithmeticError, match="not finite from step"):
        study.references([config])
    assert not list((Store().root / "model").glob("*.json"))


def test_a_method_that_diverges_on_a_seed_is_counted_and_stops_nothing(monkeypatch):
    calls = []

    def diverges(model, task, *, seed, device="auto"):
        calls.append(seed)
        return minimise(model, lambda net: iter([task.losses(net, task.forget).mean() * lr[len(calls) - 1]]), lr=1.0)

    lr = [0.01, float("nan"), 0.01]
    monkeypatch.setitem(methods._entries, "diverges", replace(methods["finetune"], function=diverges))
    grid = config_grid(train_size=100, n_targets=4, copies=1, seeds=3, recipe={"epochs": 2})
    scores = study.scores(grid, [*study.BASELINES, "diverges"])
    table = dose_response_table(scores).set_index("method")
    assert table.n_diverged.to_dict() == {"original": 0, "clean": 0, "clean-again": 0, "diverges": 1}
    assert table.n_seeds.to_dict() == {"original": 3, "clean": 3, "clean-again": 3, "diverges": 2}
    study.scores(grid, ["diverges"])
    assert len(calls) == 3  # nothing is tried again
    lost = study.unlearn(grid[1], "diverges")
    with pytest.raises(NonFiniteLoss, match="diverges: the loss is not finite"):
        lost.load()


def test_a_method_that_refuses_some_cells_is_left_out_of_these_and_not_asked_again(monkeypatch):
    calls = []

    def refuses(model, task, *, seed, device="auto"):
        calls.append(seed)
        if len(calls) != 2:
            raise NotApplicable("refuses: of class 7 nothing stays")
        return minimise(model, lambda net: iter([task.losses(net, task.forget).mean()]), lr=0.01)

    monkeypatch.setitem(methods._entries, "refuses", replace(methods["finetune"], function=refuses))
    grid = config_grid(train_size=100, n_targets=4, copies=1, seeds=2, recipe={"epochs": 2})
    with pytest.raises(NotApplicable, match="of class 7 nothing stays"):
        study.unlearn_all(grid[:1], "refuses")
    (run,) = study.unlearn_all(grid, "refuses")
    assert run.config == grid[1]
    seeds = study.scores(grid, ["original", "refuses"]).groupby("method").seed.unique().map(sorted)
    assert seeds.to_dict() == {"original": [0, 1], "refuses": [1]}
    with pytest.raises(NotApplicable, match="of class 7"):
        study.scores(grid[:1], ["refuses"])
    assert len(calls) == 2
