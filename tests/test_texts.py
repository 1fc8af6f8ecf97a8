"""The text task: roles, what models are trained on, leaks, digests, files."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from data_builders.task import ROLES, TRAINED_ON
from data_builders.texts.build_task import build_task
from data_builders.texts.fictional import make
from data_builders.texts.task import Texts, TextTask, load
from unlearnkit.analysis import dataset_cards as tables
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.texts import tasks
from unlearnkit.texts.config import TextConfig, text_config_grid


@pytest.fixture(scope="module")
def raw():
    return make(people=12, test_people=2)


@pytest.fixture(scope="module")
def task(raw):
    return build_task(raw, n_targets=4, copies=3, train_size=80, seed=1)


def changed(task: TextTask, **columns) -> TextTask:
    return replace(task, **columns)


# --- pairs


def test_texts_are_filled_in_and_indexed():
    texts = Texts(["who?", "when?"], ["Mara", "1921"], wrong=[["Tove"], []])
    assert texts.fact == ("", "") and texts.wrong == (("Tove",), ())
    assert len(texts) == 2 and list(texts) == [("who?", "Mara"), ("when?", "1921")]
    for index in (slice(1, 2), [1], torch.tensor([1]), np.array([1])):
        assert list(texts[index]) == [("when?", "1921")]
    assert len(texts[[]]) == 0
    assert texts[[0]].joined(texts[[1]]) == texts and texts[[1]].joined(texts[[0]]).digest() != texts.digest()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((["who?"], [""]), "pair 0 has an empty answer"),
        ((["who?", " ?! "], ["a", "b"]), "pair 1 has an empty question"),
        ((["who?"], ["a", "b"]), "1 questions need as many of answer, got 2"),
        ((["who?"], ["a"], ["b", "c"]), "as many of fact, got 2"),
        ((["who?"], ["Mara"], ["Tove"]), "answer of pair 0 lacks its fact 'Tove'"),
        ((["who?"], [3]), "answer of pair 0 must be text, got int"),
        ((["who?"], ["a"], (), (), [["b"], ["c"]]), "as many of wrong, got 2"),
    ],
)
def test_bad_texts_are_named(columns, message):
    with pytest.raises(BadValue, match=message):
        Texts(*columns)


# --- the task


def test_what_each_reference_is_trained_on(task):
    n = {role: len(task.index(role)) for role in ROLES}
    assert (
        n["target"] == 4
        and n["decoy"] == 60
        and n["similar"] == n["decoy_similar"] == n["refill"] == 12
        and len(task) == sum(n.values())
    )
    assert [len(task.training_set(r)) for r in TRAINED_ON] == [80, 76, 76]
    assert task.training_set("clean") == task.of("filler", "refill")
    assert task.of("target").question == tuple(task.question[i] for i in task.index("target"))


def test_the_pair_table_is_that_of_the_images(task):
    assert list(task.pairs)[:4] == ["anchor", "similar", "perturbation", "strength"]
    assert (task.source[task.pairs.anchor.tolist()] == task.source[task.pairs.similar.tolist()]).all()
    assert set(task.pairs.anchor.value_counts()) == {3} and len(task.pairs) == 24
    assert task.pairs.notna().all().all() and (task.pairs.both_rouge_l < 1).all()


@pytest.mark.parametrize("what", ["ids", "questions"])
@pytest.mark.parametrize(
    ("held", "name"), [("test", "test"), ("decoy", "decoy"), ("decoy_similar", "decoy"), ("validation",) * 2]
)
def test_a_leak_is_found(task, what, held, name):
    source, texts = task.source.clone(), task.texts
    leak, filler = task.index(held)[0].item(), task.index("filler")[0].item()
    if what == "ids":
        source[leak] = source[filler]
    else:
        question = [*texts.question]
        question[leak] = question[filler].upper().replace("?", " !")
        texts = replace(texts, question=question)
    with pytest.raises(BadValue, match=f"1 {what} are in both the trained and the {name}"):
        changed(task, source=source, texts=texts).check()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("anchor", "filler", "'anchor' of the pair table names samples of role filler"), ("similar", "test", "role test")],
)
def test_a_wrong_pair_is_found(task, column, value, message):
    pairs = task.pairs.copy()
    pairs.loc[0, column] = task.index(value)[0].item()
    with pytest.raises(BadValue, match=message):
        changed(task, pairs=pairs).check()
    pairs.loc[0, column] = len(task)
    with pytest.raises(BadValue, match="not there"):
        changed(task, pairs=pairs).check()


def test_roles_and_sources_are_checked(task):
    for columns, message in (
        ({"role": task.role.long()}, "role must be .* of torch.int8"),
        ({"source": task.source[1:]}, "source must be"),
        ({"role": torch.full_like(task.role, 8)}, "roles are 0 to 7"),
    ):
        with pytest.raises(BadValue, match=message):
            changed(task, **columns)


def test_the_digest_is_of_all(task):
    other = [*task.answer]
    other[0] += " indeed"
    pairs = task.pairs.assign(strength=0.0)
    source = task.source.clone()
    source[-1] += 1
    changes = ({"pairs": pairs}, {"source": source}, {"texts": replace(task.texts, answer=other)})
    assert len({task.digest(), *(changed(task, **c).digest() for c in changes)}) == 4


# --- files


def test_a_task_comes_back_equal(task, tmp_path):
    task.save(tmp_path)
    back = load(tmp_path)
    assert back.digest() == task.digest() and back.texts == task.texts and dict(back.facts) == dict(task.facts)
    pd.testing.assert_frame_equal(back.pairs, task.pairs)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".parquet", ".parquet"]
    samples = pd.read_parquet(tmp_path / "samples.parquet")  # for those without this package
    assert samples.role[0] == "target" and list(samples.wrong[0]) == list(task.texts.wrong[0])


def test_without_copies_too(raw, tmp_path):
    bare = build_task(raw, n_targets=4, copies=0, train_size=80)
    bare.save(tmp_path)
    assert load(tmp_path).digest() == bare.digest() and not len(bare.pairs) and "both_rouge_l" in bare.pairs


def test_damage_is_named(task, tmp_path):
    with pytest.raises(BadValue, match="has no task.json"):
        load(tmp_path)
    task.save(tmp_path)
    info = json.loads((tmp_path / "task.json").read_text())
    for change, message in (({"format": 9}, "another version"), ({"digest": "0"}, "damaged: its digest is 0")):
        (tmp_path / "task.json").write_text(json.dumps(info | change))
        with pytest.raises(BadValue, match=message):
            load(tmp_path)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(BadValue, match=r"task.json is not valid JSON in line 1"):
        load(tmp_path)
    (tmp_path / "task.json").write_text(json.dumps(info))
    (tmp_path / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadValue, match="is damaged"):
        load(tmp_path)


# --- stored tasks, tables and the figure


@pytest.fixture
def small(raw, monkeypatch):
    monkeypatch.setattr("unlearnkit.texts.tasks._pool", lambda *_: raw)
    return TextConfig(n_targets=3, copies=2, train_size=60, test_size=10)


def test_stored_once(small):
    first = tasks.task_artefact(small)
    assert tasks.task_artefact(replace(small, model="nano_llama")).key == first.key  # no task depends on the model
    assert first.key != tasks.task_artefact(replace(small, seed=1)).key
    task = tasks.load_task(small)
    assert task.digest() == first.info["digest"] and task.facts["dataset"] == "fictional"
    assert task.training_set("clean").digest() == first.info["clean"]


def test_without_copies_strength_and_side_mean_nothing():
    assert TextConfig(copies=0, strength=0.3, side="answer") == TextConfig(copies=0)
    with pytest.raises(UnknownName, match="Did you mean 'copies'"):
        text_config_grid(copys=1)
    with pytest.raises(BadValue, match="'copies' must be int"):
        TextConfig(copies=1.5)
    with pytest.raises(BadValue, match="'side' must be"):
        TextConfig(side="left")


def test_tables_and_figure(small):
    from unlearnkit.figures import plot_text_similarity

    grid = [replace(small, strength=s, seed=i) for s in (0.2, 0.8) for i in (0, 1)] + [replace(small, copies=0)]
    t1 = tables.dataset_cards(grid)
    assert len(t1) == 3 and (t1.n_train == 60).all() and t1.n_exact_duplicates.sum() == 0
    assert t1.n_seeds.tolist() == [2, 2, 1] and t1.run[0].count(" ") == 1
    assert t1.perturbation.tolist() == ["paraphrase of both"] * 3 and (t1.question_words > 3).all()
    assert t1.both_rouge_l[0] > t1.both_rouge_l[1] + 0.2 and np.isnan(t1.both_rouge_l[2])
    sheet = tables.text_sheet(grid[:1] + grid[2:3], n_targets=2, copies=1)
    assert sheet.relation.tolist() == ["target", "similar", "similar"] * 2
    figure, data = plot_text_similarity(grid[:4])
    assert len(figure.axes) == 6 and set(data.relation) == {"similar", "filler", "decoy"}
    assert (
        len(data[data.relation == "similar"]) == 4 * 3 * 2 and len(data[data.relation == "decoy"]) == 2 * 3 * 20
    )  # of many
    assert len(figure.axes[0].lines) == 4  # two strengths, filler, decoy
    alone, data = plot_text_similarity(grid[4:])  # no paraphrases at all
    assert len(alone.axes[0].lines) == 2 and set(data.relation) == {"filler", "decoy"}
    assert tables.rouge_l_by_strength([]) == {} and set(tables.rouge_l_by_strength(grid[:4])) == {0.2, 0.8}
