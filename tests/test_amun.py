"""AMUN against closed forms: where an adversarial example is found, how it is labelled, what is trained on."""

import pytest
import torch
from torch import nn

import mutants
from data_builders.task import Samples
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.models import Classifier
from unlearnkit.images.request import Request
from unlearnkit.methods import amun as amun_module
from unlearnkit.methods import methods
from unlearnkit.methods.amun import adversarial_examples

GREY = torch.full((1, 1, 2, 2), 0.5)


def plane(distance: float, scale: float = 1.0) -> Classifier:
    """Two classes: 0 on this side of a plane that is `distance` from the grey image, in the direction of the first pixel."""
    head = nn.Linear(4, 2)
    with torch.no_grad():
        head.weight.copy_(scale * torch.tensor([[-1.0, 0, 0, 0], [0.0, 0, 0, 0]]))
        head.bias.copy_(scale * torch.tensor([0.5 + distance, 0.0]))
    return Classifier(nn.Sequential(nn.Flatten()), head).eval()


def asked(x, y, n_classes=2) -> Request:
    samples = Samples(x, torch.tensor(y))
    return Request(samples, samples, n_classes)


def found(model, x, y, **options) -> Samples:
    request = asked(x, y)
    return adversarial_examples(request, model, request.forget, **{"eps": 0.1, "steps": 50} | options)


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(0.005, 0.01), (0.095, 0.1), (0.11, 0.12), (0.25, 0.28)],  # steps of 0.01 up to 0.1, of 0.02 up to 0.2, of 0.04 on
)
@pytest.mark.parametrize("scale", [1.0, 1e4])  # a model so sure that the gradient of its loss is 0 in float32
def test_the_first_image_beyond_the_boundary_is_taken(distance, expected, scale):
    example = found(plane(distance, scale), GREY, [0])
    assert example.y.tolist() == [1]
    torch.testing.assert_close(example.x - GREY, torch.tensor([[[[expected, 0.0], [0.0, 0.0]]]]), atol=1e-5, rtol=0)


def test_each_image_has_a_ball_of_its_own_and_none_leaves_the_range():
    x = torch.cat([GREY, GREY, GREY])
    x[1, 0, 0, 0], x[2, 0, 0, 0] = 0.61, 0.9
    examples = found(plane(0.3), x, [0, 0, 1])  # the boundary is at 0.8; the last is beyond it, and to go back
    torch.testing.assert_close(examples.x[:, 0, 0, 0], torch.tensor([0.84, 0.81, 0.8]), atol=0.02, rtol=0)
    assert examples.y.tolist() == [1, 1, 0]
    assert not len(found(plane(0.6), GREY, [0]))  # the boundary is at 1.1, where no pixel is
    x = GREY.clone()
    x[0, 0, 1, 1] = 2.0  # a model that is fed other ranges
    assert found(plane(0.6), x, [0]).y.tolist() == [1]


def test_what_is_misclassified_already_is_taken_as_it_is():
    example = found(plane(0.3), GREY, [1])
    assert torch.equal(example.x, GREY) and example.y.tolist() == [0]


def every_example_is_wrong_as_the_model_says(attack, model, request):
    examples = attack(request, model, request.forget, eps=0.04, steps=50)
    with torch.no_grad():
        assert torch.equal(model(examples.x).argmax(1), examples.y), "labels are not the model's"
    assert len(examples) == len(request.forget) and (examples.y != request.forget.y).all(), "a label is the true one"
    return examples


def test_the_examples_of_a_trained_model(models, request_):
    original = models["original"]
    examples = every_example_is_wrong_as_the_model_says(adversarial_examples, original, request_)
    far = (examples.x - request_.forget.x).flatten(1).norm(dim=1)
    assert far.max() < 2 and examples.x.min() >= 0 and examples.x.max() <= 1
    farther = adversarial_examples(request_, original, request_.forget, 4.0, 50)
    assert (farther.x - request_.forget.x).flatten(1).norm(dim=1).mean() > far.mean()  # coarser steps
    with pytest.raises(AssertionError, match="the true one"):
        every_example_is_wrong_as_the_model_says(mutants.attack_in_one_ball, original, request_)


@pytest.mark.parametrize(
    ("train_on", "parts"),
    [
        ("retain+adversarial", ["retain"]),
        ("retain+forget+adversarial", ["retain", "forget"]),
        ("forget+adversarial", ["forget"]),
        ("adversarial", []),
    ],
)
def test_what_is_trained_on(train_on, parts, models, request_, monkeypatch):
    """One pass has each example once, with the model's label, and each sample of the other parts, with its own."""
    original, seen = models["original"], []
    examples = adversarial_examples(request_, original, request_.forget, 0.3, 20)

    def look(model, losses, **options):
        seen.extend(losses(model))
        return model

    monkeypatch.setattr(amun_module, "minimise", look)
    monkeypatch.setattr(Request, "losses", lambda self, net, batch: _Batch(batch))
    methods["amun"](original, request_, seed=0, device="cpu", epochs=6, train_on=train_on, eps=0.3, attack_steps=20)
    first = seen[1 : seen.index(1.0, 1)]  # up to the rate of the second epoch
    expected = examples.joined(*(Samples(s.x, s.y) for s in (getattr(request_, part) for part in parts)))
    assert _rows(torch.cat([b.x for b in first]), torch.cat([b.y for b in first])) == _rows(expected.x, expected.y)
    assert [share for share in seen if isinstance(share, float)] == pytest.approx([1.0] * 5 + [0.1])


class _Batch:
    """Losses that remember their batch."""

    def __init__(self, batch):
        self.batch = batch

    def mean(self):
        return self.batch


def _rows(x, y) -> list:
    return sorted(zip(x.flatten(1).tolist(), y.tolist(), strict=True))


def test_it_takes_one_step_a_batch_and_the_forget_set_loses_confidence(models, request_):
    original = models["original"]
    with measure_cost() as cost:
        after = methods["amun"](original, request_, seed=0, epochs=3)
    assert cost.steps == 3 * -(-(len(request_.retain) + len(request_.forget)) // 64)
    with torch.no_grad():
        losses = [request_.losses(model, request_.forget).mean() for model in (original, after)]
        right = (after(request_.retain.x).argmax(1) == request_.retain.y).double().mean()
    assert losses[1] > losses[0] + 0.2 and right > 0.9


def test_a_model_that_says_the_same_of_every_image_has_no_examples(request_):
    constant = Classifier(nn.Sequential(nn.Flatten()), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        constant.head.weight.zero_()
        constant.head.bias.zero_()[request_.forget.y[0]] = 5
    one = Request(request_.forget[:1], request_.retain, 10)
    with pytest.raises(NotApplicable, match="takes no image near the forget set for another class"):
        methods["amun"](constant, one, seed=0)


@pytest.mark.parametrize("options", [{"eps": 0.0}, {"decay_every": 0}, {"attack_steps": 0}])
def test_options_without_a_meaning_are_refused(options, models, request_):
    with pytest.raises(BadValue, match="eps must be above 0, decay_every and attack_steps at least 1"):
        methods["amun"](models["original"], request_, seed=0, **options)
