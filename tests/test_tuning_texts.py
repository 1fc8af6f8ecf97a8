"""Tuning of language models: the gap without test pairs, ranges of rates, where values go and who reads them."""

import json

import pytest
import torch

from language import _shared_cache, config, small_pool  # noqa: F401 (fixtures)
from unlearnkit import study
from unlearnkit.core import paths
from unlearnkit.core.errors import NonFiniteLoss, NotApplicable, UnknownName
from unlearnkit.methods import methods
from unlearnkit.methods import tuned_options as tuned
from unlearnkit.metrics.attacks import confidence_attack
from unlearnkit.study import reference_models as references
from unlearnkit.texts import domain
from unlearnkit.tuning import objective, search_space
from unlearnkit.tuning import search as tuning

pytestmark = pytest.mark.slow


def test_texts_are_tuned_by_the_same_gap_without_their_test_pairs(config):  # noqa: F811
    task = study.load_task(config)
    held = domain.without_test(task)
    assert held.of("test").question == task.of("validation").question and not len(held.index("decoy"))
    assert held.training_set("original").question == task.training_set("original").question
    judge = objective.validation_outputs(config, "cpu")
    original, retrain = (
        judge(trio.load()) for trio in references.references([config], ["original", "retrain"])[0].values()
    )
    parts = [
        abs(a.correct[a.rows(g)].mean() - b.correct[b.rows(g)].mean())
        for a, b in [(original, retrain)]
        for g in ("target", "filler", "test")
    ]
    attacks = abs(confidence_attack(original)["target"] - confidence_attack(retrain)["target"])
    assert objective.gap(original, retrain) == pytest.approx((sum(parts).item() + attacks) / 4)
    assert objective.gap(retrain, retrain) == 0
    whole = study.outputs(references.references([config], ["original"])[0]["original"])[1]
    for group in ("target", "similar", "filler"):
        torch.testing.assert_close(
            original.losses[original.rows(group)], whole.losses[whole.rows(group)], atol=1e-4, rtol=1e-3
        )
    broken = references.references([config], ["original"])[0]["original"].load()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="outputs are not finite"):
        judge(broken)


def test_a_language_model_is_tuned_on_texts_and_its_values_are_read(config, capsys):  # noqa: F811
    """What is written for texts is what a text config takes, and an image config does not."""
    how = {"train_size": 40, "vocabulary": 400, "test_size": 8}
    how |= {"recipe": {"epochs": 6, "batch_size": 8, "lr": 1e-2, "precision": "fp32"}}
    made = search_space.protocol("npo", "fictional", "nano", 2, **how)
    assert {(c.domain, c.copies, c.n_targets, c.targets) for c in made} == {("text", 0, 8, "random")}
    (file,) = tuning.run(["npo", "retrain"], "fictional", "nano", trials=3, seeds=1, workers=1, **how)
    found = json.loads(file.read_text())
    assert file == paths.tuned() / "fictional" / "nano" / "npo.json"
    assert found["trials"][0]["options"] == {"lr": 5e-4, "beta": 0.1} == found["defaults"]
    assert len(found["trials"]) == 3 and found["protocol"]["context"] == 128
    assert tuned.resolve("npo", "fictional", "nano", domain="text") | found["values"] == tuned.resolve(
        "npo", "fictional", "nano", domain="text"
    )
    assert tuned.values("npo", "fictional", "tiny_llama") == {}
    with pytest.raises(NotApplicable, match="unsir does not unlearn models of texts; these do: amnesiac"):
        search_space.protocol("unsir", "fictional", "nano")
    with pytest.raises(UnknownName, match="max_pool_images"):
        search_space.protocol("npo", "fictional", "nano", max_pool_images=100)


@pytest.mark.parametrize("name", search_space.serving("nano_llama"))
def test_ranges_for_texts_hold_their_defaults(name):
    ranges, image = search_space.space(name, "text"), search_space.space(name)
    lr = methods[name].info["text"].get("lr")
    assert ranges.keys() == image.keys()
    if lr:
        moved = lr / methods[name].resolve({})["lr"]
        assert ranges["lr"].high == pytest.approx(image["lr"].high * moved, rel=1e-4)
        assert ranges["lr"].low <= lr <= ranges["lr"].high


def test_all_methods_are_those_that_unlearn_such_a_model():
    images, texts = search_space.serving("small_cnn"), search_space.serving("hf:any")
    assert {"unsir", "muda", "finetune"} <= {*images} and "npo" not in images
    assert {"npo", "muda", "finetune"} <= {*texts} and "unsir" not in texts
