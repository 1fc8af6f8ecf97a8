"""MUDA: phases, what is distilled, which samples are read, what it refuses. The contracts are in test_methods.py."""

from dataclasses import replace

import pytest
import torch

from conftest import RECIPE
from data_builders.task import Samples
from unlearnkit.core.alignment import alignment, directions
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.images.outputs import forward_task
from unlearnkit.images.request import request_of
from unlearnkit.methods import methods
from unlearnkit.methods.muda import distilled, muda
from unlearnkit.metrics import metrics

pytestmark = pytest.mark.slow


@pytest.fixture
def class_request(class_task):
    return request_of(class_task, RECIPE)


def test_masked_distillation_is_the_teachers_softmax_without_the_true_class(models, request_):
    teacher = models["original"]
    target = distilled(teacher, request_, "masked", 4.0).exp()
    with torch.no_grad():
        p = request_.log_probs(teacher, request_.forget).exp()
    true = torch.nn.functional.one_hot(request_.forget.y, 10).bool()
    assert (target[true] == 0).all()
    rest = p.masked_fill(true, 0)
    torch.testing.assert_close(target, rest / rest.sum(1, keepdim=True), atol=1e-5, rtol=1e-3)


def test_of_classes_that_go_none_is_named(models, class_request):
    """Two classes go: a sample of one must not be taught to be of the other."""
    more = class_request.retain.y == 5
    forget = Samples(
        torch.cat([class_request.forget.stored, class_request.retain.stored[more]]),
        torch.cat([class_request.forget.y, class_request.retain.y[more]]),
    )
    request = replace(class_request, forget=forget, retain=class_request.retain[~more])
    gone = request.whole_classes
    assert len(gone) == 2
    target = distilled(models["original"], request, "auto", 4.0)
    assert (target[:, gone] == -torch.inf).all()
    torch.testing.assert_close(target.exp().sum(1), torch.ones(len(forget)))


def test_tempered_distillation_is_less_sure_and_prefers_the_same(models, request_):
    teacher = models["original"]
    assert distilled(teacher, request_, "none", 1.0) is None
    plain, soft = (distilled(teacher, request_, "tempered", t).exp() for t in (1.0, 4.0))
    with torch.no_grad():
        torch.testing.assert_close(plain, request_.log_probs(teacher, request_.forget).exp())
    assert (soft.max(1).values < plain.max(1).values).all() and torch.equal(soft.argmax(1), plain.argmax(1))
    torch.testing.assert_close(distilled(teacher, request_, "auto", 4.0).exp(), soft)


def test_it_takes_the_steps_it_says(models, request_):
    """The forget set of 10 is one batch, whatever the batch size; the retain set of 240 is 4 batches of 64."""
    for options, steps in (
        ({"rounds": 3, "forget_epochs": 2, "recover_epochs": 1}, 3 * (2 + 4)),
        ({"rounds": 2, "forget_epochs": 5, "recover_epochs": 2, "alternate": False}, 2 * 2 * 4),
        ({"rounds": 1, "forget_epochs": 1, "retain_share": 0.1}, 2),
    ):
        with measure_cost() as cost:
            muda(models["original"], request_, seed=0, **options)
        assert cost.steps == steps


def test_batches_of_the_forget_set_are_never_below_128(models, request_, monkeypatch):
    many = replace(request_, forget=request_.retain[torch.arange(399) % 240])
    sizes = []
    monkeypatch.setattr(
        "unlearnkit.methods.muda.alignment_loss", lambda v, *a, **k: sizes.append(len(v)) or 0 * v.sum()
    )
    muda(models["original"], many, seed=0, rounds=1, forget_epochs=2)
    assert sizes == [133] * 6


@pytest.mark.parametrize("wrong", [
    ({"forget_batch": 64}, "at least 128.*got 64"),
    ({"retain_share": 0.0}, "retain_share is a share"),
    ({"retain_share": 1.5}, "retain_share is a share"),
    ({"temperature": 0.0}, "temperature is above 0"),
    ({"rounds": 0}, "at least one round"),
    ({"distillation": "none", "weight": 0.0}, "nothing is forgotten: use finetune"),
    ({"rank": 129}, "width of the features, 128"),
    ({"rank": 60, "held": 50}, "50 samples have at most 50 directions"),
])  # fmt: skip
def test_what_it_refuses(wrong, models, request_):
    options, message = wrong
    with pytest.raises(BadValue, match=message):
        muda(models["original"], request_, seed=0, **options)


def test_one_sample_has_no_covariance(models, request_):
    with pytest.raises(BadValue, match="single forget sample"):
        muda(models["original"], replace(request_, forget=request_.forget[:1]), seed=0, centred=True)
    assert muda(models["original"], replace(request_, forget=request_.forget[:1]), seed=0, rounds=1) is not None


class Noting(Samples):
    """Notes which rows are read."""

    def __init__(self, stored, y, rows):
        super().__init__(stored, y)
        object.__setattr__(self, "rows", rows)

    def to(self, device):
        return self

    def __getitem__(self, index):
        self.rows.update(torch.arange(len(self))[index].tolist())
        return super().__getitem__(index)


def test_with_a_share_no_other_retained_sample_is_read(models, request_):
    for share, read in ((0.2, 48), (1.0, 240)):
        rows = set()
        request = replace(request_, retain=Noting(request_.retain.stored, request_.retain.y, rows))
        muda(models["original"], request, seed=3, rounds=2, retain_share=share)
        assert len(rows) == read


def test_it_aligns_and_forgets_a_class(models, class_task, class_request):
    original = models["original"]  # of another task with the same digits
    options = {"seed": 0, "rounds": 2, "lr": 0.01}
    apart, aligned = (muda(original, class_request, weight=w, distillation="none", **options) for w in (0.1, 10.0))

    def da(model):
        outputs = forward_task(model, class_task, features=True)
        main = directions(outputs.features[outputs.rows("retain")])
        return alignment(outputs.features[outputs.rows("target")], main).item()

    assert da(aligned) > da(apart)
    assert metrics["UA"](forward_task(muda(original, class_request, **options), class_task))["target"] == 1


def test_running_statistics_come_from_the_retain_set_alone(normed, request_):
    """The forget set is white noise a hundred times as bright: its batches leave no trace in the norms."""
    request = replace(request_, forget=Samples(100 * request_.forget.x, request_.forget.y))
    after = muda(normed, request, seed=0, rounds=1, lr=1e-6, distillation="none", weight=1e-6)
    plain = methods["finetune"](normed, request_, seed=0, epochs=1, lr=1e-6)
    pairs = zip(after.buffers(), plain.buffers(), strict=True)
    assert all(torch.allclose(a, b, rtol=0.2, atol=0.05) for a, b in pairs if a.is_floating_point())


def test_a_retain_set_of_dead_features_counts_as_diverged(models, request_):
    dead = models["original"]
    with torch.no_grad():
        for p in dead.body[-2].parameters():
            p.zero_()
    with pytest.raises(NonFiniteLoss, match="all features are 0"):
        muda(dead, request_, seed=0)
