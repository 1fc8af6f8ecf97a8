"""Study II: protocols, spectra, trajectories, and the figures and tables made of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from test_metrics_features import random, rotation
from unlearnkit import figures, study
from unlearnkit.analysis import feature_spectra as spectra
from unlearnkit.analysis import tables
from unlearnkit.analysis import trajectories as trajectory
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.images.config import config_grid
from unlearnkit.images.outputs import forward_task
from unlearnkit.metrics.contracts import outputs_from
from unlearnkit.metrics.features import dimensional_alignment
from unlearnkit.study import protocols

pytestmark = pytest.mark.slow

SMALL = {"train_size": 120, "recipe": {"epochs": 6, "lr": 0.1}}


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """(grids, eigenvalues, by seed, trajectories) of a tiny study; the cache stays for this module."""
    folder = tmp_path_factory.mktemp("study2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_CACHE", str(folder / "cache"))
        patch.setenv("UNLEARNKIT_TUNED", str(folder / "tuned"))
        grids = protocols.protocols(["class", "tenth"], "digits", seeds=2, **SMALL)
        names = ["original", "retrain", "muda", "unsir", study.INITIAL]
        eigenvalues, by_seed = spectra.feature_spectra(grids, names)
        wanted = [{"method": "muda", "rounds": 2}, {"method": "ssd"}]
        steps = pd.concat([trajectory.trajectories(g, wanted, every=3).assign(protocol=p) for p, g in grids.items()])
        scores = pd.concat(
            [study.scores(g, ["original", "retrain", "muda"], metrics=tables.FEATURE_METRICS).assign(protocol=p)
             for p, g in grids.items()]
        )  # fmt: skip
        yield grids, eigenvalues, by_seed, steps, scores


def test_protocols_are_the_cells_they_say():
    found = protocols.protocols(["classes", "tenth"], "digits", classes=[2, 5], seeds=1, train_size=200)
    assert found["classes"] == config_grid(targets="class", forget_ids=[2, 5], copies=0, seeds=1, train_size=200)
    assert found["tenth"] == config_grid(targets="tenth", copies=0, seeds=1, train_size=200)
    found = protocols.protocols(["tenth", "subclass"], ["digits", "mnist"], seeds=1, train_size=200)
    assert found["subclass"] == config_grid(
        dataset="digits_parity", targets="subclass", copies=0, seeds=1, train_size=200
    )
    assert [config.dataset for config in found["tenth"]] == ["digits", "mnist"]
    own = protocols.protocols(["subclass"], "mnist", parts="cifar20", seeds=1)["subclass"]
    assert [config.dataset for config in own] == ["cifar20"]
    with pytest.raises(NotApplicable, match="the classes of mnist have no parts"):
        protocols.protocols(["subclass"], "mnist")
    with pytest.raises(UnknownName, match="Did you mean 'class'"):
        protocols.protocols(["clas"], "digits")


def test_spectra_closed_forms():
    roles = ["filler"] * 4 + ["target"] * 2 + ["test"] * 2
    features = torch.tensor(
        [[2.0, 0, 0], [0, 1, 0], [-2, 0, 0], [0, -1, 0], [3, 0, 0], [3, 0, 0], [0, 0, 1], [0, 0, 1]]
    )
    seen = outputs_from(torch.zeros(8, 3), [0, 1, 0, 1, 2, 2, 0, 1], roles, features=features)
    shares = spectra.eigenvalues(seen).set_index(["group", "eigenvalue_index"]).eigenvalue_share
    assert shares["retain"].tolist() == pytest.approx([0.8, 0.2, 0]) and shares["target"].tolist() == pytest.approx(
        [1, 0, 0]
    )
    table = spectra.alignment_by_rule(seen).set_index("subspace_rule")
    assert table.subspace_rank["K-1"] == 2 and table.subspace_rank["90%"] == 2 and table.DA["95%"] == pytest.approx(1)
    assert table.DA_test["95%"] == pytest.approx(0) and table.effective_rank.tolist() == pytest.approx([1] * 4)
    assert list(table.index) == ["90%", "95%", "99%", "K-1"]  # targets that are all alike have no covariance


def test_features_of_nothing_but_zero_have_no_rows():
    roles = ["filler", "filler", "filler", "target", "test"]
    seen = outputs_from(torch.zeros(5, 3), [0, 1, 0, 2, 1], roles, features=torch.zeros(5, 4))
    assert spectra.eigenvalues(seen).empty and spectra.alignment_by_rule(seen).empty


def test_every_row_is_looked_at_where_it_has_a_meaning(looked):
    grids, eigenvalues, by_seed, _, _ = looked
    rows = by_seed.groupby(["protocol", "method"]).seed.nunique()
    assert set(rows) == {2} and ("tenth", "unsir") not in rows and ("class", "unsir") in rows
    _, seen = study.outputs(study.model(grids["class"][0], "retrain"), features=True)
    mine = (
        by_seed[(by_seed.protocol == "class") & (by_seed.method == "retrain") & (by_seed.seed == 0)]
        .set_index("subspace_rule")
        .DA
    )
    assert mine["95%"] == pytest.approx(dimensional_alignment(seen))
    assert mine["K-1, centred"] == pytest.approx(dimensional_alignment(seen, rank=9, centred=True))
    assert (
        eigenvalues.groupby(["protocol", "method", "seed", "group"]).eigenvalue_share.sum().between(0.9, 1 + 1e-9).all()
    )


def test_t5_spectra_is_paired_with_retrain(looked):
    table = spectra.spectra_table(looked[2]).set_index(["protocol", "method", "subspace_rule"])
    assert (table.xs("retrain", level="method").da_minus_retrain == 0).all()
    muda, retrain = (table.xs(("class", name), level=("protocol", "method")) for name in ("muda", "retrain"))
    assert np.allclose(muda.da_minus_retrain, muda.DA - retrain.DA)
    assert set(table.n_seeds) == {2} and table.run.str.split().str.len().eq(2).all()


def test_a_trajectory_begins_with_the_original_and_ends_with_what_unlearn_makes(looked):
    grids, _, _, steps, _ = looked
    config = grids["tenth"][0]
    run = steps[(steps.protocol == "tenth") & (steps.seed == 0) & (steps.method == "muda(rounds=2)")]
    made = study.unlearn(config, "muda", {"rounds": 2})
    assert run.step.tolist() == [*range(0, made.artefact.info["steps"], 3), made.artefact.info["steps"]]
    ends = (study.model(config, "original"), made)
    for row, model in zip((run.iloc[0], run.iloc[-1]), ends, strict=True):
        seen = forward_task(model.load(), study.load_task(config), features=True)
        assert {k: row[k] for k in trajectory.state_metrics(seen)} == pytest.approx(trajectory.state_metrics(seen))


def test_a_method_without_steps_has_its_start_and_its_end(looked):
    run = looked[3][(looked[3].method == "ssd") & (looked[3].seed == 1) & (looked[3].protocol == "tenth")]
    assert run.step.tolist() == [0, 1]


def test_a_run_that_diverges_ends_where_it_did(looked):
    (config,) = protocols.protocols(["tenth"], "digits", seeds=1, **SMALL)["tenth"]
    run = trajectory.trajectory(config, "gradient_ascent", {"lr": 1e3, "epochs": 40})
    assert study.unlearn(config, "gradient_ascent", {"lr": 1e3, "epochs": 40}).artefact.info["diverged"]
    assert 1 <= len(run) <= 40 and run.forget.notna().all()
    with pytest.raises(BadValue, match="every must be at least 1"):
        trajectory.trajectory(config, "finetune", every=0)


def test_how_steady_by_hand():
    steps = pd.DataFrame(
        {"step": [0, 1, 2, 0, 1, 2], "test": [1.0, 0.4, 0.9, 1.0, 0.6, 0.7], "seed": [0] * 3 + [1] * 3}
    )
    steps = steps.assign(**dict.fromkeys(trajectory.CONDITION_COLUMNS, ""), method="m", retain=[1.0, 0.5, 1, 1, 0.7, 1])
    (row,) = trajectory.stability(steps).to_dict("records")
    assert row["lowest_test_accuracy"] == pytest.approx(0.5) and row["n_seeds"] == 2
    assert row["lowest_retain_accuracy"] == pytest.approx(0.6)
    assert row["test_accuracy_total_variation"] == pytest.approx((1.1 + 0.5) / 2)
    assert row["final_test_accuracy_sd"] == pytest.approx(0.2 / 2**0.5)


def test_t5_holds_outputs_features_and_cost(looked):
    table = tables.features_table(looked[4])
    assert table.protocol.tolist() == ["class"] * 3 + ["tenth"] * 3
    assert table.method.tolist() == ["original", "retrain", "muda"] * 2 and set(table.n_seeds) == {2}
    assert (
        set(tables.FEATURE_COLUMNS) <= set(table)
        and table[["DA", "CKA", "gap_retrain", "F1", "effective_rank"]].notna().all().all()
    )


def test_figures_draw_what_they_return(looked):
    grids, eigenvalues, by_seed, steps, _ = looked
    figure, data = figures.plot_spectra(eigenvalues, spectra.spectra_table(by_seed))
    assert (
        len(figure.axes) == 6 and set(data.quantity) == {"spectrum", "DA"} and set(data.protocol) == {"class", "tenth"}
    )
    figure, data = figures.plot_trajectories(steps)
    assert len(figure.axes) == 10 and set(data.quantity) == {"forget", "retain", "test", "DA", "effective_rank"}
    planes = spectra.planes(grids["class"][:1] + grids["tenth"][:1], ["original", "retrain", "muda", "unsir"])
    assert (
        "unsir" not in set(planes[planes.targets == "tenth"].method)
        and planes.groupby("run").method.nunique().eq(1).all()
    )
    figure, data = figures.plot_feature_plane(planes[planes.targets == "class"])
    assert len(figure.axes) == 4 and set(data.group) == {"retain", "target"} and len(data) == 4 * 120


def test_figures_tell_data_sets_apart(looked):
    _, eigenvalues, by_seed, steps, _ = looked
    twice = [pd.concat([t, t.assign(dataset="other")], ignore_index=True) for t in (eigenvalues, by_seed, steps)]
    table = spectra.spectra_table(twice[1])
    once = spectra.spectra_table(by_seed).drop(columns="dataset")
    for name in ("digits", "other"):
        pd.testing.assert_frame_equal(table[table.dataset == name].drop(columns="dataset").reset_index(drop=True), once)
    figure, data = figures.plot_spectra(twice[0], table)
    assert len(figure.axes) == 12 and data.n_seeds.max() == 2  # seeds, not seeds of two sets
    figure, data = figures.plot_trajectories(twice[2])
    assert len(figure.axes) == 20 and set(data.dataset) == {"digits", "other"}
    assert [axis.get_title() for axis in figure.axes[:2]] == ["digits, class", "digits, tenth"]
    planes = pd.DataFrame({"dataset": ["a"] * 4 + ["b"] * 2, "method": ["m", "m", "o", "o", "m", "m"]})
    planes = planes.assign(x=range(6), y=range(6), label=0, variance_explained=0.5, group=["retain", "target"] * 3)
    figure, _ = figures.plot_feature_plane(planes)
    assert [a.get_title() for a in figure.axes if a.get_visible()] == ["a:\nm (50%)", "a:\no (50%)", "b:\nm (50%)"]


def test_the_plane_sees_no_rotation_no_scale_and_no_shift():
    roles, labels = ["filler"] * 30 + ["target"] * 10, [0] * 40
    v = random(0, 40, 5)
    turned = {"original": v, "turned": 7 * v @ rotation(1, 5) + 3, "dead": torch.zeros(40, 5)}
    found = spectra.plane(
        {n: outputs_from(torch.zeros(40, 2), labels, roles, features=f.float()) for n, f in turned.items()}
    )
    torch.testing.assert_close(found["turned"][0], found["original"][0], atol=1e-4, rtol=1e-4)
    assert found["turned"][1] == pytest.approx(found["original"][1], abs=1e-4) and 0 < found["original"][1] < 1
    assert found["dead"][1] == 0 and not found["dead"][0].any()
