"""The cut of the profile paper at a toy size: without the notebooks' packages, resumed, in time, and found by them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from unlearnkit import study
from unlearnkit.analysis import literature as published
from unlearnkit.core import paths
from unlearnkit.images.config import config_grid
from unlearnkit.metrics import metrics
from unlearnkit.runner import grid
from unlearnkit.runner import time_boxed as cut
from unlearnkit.study.protocols import protocols

TOY = cut.TOY
BLOCKED = [
    "papermill",
    "dask",
    "distributed",
    "jupyter",
    "jupyter_client",
    "IPython",
    "nbformat",
    "nbconvert",
]
BLOCKED += ["seaborn", "matplotlib", "optuna", "transformers", "tokenizers", "peft", "sentence_transformers", "yaml"]
BLOCKED += ["torchvision", "jinja2"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    return tmp_path


def stored(*kinds: str) -> set[str]:
    return {p.name for kind in kinds for p in (paths.cache() / kind).glob("*") if not p.name.startswith(".")}


def test_it_runs_without_the_notebooks_packages_and_publishes(home):
    program = f"import sys\nfor name in {BLOCKED}: sys.modules[name] = None\nfrom unlearnkit.cli import main\n"
    program += "sys.exit(main(['cut', '--toy', '--workers', '1']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "similar, 5 copies, seed 0: gradient_ascent" in done.stdout and "left in all" in done.stdout
    folder = home / "results" / "runs" / "toy"
    assert set(json.loads((folder / "manifest.json").read_text())) == {"T2", "T2-protocols", "T10-published"}
    table = pd.read_csv(folder / "tables" / "T2-protocols.csv")
    assert set(table.protocol) == {"tenth", "class"} and (table.n == 1).all()
    assert {"original", "retrain", "ssd", "clean-again"} == set(table.method) - {"clean"}
    assert "UA" in table and "LP" not in table  # what needs more than a pass is the notebooks'
    t2 = pd.read_csv(folder / "tables" / "T2.csv")
    assert set(t2.copies) == {0, 5} and t2.rho.notna().any()
    assert set(pd.read_csv(folder / "tables" / "T10-published.csv").ours) == {
        published.NOT_RUN
    }  # digits are no CIFAR-10


def test_the_notebooks_find_what_was_computed():
    """Notebooks 41 and 50 make their configs so; all models and their outputs are there by then, and what is scored alike."""
    scores = cut.run(TOY, workers=1)
    before, plan = stored("model", "unlearned", "outputs"), TOY
    assert len(before) > 25
    wanted = [
        n for n, e in metrics.items() if not {"ensemble", "backdoor", "features", "relearn"} & set(e.info["needs"])
    ]
    for name, found in protocols(plan.protocols, plan.dataset, **plan.common, seeds=1).items():
        again = study.scores(
            found, [*study.BASELINES, *plan.classical], dict(plan.options), metrics=wanted, tuned=False
        )
        here = scores[scores.protocol == name]
        value = [part[(part.method == "ssd") & (part.metric == "UA")].value.tolist() for part in (again, here)]
        assert value[0] == value[1] != []
    doses = {name: list(getattr(plan, name)) for name in ("targets", "copies", "strength")}
    found = config_grid(dataset=[plan.dataset], n_targets=plan.n_targets, **plan.common, seeds=1, **doses)
    again = study.scores(
        found, [*study.BASELINES, *plan.similar], dict(plan.options), tuned=False, options_in_name=False
    )
    assert stored("model", "unlearned", "outputs") == before
    assert set(again.run) == set(scores[scores.protocol == "similar"].run)  # notebook 50 scores by the same metrics


def test_a_killed_run_goes_on_where_it_was(home):
    command = [sys.executable, "-m", "unlearnkit.cli", "cut", "--toy", "--workers", "1"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ.copy())
    for line in first.stdout:
        if "tenth, seed 0: reference original" in line:
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = {p: p.stat().st_mtime_ns for p in (paths.cache() / "model").glob("*/manifest.json")}
    assert len(before) >= 4
    assert cut.run(TOY, workers=1) is not None
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_no_model_is_begun_that_would_outlast_its_time(monkeypatch, capsys):
    assert cut.run(TOY, minutes=0.0, workers=1) is None
    assert "does not end in time" in capsys.readouterr().out and not stored("model")
    start, real = time.monotonic(), cut._Clock.gone
    monkeypatch.setattr(cut._Clock, "gone", lambda clock: real(clock) + 10_000 * (len(stored("unlearned")) >= 4))
    scores = cut.run(TOY, minutes=25.0, workers=1)
    assert set(scores.protocol) == {"similar"} and time.monotonic() > start  # the first part alone, but whole
    assert set(scores.method) == {*study.BASELINES, "retrain", "gradient_ascent"}


def test_on_a_slow_device_it_ends_in_time_and_goes_on_there(monkeypatch, capsys):
    real = cut._Clock.gone
    with monkeypatch.context() as slow:
        slow.setattr(cut._Clock, "gone", lambda clock: real(clock) + 100 * len(stored("model")))
        assert cut.run(TOY, minutes=5.0, workers=1) is None
    before = stored("model")
    assert "similar of seed 0 does not end in time" in capsys.readouterr().out and 1 <= len(before) < 4
    assert set(cut.run(TOY, workers=1).protocol) == {"similar", "tenth", "class"} and before < stored("model")


def test_scores_do_not_depend_on_the_number_of_processes():
    plan = replace(TOY, protocols=(), copies=(0,), similar=("retrain",))
    once = cut.run(plan, workers=1)
    pd.testing.assert_frame_equal(cut.run(plan, workers=2), once)


def test_the_plan_is_the_grids_and_costs_what_it_says(monkeypatch):
    monkeypatch.delenv("UNLEARNKIT_HOME")
    seen = set()
    for j in grid.load("paper-cut"):
        own = "classical" if j.notebook.stem.startswith("41") else "similar"
        for name, value in j.parameters.items():
            field = own if name == "methods" else name
            if name != "extra_conditions":
                planned = getattr(cut.PLAN, field)
                assert value == (list(planned) if isinstance(planned, tuple) else planned), name
                seen.add(field)
    assert seen == set(cut.Plan.__dataclass_fields__)
    passes = {p.name: sum(piece.passes for piece in cut.pieces(p, cut.PLAN)) for p in cut.parts(cut.PLAN) if not p.seed}
    assert passes == {"similar": 221, "tenth": 126, "class": 126}
    assert "221 passes" in cut.__doc__ and cut.__doc__.count(" 126\n") == 2


# --- published figures ---


def row(**more) -> dict:
    of = {"dataset": "cifar10", "train_size": 45000, "architecture": "resnet18", "protocol": "tenth", "method": "salun"}
    return of | {"metric": "UA", "group": "target", "reference": "", "seed": 0, "value": 0.03, "run": "r"} | more


def test_ours_stand_beside_theirs_in_their_unit():
    scores = pd.DataFrame([row(value=0.02), row(value=0.04, seed=1), row(metric="seconds", group="all", value=90.0)])
    found = published.published_beside_ours(scores)
    salun = found[found.method == "salun"].set_index("metric")
    assert salun.published["UA"] == 2.85 and salun.ours["UA"] == pytest.approx(3.0) and salun.n["UA"] == 2
    assert salun.ours_low["UA"] < 3 < salun.ours_high["UA"] and pd.isna(salun.ours_low["seconds"])
    assert salun.ours["seconds"] == pytest.approx(1.5) and salun.ours["TA"] == published.NOT_RUN
    assert (found.ours != published.NOT_RUN).sum() == 2


@pytest.mark.parametrize(
    "other", [{"train_size": 640}, {"dataset": "digits"}, {"architecture": "small_cnn"}, {"protocol": "class"}]
)
def test_another_setting_is_not_set_beside_theirs(other):
    assert set(published.published_beside_ours(pd.DataFrame([row(**other)])).ours) == {published.NOT_RUN}


def test_every_published_figure_names_what_there_is():
    from unlearnkit.methods import methods

    found = published.figures()
    assert len(found) == 9 * 6 + 3 * 3 + 7 * 2 and set(found.source) == set(published.DIFFERENCES)
    assert set(found.metric) <= set(metrics) and set(found.method) - {"original"} <= set(methods)
    assert set(found.unit) == set(published.UNITS) and set(found.checked) == {"one source", "two sources"}
    assert Path(published.__file__).with_suffix(".csv").is_file()
