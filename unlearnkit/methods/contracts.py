"""What every unlearning method must hold to, each rule guarding against a defect seen in public code.

`check(method, model, request)` runs them over a method of your own; the tests run them over all that are registered, and
see each fail on a broken copy. A contract is a function of (method, model, request) that raises AssertionError.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from data_builders.task import Samples
from unlearnkit.core.errors import NonFiniteLoss
from unlearnkit.core.registry import Entry
from unlearnkit.images.request import Request


def same(a: nn.Module, b: nn.Module) -> bool:
    """Bit-identical parameters and buffers."""
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def input_is_untouched(method: Entry, model: nn.Module, request: Request) -> None:
    """A teacher that moves with its student, be it by the running statistics of a norm; unlearning in place."""
    before, data, mode = copy.deepcopy(model), copy.deepcopy(request), model.training
    method(model, request, seed=0, device="cpu")
    assert same(model, before) and model.training == mode, "the model that was given has changed"
    assert all(p.requires_grad for p in model.parameters()), "a weight of the model that was given was frozen"
    for a, b in ((data.forget, request.forget), (data.retain, request.retain)):
        assert a.digest() == b.digest(), "the data that was given has changed"


def something_moves(method: Entry, model: nn.Module, request: Request) -> None:
    """An optimiser that holds the teacher's parameters: the student never moves."""
    after = method(model, request, seed=0, device="cpu")
    assert not same(model, after), "no parameter has moved"
    assert all(p.isfinite().all() for p in after.parameters()), "a parameter is not finite"


def output_keeps_its_shape(method: Entry, model: nn.Module, request: Request) -> None:
    """A shadow class that is still there at evaluation; a model left in training mode."""
    after = method(model, request, seed=0, device="cpu")
    few = request.retain[:5].x
    assert after(few).shape == model(few).shape, "the output has another width"
    assert not any(layer.training for layer in after.modules()), "the model is not in eval mode"
    assert all(p.requires_grad for p in after.parameters()), "a weight is left frozen"


def teacher_is_at_rest(method: Entry, model: nn.Module, request: Request) -> None:
    """A copy of the model for a teacher that is left in training mode: its running statistics move with the student."""
    if method.info.get("starts_anew", False):
        return  # it may train several nets at once
    turns: list[nn.Module] = []
    around: list[nn.Module] = []

    def enter(module, inputs):
        if not around and module.training and not (turns and turns[-1] is module):
            turns.append(module)
        around.append(module)

    hooks = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(lambda *_: around.pop() and None, always_call=True),
    ]
    try:
        method(model, request, seed=0, device="cpu")
    finally:
        for hook in hooks:
            hook.remove()
    assert len({id(net) for net in turns}) == len(turns), "two nets in training mode are called in turn"


def seed_decides(method: Entry, model: nn.Module, request: Request) -> None:
    """Seeds taken from the global generator, or global state that is left changed."""
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        expected = torch.random.get_rng_state()
        runs.append(method(model, request, seed=7, device="cpu"))
        assert torch.equal(torch.random.get_rng_state(), expected), "the global generator was used"
    assert same(*runs), "the global seed changes the result"


def _marked(samples):
    """Samples that cannot be read without a trace: an image of NaN, a text of tokens that no model has."""
    if isinstance(samples, Samples):
        return Samples(torch.full_like(samples.x, float("nan")), samples.y)
    return replace(samples, ids=torch.full_like(samples.ids, torch.iinfo(samples.ids.dtype).max))


def forget_set_stays_unread(method: Entry, model: nn.Module, request: Request) -> None:
    """ "Retraining" with a loader that still held the forget set: for methods declared not to read it."""
    if method.info.get("reads_forget_set", True):
        return
    try:
        after = method(model, replace(request, forget=_marked(request.forget)), seed=0, device="cpu")
    except (NonFiniteLoss, IndexError) as error:
        raise AssertionError("the forget set was read") from error
    assert same(after, method(model, request, seed=0, device="cpu")), "the forget set was read"


def prompt_and_padding_never_count(method: Entry, model: nn.Module, request: Request) -> None:
    """A loss over all tokens of a text, of which only those of the answer may count.

    What a token is read as and what it is as a label are told apart by two tokens of one embedding: with the one in place
    of the other in every question, and with other padding, all weights must come out the same, but for rounding.
    """
    if isinstance(request.retain, Samples):
        return
    parts = ("forget", "retain")
    asked = [token for name in parts for prompt in getattr(request, name).prompts() for token in prompt]
    said = {token for name in parts for answer in getattr(request, name).answers() for token in answer}
    first = max(set(asked) - said, key=asked.count)
    second = next(i for i in range(request.n_classes) if i not in {*asked, *said})
    twins = copy.deepcopy(model)
    twins.make = partial(_twinned, twins.make, first, second)
    _alike(twins.net, first, second)
    written = {name: _rewritten(getattr(request, name), first, second) for name in parts}
    one = method(twins, request, seed=0, device="cpu")
    other = method(twins, replace(request, **written), seed=0, device="cpu")
    embedding, places = one.net.get_input_embeddings().weight, [first, second]
    with torch.no_grad():
        embedding[places] = embedding[places[::-1]]
    close = (torch.allclose(p, q, atol=1e-5) for p, q in zip(one.parameters(), other.parameters(), strict=True))
    assert all(close), "the tokens of questions or the padding have changed the result"


def _alike(net: nn.Module, first: int, second: int) -> nn.Module:
    """The net with one embedding for both tokens."""
    weight = net.get_input_embeddings().weight
    with torch.no_grad():
        weight[second] = weight[first]
    return net


def _twinned(make: Callable[[], nn.Module], first: int, second: int) -> nn.Module:
    return _alike(make(), first, second)


def _rewritten(samples, first: int, second: int):
    """Texts with `second` for `first` in questions, and for all padding."""
    place = torch.arange(samples.ids.shape[1])
    question, padding = place < samples.start[:, None], place >= samples.stop[:, None]
    return replace(samples, ids=samples.ids.masked_fill(question & (samples.ids == first) | padding, second))


def divergence_is_an_error(method: Entry, model: nn.Module, request: Request) -> None:
    """A model full of NaN that is stored, scored and tabled."""
    with torch.no_grad():
        broken = copy.deepcopy(model)
        next(broken.parameters()).fill_(float("nan"))
    if isinstance(request.retain, Samples):
        marked = {name: _marked(getattr(request, name)) for name in ("forget", "retain")}
    else:  # a token is never NaN; a method that starts from new weights must diverge on its own
        marked = {"recipe": replace(request.recipe, lr=float("inf"))}
    try:
        method(broken, replace(request, **marked), seed=0, device="cpu")
    except NonFiniteLoss:
        return
    raise AssertionError("a model that is not finite was returned")


CONTRACTS: tuple[Callable[[Entry, nn.Module, Request], None], ...] = (
    input_is_untouched,
    something_moves,
    teacher_is_at_rest,
    output_keeps_its_shape,
    seed_decides,
    forget_set_stays_unread,
    prompt_and_padding_never_count,
    divergence_is_an_error,
)


def check(method: Entry, model: nn.Module, request: Request) -> dict[str, str]:
    """{contract: "holds" or what is wrong}, for a method of your own on a small task."""
    found = {}
    for contract in CONTRACTS:
        try:
            contract(method, model, request)
            found[contract.__name__] = "holds"
        except AssertionError as error:
            found[contract.__name__] = str(error)
    return found
