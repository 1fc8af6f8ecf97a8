"""Mixed tasks: every target has its own kind, number and similarity of near-duplicates."""

import pytest
import torch

from data_builders.arms import Arm, parse_arms
from data_builders.build_mixed_task import build_mixed_task
from data_builders.build_task import build_task
from data_builders.export import export, load_export
from data_builders.raw_images import RawImages
from data_builders.task import digest
from unlearnkit import study
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.memorisation import HalfModels

ARMS = [
    {"targets": ["canary", "random"], "n_targets": 3, "copies": [0, 4]},
    {"targets": "memorised", "n_targets": 2, "copies": 2, "strength": 0.5},
    {"targets": "canary", "n_targets": 2, "copies": 3, "copies_of": "other images"},
]


@pytest.fixture(scope="module")
def raw() -> RawImages:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (600, 1, 8, 8), generator=g, dtype=torch.uint8)
    return RawImages(x[:500], torch.arange(500) % 5, x[500:], torch.arange(100) % 5, 5)


@pytest.fixture(scope="module")
def memorisation() -> torch.Tensor:
    return (torch.arange(500) % 4 == 0).double()


def build(raw, known, **changes):
    return build_mixed_task(
        raw, **{"arms": ARMS, "n_decoys": 10, "train_size": 200, "seed": 0, "memorisation": known} | changes
    )


def test_a_list_stands_for_one_arm_each():
    arms = parse_arms(ARMS)
    assert [(a.targets, a.copies) for a in arms[:4]] == [("canary", 0), ("canary", 4), ("random", 0), ("random", 4)]
    assert arms[0].strength == 0 and arms[1].strength == 0.3  # without copies a strength has no meaning
    assert [a.name for a in arms[-2:]] == ["", "copies of other images"]
    assert parse_arms([a.as_dict() for a in arms]) == arms


def test_options_of_a_perturbation_are_part_of_an_arms_name():
    small, large, bare = parse_arms(
        [
            {"targets": "canary", "copies": 5},
            {"targets": "canary", "copies": 5, "perturbation_options": {"block": 4}},
            {"targets": "canary", "copies": 0, "perturbation_options": {"block": 4}},
        ]
    )
    names = [arm.columns()["perturbation"] for arm in (small, large, bare)]
    assert names == ["block_mask", "block_mask(block=4)", "block_mask"]
    assert bare == parse_arms([{"targets": "canary", "copies": 0}])[0]  # without copies there is nothing to be masked


@pytest.mark.parametrize(
    ("arms", "error", "says"),
    [
        ([], BadValue, "at least one arm"),
        (["canary"], BadValue, "given by its values"),
        ([{"copies": 5}], BadValue, "needs its kind of targets"),
        ([{"targets": "hard"}], UnknownName, "hard"),
        ([{"targets": "canary", "copys": 5}], UnknownName, "copies"),
        ([{"targets": "canary", "n_targets": 0}], BadValue, "at least 1 target"),
        ([{"targets": "canary", "copies": -1}], BadValue, "0 copies"),
        ([{"targets": "canary"}, {"targets": ["random", "canary"]}], BadValue, "the same"),
        ([{"targets": "canary", "perturbation": "natural"}], UnknownName, "natural"),
        ([{"targets": "canary", "copies": 2, "perturbation": "pixel_neighbours"}], BadValue, "finds near-duplicates"),
    ],
)
def test_arms_that_cannot_be(arms, error, says):
    with pytest.raises(error, match=says):
        parse_arms(arms)


def test_all_training_sets_are_as_large_as_they_should_be(raw, memorisation):
    task = build(raw, memorisation)
    n = {role: len(task.index(role)) for role in ("target", "similar", "filler", "refill", "decoy", "validation")}
    assert n == {"target": 16, "similar": 34, "filler": 150, "refill": 34, "decoy": 30, "validation": 40}
    sizes = {name: len(task.training_set(name)) for name in ("original", "retrain", "clean")}
    assert sizes == {"original": 200, "retrain": 184, "clean": 184}


def test_each_target_has_the_near_duplicates_of_its_arm(raw, memorisation):
    task, arms = build(raw, memorisation), parse_arms(ARMS)
    for number, arm in enumerate(arms):
        targets = [row for row in task.index("target").tolist() if task.arm[row] == number]
        assert len(targets) == arm.n_targets
        for row in targets:
            similar = torch.tensor(task.pairs.similar[task.pairs.anchor == row].to_numpy())
            assert len(similar) == arm.copies
            assert (task.y[similar] == task.y[row]).all() and (task.arm[similar] == number).all()
            own = task.source[similar] == task.source[row]
            assert own.all() if not arm.name else not own.any()
            if arm.name:  # other images of the target's true class, each another one
                assert len(task.source[similar].unique()) == arm.copies
                assert (raw.y[task.source[similar]] == raw.y[task.source[row]]).all()


def test_kinds_are_labelled_as_they_say_and_share_no_image(raw, memorisation):
    task, arms = build(raw, memorisation), parse_arms(ARMS)
    sources = {}
    for role in ("target", "decoy"):
        rows = task.index(role)
        for kind in ("canary", "random", "memorised"):
            of_kind = rows[torch.tensor([arms[i].targets == kind for i in task.arm[rows]])]
            true = task.y[of_kind] == raw.y[task.source[of_kind]]
            assert not true.any() if kind == "canary" else true.all()
            if kind == "memorised":
                assert (memorisation[task.source[of_kind]] == 1).all()
            sources[role, kind] = set(task.source[of_kind].tolist())
    assert len(set.union(*sources.values())) == sum(map(len, sources.values())) == 46


def test_seeds_share_no_target_or_decoy_and_the_same_seed_is_the_same_task(raw, memorisation):
    first, second = (build(raw, memorisation, seed=seed) for seed in (0, 1))
    drawn = [set(task.source[task.index("target", "decoy")].tolist()) for task in (first, second)]
    assert not drawn[0] & drawn[1]
    assert build(raw, memorisation).digest() == first.digest() != second.digest()


def test_an_arm_does_not_depend_on_the_size_of_the_training_set(raw, memorisation):
    small, large = build(raw, memorisation, train_size=150), build(raw, memorisation)
    assert torch.equal(small.of("target", "similar").stored, large.of("target", "similar").stored)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"memorisation": None}, "need `memorisation`"),
        ({"memorisation": torch.zeros(500)}, "0 of the pool's 500 images are memorised"),
        ({"n_decoys": 0}, "at least 1"),
        ({"n_decoys": 240}, "use fewer"),
        ({"train_size": 40}, "leaves no filler"),
        ({"train_size": 470}, "to refill `clean`"),
    ],
)
def test_what_the_pool_cannot_give_is_said(raw, memorisation, changes, says):
    with pytest.raises(BadValue, match=says):
        build(raw, memorisation, **changes)


def test_a_config_of_arms_has_no_other_targets():
    config = Config(arms=[{"targets": "canary", "copies": [0, 5]}], copies=7, n_targets=3, perturbation="noise", seed=1)
    assert (config.targets, config.copies, config.perturbation) == ("mixed", 0, "block_mask")
    assert config == Config(arms=[Arm("canary").as_dict(), Arm("canary", copies=5).as_dict()], seed=1)
    assert "arms" not in Config().task_params() and "arms" in config.task_params()
    assert [c.seed for c in config_grid(arms=[{"targets": "random"}], seeds=2)] == [0, 1]
    with pytest.raises(BadValue, match="at least one arm"):
        Config(targets="mixed")


def test_memorisation_is_accuracy_with_a_sample_less_accuracy_without_it():
    inside = torch.tensor([[True, True], [False, False], [True, False], [False, True]])
    correct = torch.tensor([[True, True], [False, True], [True, True], [True, False]])
    said = HalfModels(torch.zeros(4, 2), correct, inside)
    assert said.memorisation.tolist() == pytest.approx([1 - 0.5, 0.5 - 1])


def test_a_stored_task_is_read_back_with_its_arms(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path))
    config = Config(arms=[{"targets": "canary", "n_targets": 2, "copies": [0, 2]}], n_decoys=5, train_size=100)
    task = study.load_task(config)
    assert task.arm.dtype == torch.int16 and task.facts["arms"] == config.arms
    assert len(task.index("refill")) == 4 and study.task_artefact(config).info["digest"] == task.digest()


def test_an_exported_task_is_read_back_equal(raw, memorisation, tmp_path):
    task = build(raw, memorisation)
    read = load_export(export(task, tmp_path / "task"))
    assert read.digest() == task.digest() and torch.equal(read.arm, task.arm)
    assert "`arm`" in (tmp_path / "task" / "README.md").read_text()


def test_the_tasks_that_kept_scores_are_of_stay_what_they_are(raw, memorisation):
    """Without the pairs, whose measures differ in the last digits between processors."""
    mixed, single = build(raw, memorisation), build_task(raw, targets="canary", copies=2, train_size=200, seed=1)
    found = [digest(task.x, task.y, task.role, task.source) for task in (mixed, single)]
    assert found == ["e1d1e2e58e69bacc5019", "8dc36b45746bd744fd5d"]
