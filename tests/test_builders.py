"""Image tasks by roles, their checks, and the folder's README."""

from pathlib import Path

import pytest
import torch

import data_builders
from data_builders import RawImages, datasets
from data_builders.build_task import build_task
from data_builders.perturbations import perturbations
from data_builders.task import ROLES
from data_builders.texts import text_datasets
from unlearnkit.core.errors import BadValue, UnknownName


def test_the_training_set_keeps_its_size(raw):
    for copies in (0, 1, 25):
        task = build_task(raw, copies=copies, train_size=600)
        assert len(task.training_set("original")) == 600
        assert len(task.training_set("retrain")) == 588
        assert len(task.training_set("clean")) == 588  # refilled


def test_a_seed_has_the_same_targets_for_every_dose(raw):
    tasks = [build_task(raw, copies=m, strength=r, seed=3) for m, r in ((0, 0.0), (5, 0.3), (25, 0.7))]
    for role in ("target", "decoy", "test"):
        index = [t.source[t.index(role)] for t in tasks]
        assert all(torch.equal(index[0], other) for other in index)
    fewest = tasks[2].source[tasks[2].index("filler")]
    assert torch.equal(fewest, tasks[0].source[tasks[0].index("filler")][: len(fewest)])
    other = build_task(raw, copies=5, seed=4)
    assert set(other.source[other.index("target")].tolist()) != set(tasks[1].source[tasks[1].index("target")].tolist())


def test_same_seed_same_task(raw):
    assert build_task(raw, seed=5).digest() == build_task(raw, seed=5).digest() != build_task(raw, seed=6).digest()


def test_pairs_link_each_target_to_its_own_copies(task):
    pairs = task.pairs
    assert (task.source[torch.tensor(pairs.anchor)] == task.source[torch.tensor(pairs.similar)]).all()
    counts = pairs.anchor.value_counts()
    assert set(counts) == {4} and len(counts) == 20  # 10 targets and 10 decoys
    assert pairs[["ssim", "pixel_cosine"]].notna().all().all()
    assert (pairs.ssim < 1).all()


def test_canaries_share_one_wrong_label_with_their_copies(task, raw):
    targets = task.index("target")
    true = raw.y[task.source[targets]]
    assert (task.y[targets] != true).all()
    assert (task.y[torch.tensor(task.pairs.anchor)] == task.y[torch.tensor(task.pairs.similar)]).all()
    decoys = task.index("decoy")
    assert (task.y[decoys] != raw.y[task.source[decoys]]).all()


def test_hard_targets_are_of_high_loss_and_vary_with_the_seed(raw):
    difficulty = torch.rand(len(raw.x), generator=torch.Generator().manual_seed(0))
    limit = difficulty.sort(descending=True).values[3 * 24 - 1]
    picks = []
    for seed in (0, 1):
        task = build_task(raw, targets="hard", difficulty=difficulty, seed=seed)
        chosen = task.source[torch.cat([task.index("target"), task.index("decoy")])]
        assert (difficulty[chosen] >= limit).all()
        picks.append(set(chosen.tolist()))
    assert picks[0] != picks[1]


def test_decoys_and_test_are_never_trained_on(task):
    trained = set(task.source[task.index("target", "similar", "filler")].tolist())
    assert not trained & set(task.source[task.index("decoy", "decoy_similar", "test")].tolist())


@pytest.mark.parametrize("what", ["ids", "images"])
def test_a_leak_is_found(task, what):
    source, x = task.source.clone(), task.x.clone()
    test, filler = task.index("test")[0], task.index("filler")[0]
    if what == "ids":
        source[test] = source[filler]
    else:
        x[test] = x[filler]
    broken = type(task)(x, task.y, task.role, source, task.pairs, task.n_classes)
    with pytest.raises(BadValue, match=f"1 {what} are in both the trained and the test"):
        broken.check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 1.5}, "share of blocks set to 0, from 0 to 1, got 1.5"),
        ({"perturbation_options": {"block": 3}}, "block=3 does not divide 8x8; use one of \\[1, 2, 4, 8\\]"),
        ({"copies": -1}, "copies must be 0 or more"),
        ({"copies": 60}, "at most 52 copies"),
        ({"train_size": 1390}, "a train_size of at most 1388"),
        ({"n_targets": 0}, "n_targets must be at least 1"),
        ({"targets": "hard"}, "held-out loss"),
    ],
)
def test_bad_input_is_named(raw, change, message):
    with pytest.raises(BadValue, match=message):
        build_task(raw, **change)


def test_unknown_names_get_the_nearest(raw):
    with pytest.raises(UnknownName, match="Did you mean 'block_mask'"):
        build_task(raw, perturbation="blockmask")
    with pytest.raises(UnknownName, match="Did you mean 'block'"):
        build_task(raw, perturbation_options={"blok": 2})
    with pytest.raises(UnknownName, match="unknown kind of targets 'hrad'. Did you mean 'hard'"):
        build_task(raw, targets="hrad")
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        datasets["digit"]


def test_a_class_without_images_is_named(raw):
    few = RawImages(raw.x[raw.y != 3], raw.y[raw.y != 3], raw.test_x, raw.test_y, 10)
    with pytest.raises(BadValue, match="no training image of \\[3\\]"):
        build_task(few)
    one = RawImages(raw.x[raw.y == 0], raw.y[raw.y == 0], raw.test_x[:0], raw.test_y[:0], 1)
    with pytest.raises(BadValue, match="at least 2 classes"):
        build_task(one)


def test_raw_images_are_checked():
    x, y = torch.zeros(4, 1, 8, 8), torch.zeros(4).long()
    for bad, message in (
        ((x * 255 + 255, y), "in \\[0, 1\\]"),
        ((x * float("nan"), y), "finite"),
        ((x, y[:3]), "n labels"),
        ((x[:, 0], y), "channels"),
        ((x, y + 12), "labels must be 0 to 9"),
    ):
        with pytest.raises(BadValue, match=message):
            RawImages(*bad, x, y, n_classes=10)


def test_all_roles_are_there(task):
    assert {ROLES[r] for r in task.role.unique().tolist()} == set(ROLES)


@pytest.mark.parametrize("registry", [datasets, text_datasets, perturbations], ids=lambda registry: registry.kind)
def test_the_readme_names_all_that_is_registered(registry):
    text = (Path(data_builders.__file__).parent / "README.md").read_text()
    ours = [name for name, entry in registry.items() if entry.function.__module__.startswith("data_builders.")]
    assert ours and not [name for name in ours if f"| `{name}` |" not in text]


def test_the_readme_names_every_file_and_is_short():
    folder = Path(data_builders.__file__).parent
    lines = (folder / "README.md").read_text().splitlines()
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if path.name != "__init__.py"]
    assert not [name for name in files if f"`{name}`" not in "\n".join(lines)]
    assert len(lines) <= 130 and max(map(len, lines)) <= 160
