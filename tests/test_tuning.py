"""Tuning on record: what is searched, on which samples, what is written, and who reads it."""

import json
from dataclasses import replace
from typing import Annotated

import pandas as pd
import pytest
import torch

import batches
from data_builders.task import ROLES
from unlearnkit import results, study
from unlearnkit.analysis import tables
from unlearnkit.cli import main
from unlearnkit.core import code_digest, paths
from unlearnkit.core.errors import BadValue, NonFiniteLoss, UnknownName
from unlearnkit.core.parameters import Parameters
from unlearnkit.images import domain as images
from unlearnkit.images import tasks
from unlearnkit.images.config import Config
from unlearnkit.images.domain import without_test
from unlearnkit.images.outputs import forward_task
from unlearnkit.images.train import Recipe
from unlearnkit.methods import Search, method, methods
from unlearnkit.methods import tuned_options as tuned
from unlearnkit.metrics.attacks import confidence_attack
from unlearnkit.runner import grid
from unlearnkit.study import reference_models as references
from unlearnkit.tuning import objective, search_space
from unlearnkit.tuning import search as tuning

pytestmark = pytest.mark.slow

SMALL = {"train_size": 100, "recipe": {"epochs": 2, "batch_size": 32, "lr": 0.1}}
NAME = "gradient_ascent"


@pytest.fixture
def fake():
    """A cheap method, registered for one test: above a rate of 0.05 it diverges."""

    @method("fake", source="none")
    def fake(
        model,
        task,
        *,
        seed,
        device="auto",
        lr: Annotated[float, Search(1e-3, 1.0, log=True), "none"] = 0.01,
        k: int = 1,
    ):
        """Move the head's bias."""
        fake.calls += 1
        if lr > 0.05:
            raise NonFiniteLoss("the loss is not finite from step 1 on")
        with torch.no_grad():
            model.head.bias += 30 * lr
        return model

    fake.calls = 0
    yield fake
    del methods._entries["fake"]


def tune(name=NAME, trials=3, seeds=1, **more):
    return tuning.run([name], trials=trials, seeds=seeds, workers=1, **SMALL, **more)[0]


def test_fixed_options_are_not_searched_and_are_taken(fake, monkeypatch):
    seen, real = [], tuning.trial
    monkeypatch.setattr(tuning, "trial", lambda c, m, o, d: seen.append(o) or real(c, m, o, d))
    found = tuning.tune("fake", search_space.protocol("fake", "digits", "small_cnn", 1, **SMALL), 2, fixed={"k": 3})
    assert all(options["k"] == 3 for options in seen[:2]) and set(found["values"]) == {"lr"}


def content(file):
    found = json.loads(file.read_text())
    return {k: v for k, v in found.items() if k != "made"}


def write(dataset="digits", model="small_cnn", name=NAME, **changes):
    """A file of tuned values, put where those of gradient_ascent on digits belong."""
    record = {"format": 1, "method": name, "dataset": dataset, "model": model, "values": {"lr": 0.02}}
    record |= {"defaults": {"lr": 0.001}, "objective": {"n": 1, "default": 0.2, "best": 0.1}, "trials": [{}]}
    record |= {"sources": code_digest.digests([methods[NAME]]), "made": {"date": "2026-01-01"}}
    file = tuned.place(NAME, "digits", "small_cnn")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record | changes))
    return file


# --- the search ----------------------------------------------------------------------------------------------------


def test_the_same_search_writes_the_same_file_with_the_default_first(monkeypatch, tmp_path):
    file = tune()
    first = content(file)
    assert file == paths.tuned() / "digits" / "small_cnn" / f"{NAME}.json"
    assert first["trials"][0]["options"] == {"lr": 0.001} == first["defaults"]
    assert first["objective"]["default"] == first["trials"][0]["gap"] >= first["objective"]["best"]
    assert first["objective"]["best"] == min(t["gap"] for t in first["trials"])
    assert first["budget"] == {"trials": 3, "seeds": [1000], "sampler": "Optuna TPE, seed 0"}
    assert first["protocol"] | {"targets": "random", "n_targets": 20, "copies": 0} == first["protocol"]
    assert first["recipe"]["epochs"] == 2 and f"unlearnkit.methods.{NAME}" in first["sources"]
    assert all(1e-4 <= t["options"]["lr"] <= 0.1 for t in first["trials"])
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "another"))
    file.unlink()
    assert content(tune()) == first


def test_a_file_that_says_the_same_keeps_its_date():
    file = tune(trials=2)
    file.write_text(text := file.read_text().replace('"date": "20', '"date": "19'))
    tune(trials=2)
    assert file.read_text() == text
    tune(trials=3)
    assert len(content(file)["trials"]) == 3


def test_a_record_is_not_replaced_by_one_of_a_smaller_budget(monkeypatch):
    file = tune(trials=3)
    before = file.read_text()
    smaller = r"2 trials on 1 forget sets are less .* gradient_ascent \(3 trials on 1 .*--force"
    with monkeypatch.context() as patch, pytest.raises(BadValue, match=smaller):
        patch.setattr(tuning, "_results", lambda *_: pytest.fail("it ran"))
        tune(trials=2)
    assert file.read_text() == before
    tune(trials=2, force=True)
    assert len(content(file)["trials"]) == 2


def test_the_budget_is_the_same_for_all_and_methods_without_options_say_so(fake, capsys):
    files = tuning.run(["fake", "retrain", NAME], trials=2, seeds=2, workers=1, **SMALL)
    assert [f.stem for f in files] == ["fake", NAME]
    assert {(len(content(f)["trials"]), content(f)["objective"]["n"]) for f in files} == {(2, 2)}
    said = capsys.readouterr().out
    assert "retrain: has no option to tune" in said and "[1/2] fake: gap" in said and "left" in said
    assert "by 2 trials on 2 forget sets" in said


def test_diverged_trials_count_as_the_worst(fake):
    found = content(tune("fake", trials=8))
    diverged = [t for t in found["trials"] if "diverged" in t]
    assert diverged and all(t["options"]["lr"] > 0.05 and t["gap"] == 1.0 for t in diverged)
    assert "seed 1000: the loss is not finite" in diverged[0]["diverged"]
    assert found["values"]["lr"] <= 0.05 and len(found["trials"]) == 8
    assert tuned.listing()[0]["diverged"] == len(diverged)


def test_outputs_that_are_not_finite_are_a_divergence(fake, task, models):
    with torch.no_grad():
        models["original"].head.bias += float("inf")
    with pytest.raises(NonFiniteLoss, match="outputs are not finite"):
        objective.finite(forward_task(models["original"], without_test(task), device="cpu"))


def test_a_stopped_search_loses_no_trial_and_ends_where_it_would_have(fake, monkeypatch, tmp_path):
    class Stopped(Exception):
        pass

    steps = iter((None, None, Stopped))

    def stop_after_three():
        if error := next(steps):
            raise error

    configs = search_space.protocol("fake", "digits", "small_cnn", 1, **SMALL)
    with pytest.raises(Stopped):
        tuning.tune("fake", configs, 5, done=stop_after_three)
    assert fake.calls == 3
    stopped = tuning.tune("fake", configs, 5)
    assert fake.calls == 5
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "another"))
    assert tuning.tune("fake", configs, 5) | {"made": 0} == stopped | {"made": 0}
    assert fake.calls == 10


@pytest.mark.parametrize(("role", "counts"), [("test", False), ("validation", True)])
def test_only_validation_images_are_looked_at_never_test_images(role, counts, monkeypatch, tmp_path):
    (config,) = search_space.protocol(NAME, "digits", "small_cnn", 1, **SMALL)
    options = methods[NAME].resolve({})
    before = tuning.trial(config, NAME, options)
    real = study.load_task(config)

    def noisy(config):
        x, rows = real.x.clone(), real.index(role)
        x[rows] = torch.randint(256, x[rows].shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return replace(real, x=x)

    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(images, "load_task", noisy)
    monkeypatch.setattr(tasks, "load_task", noisy)
    tuning._measure.cache_clear()
    after = tuning.trial(config, NAME, options)
    tuning._measure.cache_clear()
    assert (after["gap"] != before["gap"]) is counts


def test_the_gap_is_that_of_the_metric_on_validation_samples(task, models):
    """By hand: accuracies of original and retrain on targets, retain set and validation samples, and the attack."""
    held = without_test(task)
    assert len(held.index("test")) == len(task.index("validation")) and not len(held.index("validation"))
    assert not torch.isin(held.source[held.index("test")], task.source[task.index("test")]).any()
    a, b = (forward_task(models[name], held) for name in ("original", "retrain"))
    parts = [(a.correct[a.rows(g)].mean() - b.correct[b.rows(g)].mean()).abs() for g in ("target", "retain", "test")]
    attacks = abs(confidence_attack(a)["target"] - confidence_attack(b)["target"])
    assert objective.gap(a, b) == pytest.approx((sum(parts).item() + attacks) / 4)
    assert objective.gap(b, b) == 0


def test_without_validation_samples_there_is_no_tuning(task):
    bare = replace(task, role=task.role.masked_fill(task.role == ROLES.index("validation"), ROLES.index("test")))
    with pytest.raises(BadValue, match="use a larger pool"):
        without_test(bare)


def test_methods_for_whole_classes_are_tuned_on_one():
    @method("of_a_class", source="none", whole_classes=True)
    def of_a_class(model, task, *, seed, device="auto", lr: Annotated[float, Search(1e-3, 1.0), "none"] = 0.01):
        """Nothing."""
        return model

    try:
        (config,) = search_space.protocol("of_a_class", "digits", "small_cnn", 1, train_size=400)
    finally:
        del methods._entries["of_a_class"]
    assert config.targets == "class" and config.copies == 0 and config.seed == 1000
    task = study.load_task(config)
    held = without_test(task)
    gone = set(task.of("target").y.tolist())
    assert len(gone) == 1 and gone & set(task.of("validation").y.tolist())
    assert not gone & set(held.of("test").y.tolist())


@pytest.mark.parametrize("name", sorted(methods))
def test_every_range_holds_its_default_and_fits_its_option(name):
    search_space.space(name)


@pytest.mark.parametrize(
    ("search", "default", "message"),
    [(Search(1, 5), 7, "its default 7 is not in the range"), (Search(0.5, 5.5), 2, "is a whole number")],
)
def test_a_range_that_does_not_fit_is_refused(search, default, message):
    def wrong(model, task, *, seed, k: Annotated[int, search, "none"] = default):
        """Nothing."""

    methods.register("wrong")(wrong)
    try:
        with pytest.raises(BadValue, match=f"option 'k' of method 'wrong'.*{message}"):
            search_space.space("wrong")
    finally:
        del methods._entries["wrong"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"copies": 5}, UnknownName, "unknown setting of tuning 'copies'"),
        ({"train_size": [100, 200]}, BadValue, "'train_size' must be int"),
        ({"train_size": "100"}, BadValue, "'train_size' must be int"),
        ({"recipe": {"epoch": 3}}, UnknownName, "Did you mean 'epochs'"),
    ],
)
def test_wrong_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        search_space.protocol(NAME, "digits", "small_cnn", 1, **settings)


def test_another_exception_is_raised_when_the_other_methods_are_finished(fake, capsys):
    @method("broken", source="none")
    def broken(model, task, *, seed, device="auto", lr: Annotated[float, Search(0.0, 1.0), "none"] = 0.01):
        """A bug."""
        raise RuntimeError("a bug")

    try:
        with pytest.raises(RuntimeError, match="a bug"):
            tuning.run(["broken", "fake"], trials=1, seeds=1, workers=1, **SMALL)
    finally:
        del methods._entries["broken"]
    assert "[1/2] broken: FAILED: RuntimeError: a bug" in capsys.readouterr().out
    assert tuned.place("fake", "digits", "small_cnn").is_file()


def test_workers_find_what_one_process_finds(monkeypatch, tmp_path):
    alone = [content(f) for f in tuning.run([NAME, "finetune"], trials=1, seeds=1, workers=1, **SMALL)]
    monkeypatch.setenv("UNLEARNKIT_TUNED", str(tmp_path / "by workers"))
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "another"))
    with batches.forked_workers():
        files = tuning.run([NAME, "finetune"], trials=1, seeds=1, workers=2, **SMALL)
    assert sorted(map(content, files), key=str) == sorted(alone, key=str)


# --- reading -------------------------------------------------------------------------------------------------------

CELL = Config(train_size=100, n_targets=5, copies=0, recipe=Recipe(epochs=1))


def test_tuned_values_are_what_a_run_takes_and_its_key_knows_them():
    def key(options=None, **how):
        return study.unlearn(CELL, NAME, options, **how).key

    bare = key()
    assert bare == key(tuned=False) == key({"lr": 0.001})
    write()
    assert key() == key({"lr": 0.02}, tuned=False) != bare
    assert key(tuned=False) == bare  # the published default
    assert key({"lr": 0.001}) == bare  # the user has the last word
    assert study.unlearn(replace(CELL, model="mlp"), NAME).artefact.manifest["params"]["options"]["lr"] == 0.001


def test_scores_are_of_tuned_values_unless_told_otherwise():
    write()
    runs = {how: set(study.scores([CELL], [NAME], tuned=how).run) for how in (True, False)}
    assert runs[True].isdisjoint(runs[False])
    assert set(study.scores([CELL], [NAME], {NAME: {"lr": 0.02}}, tuned=False).run) == runs[True]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "mnist"}, BadValue, "tuned for gradient_ascent on mnist with small_cnn.*Move it to"),
        ({"model": "mlp"}, BadValue, "on digits with mlp"),
        ({"name": "scrub"}, BadValue, "tuned for scrub"),
        ({"values": {"lrr": 0.1}}, UnknownName, "gradient_ascent.json.*Did you mean 'lr'.*unlearnkit tune"),
        ({"values": {"lr": "0.1"}}, BadValue, "gradient_ascent.json.*must be float"),
        ({"format": 2}, BadValue, "does not hold tuned values of format 1"),
    ],
)
def test_a_file_that_is_out_of_place_or_wrong_is_refused_before_any_training(changes, error, message, monkeypatch):
    write(**changes)
    monkeypatch.setattr(references, "_train", None)
    with pytest.raises(error, match=message):
        study.scores([CELL], [NAME])
    ((_, state, detail),) = tuned.states()
    assert state == "damaged" and detail
    assert tuned.resolve(NAME, "digits", "small_cnn", tuned=False)["lr"] == 0.001


def test_half_a_file_is_named():
    write().write_text("{")
    with pytest.raises(BadValue, match="gradient_ascent.json is not valid JSON"):
        tuned.values(NAME, "digits", "small_cnn")


def test_a_dataset_of_your_own_has_values_of_its_own():
    """Whatever another data set with the same file name has: a registered one, or one in another folder."""
    names = ["digits", "digits.npz", "sub/digits.npz", "other/digits.npz", "sub/digits.parquet", "/x/digits.npz"]
    places = [tuned.place(NAME, name, "mlp") for name in names]
    assert len(set(places)) == len(names) and places[0].parts[-3] == "digits"
    assert tuned.place(NAME, "./sub//digits.npz", "mlp") == places[2]
    assert [Config(dataset=n).columns()["dataset"] for n in names] == [place.parts[-3] for place in places]


def test_values_of_a_method_that_changed_are_used_and_flagged(capsys):
    sources = code_digest.digests([methods[NAME]]) | {f"unlearnkit.methods.{NAME}": "0" * 16}
    file = write(sources=sources)
    assert tuned.values(NAME, "digits", "small_cnn") == {"lr": 0.02}
    assert tuned.stale(json.loads(file.read_text())) == [f"unlearnkit.methods.{NAME}"]
    ((name, state, detail),) = tuned.states()
    assert (name, state) == (f"tuned/digits/small_cnn/{NAME}", "stale") and "unlearnkit tune" in detail
    main(["verify"])
    assert f"tuned/digits/small_cnn/{NAME} stale" in capsys.readouterr().out
    main(["list", "tuned"])
    assert "stale" in capsys.readouterr().out


def test_files_of_a_method_that_is_no_more_are_flagged():
    file = write()
    record = json.loads(file.read_text()) | {"method": "gone"}
    file.with_stem("gone").write_text(json.dumps(record))
    states = {name: state for name, state, _ in tuned.states()}
    assert states == {f"tuned/digits/small_cnn/{NAME}": "ok", "tuned/digits/small_cnn/gone": "stale"}


def test_what_is_tuned_is_listed(capsys):
    assert main(["list", "tuned"]) == 0
    assert "nothing is tuned yet" in capsys.readouterr().out
    write()
    assert main(["list", "tuned"]) == 0
    said = " ".join(capsys.readouterr().out.split())  # wrapped at the width of the terminal
    assert "gradient_ascent digits small_cnn: lr=0.02 (default 0.001); gap 0.1000 (default 0.2000, n=1)" in said
    assert main(["list", "tuned", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["values"] == {"lr": 0.02} and row["stale"] is False
    table = tables.tuned_table()
    assert {"method", "dataset", "model", "gap_default", "gap_tuned", "trials", "stale"} <= set(table) and len(
        table
    ) == 1


def test_options_are_explained():
    write()
    rows = {r["option"]: r for r in tuned.option_table(NAME, "digits", "small_cnn", {"epochs": 3})}
    assert {n: (r["value"], r["default"], r["set by"]) for n, r in rows.items()} == {
        "epochs": (3, 5, "you"),
        "lr": (0.02, 0.001, "tuned"),
        "batch_size": (64, 64, "default"),
    }
    assert "authors' replies" in rows["lr"]["source of the default"]
    assert tuned.option_table(NAME, "digits", tuned=False)[1]["set by"] == "default"


def test_a_job_that_uses_tuned_values_runs_again_when_one_changes():
    def keys(**own):
        entry = {"notebook": "30_unlearn", "set": {"method": NAME, **own}, "each": ["method"], "with": list(own)}
        return [job.key for job in grid._expand(entry, {}, {})]

    before, without = keys(), keys(tuned=False)
    write()
    assert keys() != before and keys(tuned=False) == without
    after = keys()
    write(values={"lr": 0.03})
    assert keys() != after
    mnist = keys(dataset=["mnist"])
    write(values={"lr": 0.04})
    assert keys(dataset=["mnist"]) == mnist  # those of another dataset do not count


def test_a_result_of_other_tuned_values_is_stale(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    write()
    for name, also in (("T2", []), ("F3", [{"dataset": "digits"}])):
        parameters = {"tuned": True, "dataset": ["mnist"] if also else ["digits"], "extra_conditions": also}
        origin = {"parameters": Parameters(parameters | {"publish": "results"}), "runs": [], "roots": []}
        results.publish(name, pd.DataFrame({"v": [1]}), **origin)
    for change, state in (({"trials": [{}, {}]}, "ok"), ({"values": {"lr": 0.03}}, "stale"), ({"format": 9}, "stale")):
        write(**change)
        found = {name: state for name, state, _ in results.verify()}
        assert found["T2"] == found["F3"] == state


def test_the_command_line_tunes(capsys):
    size = ["-p", "train_size", "100", "-p", "recipe", '{"epochs": 1}', "--workers", "1"]
    assert main(["tune", NAME, "--trials", "1", "--seeds", "1", *size]) == 0
    assert "[1/1] gradient_ascent: gap" in capsys.readouterr().out
    assert content(tuned.place(NAME, "digits", "small_cnn"))["values"] == {"lr": 0.001}
    assert main(["tune", "scurb"]) == 2
    assert "Did you mean 'scrub'" in capsys.readouterr().err
