"""Mixed text tasks: every target has its own number and strength of paraphrases; scores of single targets from language
models, by the code that images have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data_builders.arms import arm_columns, parse_arms
from data_builders.texts import build_mixed_task as builder
from data_builders.texts import tofu
from data_builders.texts.arms import TextArm
from data_builders.texts.build_mixed_task import build_mixed_task
from data_builders.texts.fictional import make
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import words
from data_builders.texts.task import load
from language import RECIPE
from unlearnkit import study
from unlearnkit.analysis.influence import residual_influences
from unlearnkit.analysis.mitigations import near_duplicates
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.metrics.standardised import rank_share, standardised
from unlearnkit.texts import tasks
from unlearnkit.texts.config import TextConfig, text_config_grid
from unlearnkit.texts.outputs import TextOutputs
from unlearnkit.tuning import objective, search_space

ARMS = [
    {"targets": "random", "n_targets": 2, "copies": [0, 3]},
    {"targets": "random", "n_targets": 2, "copies": 2, "strength": 0.8, "perturbation": "paraphrase of question"},
    {"targets": "canary", "n_targets": 2, "copies": [0, 2]},
]


@pytest.fixture(scope="module")
def raw():
    return make(people=20, test_people=2)


def build(raw, **changes):
    return build_mixed_task(raw, **{"arms": ARMS, "n_decoys": 20, "train_size": 100, "test_size": 20} | changes)


def test_arms_of_texts():
    arms = parse_arms(ARMS, TextArm)
    assert [(a.targets, a.copies, a.strength, a.side) for a in arms] == [
        ("random", 0, 0.0, "both"), ("random", 3, 0.5, "both"), ("random", 2, 0.8, "question"),
        ("canary", 0, 0.0, "both"), ("canary", 2, 0.5, "both"),
    ]  # fmt: skip
    assert arms[2].columns() == arm_columns(arms[2].as_dict()) == {
        "targets": "random", "copies": 2, "perturbation": "paraphrase of question", "strength": 0.8,
        "similarity_level": "", "control": "",
    }  # fmt: skip
    assert parse_arms([a.as_dict() for a in arms], TextArm) == arms


@pytest.mark.parametrize(
    ("arm", "error", "says"),
    [
        ({"targets": "memorised"}, UnknownName, "memorised"),
        ({"targets": "random", "copies": 2, "perturbation": "block_mask"}, UnknownName, "paraphrase of"),
        ({"targets": "random", "copies": 2, "strength": 1.5}, BadValue, "from 0 to 1"),
        ({"targets": "random", "copies": 2, "copies_of": "other images"}, UnknownName, "copies_of"),
        ({"targets": "random", "copies": 2, "similarity_level": "ssim~0.5"}, BadValue, "no similarity level"),
    ],
)
def test_arms_that_texts_cannot_have(arm, error, says):
    with pytest.raises(error, match=says):
        parse_arms([arm], TextArm)


def test_the_control_has_as_many_paraphrases_of_pairs_about_others(raw):
    arms = [{"targets": "random", "n_targets": 3, "copies": 4}, {"targets": "random", "n_targets": 3, "copies": 4,
                                                                  "copies_of": "other pairs"}]  # fmt: skip
    task = build(raw, arms=arms)
    assert parse_arms(arms, TextArm)[1].name == "copies of other pairs"
    subject = dict(zip(raw.ids, raw.subjects, strict=True))
    pairs = task.pairs.assign(arm=task.arm[task.pairs.anchor.tolist()].tolist())
    source = task.source.tolist()
    for arm, own in ((0, True), (1, False)):
        part = pairs[pairs.arm == arm]
        assert len(part) == 12
        for pair in part.itertuples():
            assert (source[pair.anchor] == source[pair.similar]) is own
            assert (subject[source[pair.anchor]] == subject[source[pair.similar]]) is own
    controls = [source[i] for i in pairs[pairs.arm == 1].similar]
    assert len(set(controls)) == 12  # each of another pair, which is itself not trained on
    assert not set(controls) & {source[i] for i in task.index("filler", "refill", "validation", "decoy").tolist()}
    with pytest.raises(BadValue, match="the control needs 500 other pairs"):
        build(
            raw, arms=[{"targets": "random", "n_targets": 1, "copies": 500, "copies_of": "other pairs"}], train_size=900
        )


def near_duplicates_are_paraphrases_of_targets_alone(found, raw):
    """Not those of other pairs, which the control arm links to its targets."""
    of_control = {"targets": "random", "n_targets": 3, "copies": 4, "copies_of": "other pairs"}
    task = build(raw, arms=[*ARMS, of_control])
    sources = {*task.source[task.index("target")].tolist()}
    expected = [i for i in task.index("similar").tolist() if task.source[i].item() in sources]
    assert len(expected) == 2 * 3 + 2 * 2 + 2 * 2 and sorted(found(task).tolist()) == expected


def test_a_search_for_near_duplicates_is_held_to_the_paraphrases_of_targets_alone(raw):
    near_duplicates_are_paraphrases_of_targets_alone(near_duplicates, raw)
    with pytest.raises(AssertionError):
        near_duplicates_are_paraphrases_of_targets_alone(lambda task: task.index("similar"), raw)


def test_every_target_has_the_paraphrases_of_its_arm_and_clean_is_refilled(raw):
    task, arms = build(raw), parse_arms(ARMS, TextArm)
    n = {
        role: len(task.index(role)) for role in ("target", "similar", "filler", "refill", "decoy", "test", "validation")
    }
    assert n == {"target": 10, "similar": 14, "filler": 76, "refill": 14, "decoy": 40, "test": 20, "validation": 20}
    sizes = {name: len(task.training_set(name)) for name in ("original", "retrain", "clean")}
    assert sizes == {"original": 100, "retrain": 90, "clean": 90}
    for row in task.index("target").tolist():
        arm = arms[task.arm[row]]
        similar = torch.tensor(task.pairs.similar[task.pairs.anchor == row].to_list(), dtype=torch.int64)
        assert len(similar) == arm.copies and (task.arm[similar] == task.arm[row]).all()
        for other in similar.tolist():
            assert task.texts.fact[other] == task.texts.fact[row] and task.question[other] != task.question[row]
            assert (task.answer[other] == task.answer[row]) == (arm.side == "question")
        truth = task.texts.fact[row] == raw.train.fact[int(task.source[row])]
        assert truth == (arm.targets == "random")


def test_no_model_is_told_of_the_decoys_people_and_targets_are_about_different_ones(raw):
    seen = []
    for seed in (0, 1):
        task = build(raw, seed=seed)
        people = {role: {raw.subjects[i] for i in task.source[task.index(role)].tolist()} for role in
                  ("target", "decoy", "filler", "refill", "validation")}  # fmt: skip
        told = set.union(*(people[role] for role in people if role != "decoy"))
        assert not people["decoy"] & told and len(people["target"]) == len(task.index("target"))
        seen.append({role: set(task.source[task.index(role)].tolist()) for role in ("target", "decoy")})
    assert not seen[0]["target"] & seen[1]["target"] and not seen[0]["decoy"] & seen[1]["decoy"]
    assert build(raw, seed=1).digest() == task.digest() != build(raw).digest()


def test_the_mutant_that_draws_decoys_among_known_people_is_caught(raw, monkeypatch):
    some = [
        row for row in range(len(raw.train)) if raw.subjects[row] < 5 and row % 2
    ]  # half of what is asked about them
    monkeypatch.setattr(builder, "_strangers", lambda raw, n, seed: some[:n])
    with pytest.raises(AssertionError):
        test_no_model_is_told_of_the_decoys_people_and_targets_are_about_different_ones(raw)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_decoys": 0}, "at least 1"),
        ({"n_decoys": 200}, "use fewer decoys"),
        ({"train_size": 20}, "leaves no filler"),
        ({"train_size": 300}, "to refill `clean`"),
        ({"arms": [{"targets": "random", "n_targets": 300}]}, "use fewer targets or decoys"),
    ],
)
def test_what_the_data_set_cannot_give_is_said(raw, changes, says):
    with pytest.raises(BadValue, match=says):
        build(raw, **changes)


def test_paraphrases_need_a_rewriter(raw):
    bare = RawTexts(raw.train, raw.test, subjects=raw.subjects)
    with pytest.raises(BadValue, match="no paraphrases"):
        build(bare)
    assert len(build(bare, arms=[{"targets": "random", "n_targets": 3}]).index("target")) == 3


def test_subjects_are_one_per_pair(raw):
    assert RawTexts(raw.train[:3], raw.test).subjects == (0, 1, 2)
    with pytest.raises(BadValue, match="need a subject each, got 2"):
        RawTexts(raw.train[:3], raw.test, subjects=[0, 1])


def test_a_stored_task_is_read_back_with_its_arms(raw, tmp_path):
    task = build(raw)
    task.save(tmp_path)
    read = load(tmp_path)
    assert read.digest() == task.digest() and torch.equal(read.arm, task.arm) and read.arm.dtype == torch.int16


def test_a_config_of_arms_has_no_other_targets():
    config = TextConfig(arms=ARMS, copies=7, n_targets=3, side="question", seed=1)
    assert (config.targets, config.copies, config.side) == ("mixed", 0, "both")
    assert config == TextConfig(arms=[a.as_dict() for a in parse_arms(ARMS, TextArm)], seed=1)
    assert "arms" not in TextConfig().task_params() and "arms" in config.task_params()
    with pytest.raises(BadValue, match="at least one arm"):
        TextConfig(targets="mixed")


@pytest.mark.skipif(not tofu.files(), reason="TOFU is not in the data folder")
def test_tofu_gives_no_question_two_answers():
    sides = ["paraphrase of question", "paraphrase of both"]
    arms = [{"targets": "random", "n_targets": 5, "copies": 0}]
    arms.append({"targets": "random", "n_targets": 5, "copies": 1, "perturbation": sides})
    task = build_mixed_task(tofu.tofu(), arms=arms, n_decoys=20, train_size=200)
    trained = task.training_set("original")
    asked = [" ".join(words(question)) for question in trained.question]
    assert len(set(asked)) == len(asked)


def test_tuning_searches_on_mixed_tasks_of_held_out_seeds():
    arms = [{"targets": "random", "copies": 0}]
    (config,) = search_space.protocol("npo", "fictional", "nano_llama", 1, arms=arms, n_decoys=10, train_size=100)
    assert (config.targets, config.n_decoys, config.seed) == ("mixed", 10, search_space.FIRST_SEED)


# --- scores of single targets ---------------------------------------------------------------------------------------

SMALL = {"arms": [{"targets": "random", "n_targets": 3, "copies": [0, 4]}], "n_decoys": 10, "train_size": 26,
         "test_size": 8, "model": "nano", "vocabulary": 400}  # fmt: skip


@pytest.fixture(scope="module")
def _kept(tmp_path_factory):
    return tmp_path_factory.mktemp("mixed texts"), make(people=12, test_people=2)


@pytest.fixture
def measured(_kept, monkeypatch):
    """(configs, scores): trained by the first test that asks for them."""
    cache, pool = _kept
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(cache))
    monkeypatch.setattr(tasks, "_pool", lambda *_: pool)
    configs = text_config_grid(seeds=1, recipe=RECIPE | {"epochs": 20}, **SMALL)
    return configs, study.target_scores(configs, ["finetune"], {"finetune": {"epochs": 1}}, device="cpu")


def test_one_row_per_model_and_target(measured):
    _, scores = measured
    assert set(scores.method) == {*study.REFERENCE_ROWS, "finetune"} and len(scores) == 7 * 6
    assert scores["rank"].between(0, 1).all() and scores.divergence.between(-1e-9, np.log(2)).all()
    original = scores[scores.method == "original"]
    assert (original.divergence.abs() < 1e-9).all() and original.label_given.mean() >= 0.5
    assert scores.rouge_l.between(0, 1).all() and (scores.nats_per_token > 0).all()
    assert scores.utility.between(0, 1).all() and not scores.duplicated(["method", "seed", "target"]).any()
    table = residual_influences(scores)
    assert len(table) == 7 * 2 and {"rouge_l", "rouge_l_low", "nats_per_token", "utility"} <= set(table)


def test_a_reader_sees_what_each_model_says_to_the_same_questions(measured):
    (config,), scores = measured
    table = study.answers_side_by_side(scores, config, n=3)
    task, rows = study.load_task(config), [0, 2, 5]  # of the six targets, which come first
    assert table.question.tolist() == [task.question[i] for i in rows] and table.copies.tolist() == [0, 0, 4]
    (refs,) = study.references([config], ["original"], device="cpu")
    assert table.original.tolist() == [study.generations(refs["original"], device="cpu")[1][i] for i in rows]
    with pytest.raises(BadValue, match="no answers to seed 5"):
        study.answers_side_by_side(scores, replace(config, seed=5))


def test_of_a_mixed_task_the_targets_alone_are_answered(measured):
    (config,), _ = measured
    (refs,) = study.references([config], ["original"], device="cpu")
    task, answers = study.load_task(config), study.generations(refs["original"], device="cpu")[1]
    rows = task.index("target").tolist()
    assert any(answers[i] for i in rows) and not any(a for i, a in enumerate(answers) if i not in rows)


def test_tuning_takes_facts_without_paraphrases(measured):
    (config,), _ = measured
    task = objective.mixed_task(study.load_task(config), ())
    assert {role: len(task.index(role)) for role in ("target", "similar", "decoy")} == {
        "target": 3, "similar": 0, "decoy": 10}  # fmt: skip
    distance = objective.measure(config, "cpu")
    (refs,) = study.references([config], ["original", "retrain"], device="cpu")
    assert distance(refs["retrain"].load()) == 0 and distance(refs["original"].load()) >= 1


def outputs_at(lead: float, temperature: float, n: int, seed: int, length: int = 12) -> TextOutputs:
    """Outputs on n answers, whose tokens' logits are raised by `lead` and then divided by a temperature."""
    logits = torch.randn(n * length, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits[:, 0] += lead + 4 * (torch.arange(n * length) % 3)  # some tokens are easy to guess
    logits /= temperature
    log_p = torch.nn.functional.logsigmoid(logits[:, 0] - logits[:, 1:].logsumexp(1)).float()
    return TextOutputs(log_p=log_p, hit=log_p > -0.69, count=torch.full((n,), length))


def left_at(temperature: float, name: str, measure) -> float:
    """Residual influence of `original`, its logits divided by a temperature, between itself and `clean`."""
    means = {}
    for model, lead, t in (("original", 12.0, 1.0), ("clean", 1.0, 1.0), ("cooled", 12.0, temperature)):
        targets, decoys = (outputs_at(*how).familiarities[name] for how in ((lead, t, 60, 1), (1.0, t, 200, 2)))
        means[model] = measure(targets, decoys).mean().item()
    return (means["cooled"] - means["clean"]) / (means["original"] - means["clean"])


@pytest.mark.parametrize("temperature", [0.5, 2, 5])
def test_no_temperature_moves_influence(temperature):
    assert left_at(1, "score", standardised) == 1
    assert left_at(temperature, "score", standardised) == pytest.approx(1, abs=0.1)
    assert left_at(temperature, "score", rank_share) == pytest.approx(1, abs=0.1)


def test_the_mean_log_probability_is_moved_by_temperature():
    assert max(abs(left_at(t, "score_log_probability", standardised) - 1) for t in (0.5, 2, 5)) > 0.1


def test_divergence_is_of_the_answers_tokens(measured):
    (config,), _ = measured
    (refs,) = study.references([config], ["original", "clean"], device="cpu")
    own, other = (study.outputs(refs[name], device="cpu")[1] for name in ("original", "clean"))
    rows = study.load_task(config).index("target")[:2]
    p, q = (o.select(rows).log_p.double().exp() for o in (own, other))
    m = (p + q) / 2
    bits = sum(0.5 * (a * (a / m).log() + (1 - a) * ((1 - a) / (1 - m)).log()) for a in (p, q))
    count = own.count[rows].tolist()
    expected = torch.stack([part.mean() for part in bits.split(count)])
    assert torch.allclose(own.divergence(other, rows), expected, atol=1e-5)
    assert replace(own, generations=None).divergence(own, rows).abs().max() < 1e-9
