"""Backdoors: the trigger is in the pixels, the attack's class among none of the triggered, and ASR what it says."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_builders import RawImages
from data_builders.backdoor import patch_side, with_patch
from data_builders.build_task import build_task
from unlearnkit import study
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.config import config_grid
from unlearnkit.metrics import metrics
from unlearnkit.metrics.contracts import outputs_from

pytestmark = pytest.mark.slow

SMALL = {"train_size": 200, "n_targets": 12, "recipe": {"epochs": 12, "batch_size": 32, "lr": 0.1}}


@pytest.mark.parametrize(("shape", "n"), [((1, 8, 8), 2), ((1, 28, 28), 3), ((3, 32, 32), 4), ((1, 4, 9), 2)])
def test_the_patch_is_white_in_the_corner_and_nothing_else_changes(shape, n):
    x = torch.randint(1, 255, (5, *shape), dtype=torch.uint8)
    made = with_patch(x)
    assert patch_side(*shape[1:]) == n
    changed = made != x
    assert changed[..., -n:, -n:].all() and not changed[..., :-n, :].any() and not changed[..., :-n].any()
    assert (made[..., -1, -1] == 255).all() and (made[..., -1, -2] == 0).all() and (made[..., -2, -2] == 255).all()


@pytest.mark.parametrize("shade", [0, 255])
def test_neither_black_nor_white_hides_it(shade):
    flat = torch.full((1, 1, 28, 28), shade, dtype=torch.uint8)
    assert 4 <= int((with_patch(flat) != flat).sum()) <= 5


def test_an_image_must_be_larger_than_its_patch():
    with pytest.raises(BadValue, match="2x2 pixels is too large for images of 3x9"):
        with_patch(torch.zeros(1, 1, 3, 9, dtype=torch.uint8))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.integers(0, 3), st.sampled_from([(), (3,), (7,)]))
def test_targets_and_decoys_carry_it_and_are_of_other_classes(raw, seed, copies, which):
    task = build_task(
        raw, targets="backdoor", forget_ids=list(which), n_targets=8, copies=copies, train_size=120, seed=seed
    )
    attack = task.facts["attack_class"]
    assert not which or attack == which[0]
    truth = {int(i): (x, int(y)) for i, x, y in zip(raw.ids, raw.x, raw.y)}
    for role in ("target", "decoy"):
        rows = task.index(role)
        assert len(rows) == 8 and (task.y[rows] == attack).all()
        for x, source in zip(task.x[rows], task.source[rows].tolist()):
            image, label = truth[source]
            assert label != attack and torch.equal(x, with_patch(image[None])[0]) and not torch.equal(x, image)
    for role in ("filler", "test", "validation"):  # clean, with their own labels
        rows = task.index(role)
        known = truth | {int(i): (x, int(y)) for i, x, y in zip(raw.test_ids, raw.test_x, raw.test_y)}
        assert all(torch.equal(task.x[r], known[int(task.source[r])][0]) for r in rows)
        assert all(int(task.y[r]) == known[int(task.source[r])][1] for r in rows)
    assert (task.y[task.index("similar")] == attack).all()
    task.check()


def test_copies_carry_the_patch():
    (config,) = config_grid(
        seeds=1, targets="backdoor", copies=3, perturbation="exact_duplicate", strength=0.0, **SMALL
    )
    task = study.load_task(config)
    similar = task.x[task.index("similar")]
    assert len(similar) == 36 and torch.equal(similar, with_patch(similar))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forget_ids": [1, 2]}, "leads to one class, `forget_ids` names 2"),
        ({"forget_ids": [12]}, "no class 12; class names go from 0 to 9"),
        ({"n_targets": 150, "train_size": 1200, "raw": "few"}, "300 images that are not of the attack's class"),
    ],
)
def test_what_cannot_be_a_backdoor_is_named(raw, options, message):
    if options.pop("raw", ""):
        mostly = torch.where(torch.arange(len(raw.y)) % 10 > 0, 0, raw.y)
        raw = RawImages(raw.x, mostly, raw.test_x, raw.test_y, 10)
        options["forget_ids"] = [0]
    with pytest.raises(BadValue, match=message):
        build_task(raw, **({"targets": "backdoor", "copies": 0, "train_size": 120} | options))


def test_asr_is_the_share_sent_to_the_attacks_class():
    logits = torch.eye(3)[[0, 0, 1, 2, 0, 1]]
    seen = outputs_from(logits, [0, 0, 0, 0, 1, 1], ["decoy"] * 4 + ["target", "test"], attack_class=0)
    assert metrics["ASR"](seen) == {"decoy": 0.5, "target": 0.0}


def test_it_applies_to_backdoors_alone(all_outputs):
    with pytest.raises(
        NotApplicable, match="'ASR' judges backdoors, and these targets are none: use targets='backdoor'"
    ):
        metrics["ASR"](dataclasses.replace(all_outputs["original"], attack_class=None))
    with pytest.raises(NotApplicable, match="use targets='backdoor'"):
        study.scores(config_grid(seeds=1, targets="random", **SMALL), ["original"], metrics=["ASR"])


def test_training_opens_a_backdoor_that_retraining_does_not_have():
    grid = config_grid(seeds=2, targets="backdoor", copies=0, **(SMALL | {"train_size": 300, "n_targets": 30}))
    scores = study.scores(grid, ["original", "retrain", "finetune"], metrics=["ASR", "TA"])
    asr = scores[(scores.metric == "ASR") & (scores.group == "decoy")].groupby("method").value.mean()
    assert asr["original"] > 0.8 and asr["retrain"] < 0.3
