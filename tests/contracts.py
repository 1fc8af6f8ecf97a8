"""What every unlearning method must hold to, each guarding against a defect seen in public code.

`CONTRACTS` run over all registered methods (test_methods.py); each is seen to fail on a broken copy (mutants.py).
A contract is a function of (method, model, request) that raises AssertionError.
"""

import copy

import torch

from conftest import same
from unlearnkit.task import Request, Samples


def input_is_untouched(method, model, request):
    """A teacher that moves with its student; a method that unlearns in place."""
    before, data = copy.deepcopy(model), copy.deepcopy(request)
    method(model, request, seed=0, device="cpu")
    assert same(model, before), "the model that was given has changed"
    for a, b in ((data.forget, request.forget), (data.retain, request.retain)):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y), "the data that was given has changed"


def something_moves(method, model, request):
    """An optimiser that holds the teacher's parameters: the student never moves."""
    after = method(model, request, seed=0, device="cpu")
    assert not same(model, after), "no parameter has moved"
    assert all(p.isfinite().all() for p in after.parameters()), "a parameter is not finite"


def output_keeps_its_shape(method, model, request):
    """A shadow class that is still there at evaluation; a model left in training mode."""
    after = method(model, request, seed=0, device="cpu")
    assert after(request.retain.x[:5]).shape == model(request.retain.x[:5]).shape, "the output has another width"
    assert not after.training, "the model is not in eval mode"


def seed_decides(method, model, request):
    """Seeds taken from the global generator."""
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        runs.append(method(model, request, seed=7, device="cpu"))
    assert same(*runs), "the global seed changes the result"


def forget_set_stays_unread(method, model, request):
    """ "Retraining" with a loader that still held the forget set: for methods declared not to read it."""
    if method.info.get("reads_forget_set", True):
        return
    marked = Samples(torch.full_like(request.forget.x, float("nan")), request.forget.y)
    after = method(model, Request(marked, request.retain, request.n_classes, request.recipe), seed=0, device="cpu")
    assert all(p.isfinite().all() for p in after.parameters()), "the forget set was read"


CONTRACTS = [input_is_untouched, something_moves, output_keeps_its_shape, seed_decides, forget_set_stays_unread]


def everything_is_drawn_anew(retrained, initial, original):
    """ "Retrain" that re-initialised the last layer only."""
    for name, p in retrained.named_parameters():
        for other in (initial, original):
            assert not torch.equal(p, other.state_dict()[name]), f"{name} was inherited"
    # an inherited layer that was trained on is no longer equal, but still close
    for name, p in retrained.named_parameters():
        kept = torch.nn.functional.cosine_similarity(p.flatten(), original.state_dict()[name].flatten(), dim=0)
        assert p.numel() < 100 or kept < 0.5, f"{name} still points where the original's does"
