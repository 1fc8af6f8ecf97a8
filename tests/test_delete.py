"""DELETE against closed forms: the masked teacher, the loss and its parts, what trains, what is refused."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import mutants
from data_builders.task import Samples
from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import NotApplicable
from unlearnkit.images.request import Request
from unlearnkit.methods import delete as delete_module
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import same
from unlearnkit.methods.delete import delete_loss, masked_log_probs

Y = torch.tensor([0, 2])
TEACHER = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).log()  # with any constant added, which changes nothing


def the_label_gets_nothing_and_the_others_keep_their_proportions(masked):
    expected = torch.tensor([[0.0, 2 / 3, 1 / 3], [0.25, 0.75, 0.0]])
    torch.testing.assert_close(masked(TEACHER + 5, Y).exp(), expected)


def test_the_target_is_the_originals_softmax_with_the_class_masked():
    the_label_gets_nothing_and_the_others_keep_their_proportions(masked_log_probs)
    for wrong in (mutants.mask_of_a_small_logit, mutants.mask_without_renormalising):
        with pytest.raises(AssertionError, match="not close"):
            the_label_gets_nothing_and_the_others_keep_their_proportions(wrong)


def test_the_loss_is_nothing_for_the_masked_teacher_alone():
    student = masked_log_probs(TEACHER, Y)
    assert delete_loss(student, TEACHER, Y).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert delete_loss(student.roll(1, 0).clamp(min=-20), TEACHER, Y).min() > 0.1
    torch.testing.assert_close(delete_loss(TEACHER, TEACHER, Y), -torch.tensor([0.3, 0.4]).log())


def test_the_loss_is_what_forgets_and_what_retains():
    """KL(masked p || q) = -log(1 - q_y) + KL(masked p || masked q)."""
    g = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(50, 7, generator=g).double() for _ in range(2))
    y = torch.randint(7, (50,), generator=g)
    forgets = -torch.log1p(-student.softmax(1).gather(1, y[:, None]).squeeze(1))
    retains = kl(masked_log_probs(teacher, y), masked_log_probs(student, y).nan_to_num(neginf=-1e9))
    torch.testing.assert_close(delete_loss(student, teacher, y), forgets + retains)


def test_its_gradient_is_finite_where_the_target_is_nothing():
    student = TEACHER.clone().requires_grad_()
    delete_loss(student, TEACHER, Y).sum().backward()
    torch.testing.assert_close(student.grad, TEACHER.exp() - masked_log_probs(TEACHER, Y).exp())


def test_the_first_step_is_on_the_official_loss(models, request_, monkeypatch):
    """torch's own KL of the forget set, its mean over samples, against the model as given with its label at -1e10."""
    first_losses, student = [], models["clean"]
    first = lambda model, losses, **options: first_losses.append(next(losses(student))) or model  # noqa: E731
    monkeypatch.setattr(delete_module, "minimise", first)
    methods["delete"](models["original"], request_, seed=3, device="cpu")
    with torch.no_grad():
        target = models["original"](request_.forget.x)
        target[torch.arange(len(target)), request_.forget.y] = -1e10
        ours = F.kl_div(student(request_.forget.x).log_softmax(1), target.softmax(1), reduction="batchmean")
    torch.testing.assert_close(first_losses[0], ours)


def test_the_retain_set_trains_nothing(models, request_):
    other = replace(request_, retain=Samples(torch.zeros_like(request_.retain.stored), request_.retain.y))
    assert same(
        *(methods["delete"](models["original"], asked, seed=0, epochs=2, lr=0.01) for asked in (request_, other))
    )


def test_the_label_goes_and_the_proportions_of_the_others_stay(models, request_):
    """Boundary shrink takes the same steps on hard labels, and does not keep the proportions."""
    original, y = models["original"], request_.forget.y
    with torch.no_grad():
        before = masked_log_probs(original(request_.forget.x), y)
    left, moved = {}, {}
    for name in ("delete", "boundary_shrink"):
        after = methods[name](original, request_, seed=0, epochs=20, lr=0.02)
        with torch.no_grad():
            logits = after(request_.forget.x)
        left[name] = logits.softmax(1).gather(1, y[:, None]).mean().item()
        moved[name] = kl(before, masked_log_probs(logits, y).nan_to_num(neginf=-1e9)).mean().item()
    assert left["delete"] < 0.05
    assert moved["delete"] < 0.5 * moved["boundary_shrink"]


def test_a_single_class_beside_what_is_forgotten_is_refused(models):
    def asked(forget, retain):
        x = torch.rand(len(forget + retain), 1, 8, 8)
        gone = len(forget)
        return Request(Samples(x[:gone], torch.tensor(forget)), Samples(x[gone:], torch.tensor(retain)), 10)

    for forget, retain in (([3], [5, 5]), ([3, 4], [5, 5]), ([3], [3, 5])):
        with pytest.raises(NotApplicable, match="beside class 3 fewer than two stay"):
            methods["delete"](models["original"], asked(forget, retain), seed=0)
    methods["delete"](models["original"], asked([3], [5, 6]), seed=0, epochs=1)
