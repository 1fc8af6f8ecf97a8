"""Contracts of unlearning methods, each a guard against a defect seen in public code.

`check(method, model, request)` runs them on a method of your own; the tests run them on all registered methods, and on
a broken method that each must reject. A contract is a function of (method, model, request) that raises AssertionError.
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
    """Guards against a teacher that moves with its student, if only in the running statistics of a norm, and against
    unlearning in place."""
    before, data, mode = copy.deepcopy(model), copy.deepcopy(request), model.training
    method(model, request, seed=0, device="cpu")
    assert same(model, before) and model.training == mode, "the model that was given has changed"
    assert all(p.requires_grad for p in model.parameters()), "a weight of the model that was given was frozen"
    for a, b in ((data.forget, request.forget), (data.retain, request.retain)):
        assert a.digest() == b.digest(), "the data that was given has changed"


def something_moves(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against an optimiser that holds the teacher's parameters, so that the student never moves."""
    after = method(model, request, seed=0, device="cpu")
    assert not same(model, after), "no parameter has moved"
    assert all(p.isfinite().all() for p in after.parameters()), "a parameter is not finite"


def output_keeps_its_shape(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against a shadow class that is kept at evaluation, and a model left in training mode."""
    after = method(model, request, seed=0, device="cpu")
    few = request.retain[:5].x
    assert after(few).shape == model(few).shape, "the output has another width"
    assert not any(layer.training for layer in after.modules()), "the model is not in eval mode"
    assert all(p.requires_grad for p in after.parameters()), "a weight is left frozen"


def teacher_is_at_rest(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against a teacher that is left in training mode, so that its running statistics move with the student."""
    if method.info.get("starts_anew", False):
        return  # it may train several nets at once
    called: list[nn.Module] = []  # nets in training mode, in the order of their calls, without repeats
    inside: list[nn.Module] = []  # modules whose call has begun and not ended

    def enter(module, inputs):
        if not inside and module.training and not (called and called[-1] is module):
            called.append(module)
        inside.append(module)

    hooks = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(lambda *_: inside.pop() and None, always_call=True),
    ]
    try:
        method(model, request, seed=0, device="cpu")
    finally:
        for hook in hooks:
            hook.remove()
    assert len({id(net) for net in called}) == len(called), "two nets in training mode are called alternately"


def seed_decides(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against draws from the global generator, and global state that is left changed."""
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        expected = torch.random.get_rng_state()
        runs.append(method(model, request, seed=7, device="cpu"))
        assert torch.equal(torch.random.get_rng_state(), expected), "the global generator was used"
    assert same(*runs), "the global seed changes the result"


def _marked(samples):
    """Samples that cannot be read unnoticed: images of NaN, texts of tokens that no model has."""
    if samples.domain == "image":
        return Samples(torch.full_like(samples.x, float("nan")), samples.y)
    return replace(samples, ids=torch.full_like(samples.ids, torch.iinfo(samples.ids.dtype).max))


def forget_set_stays_unread(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against "retraining" with a loader that still holds the forget set, in methods declared not to read it."""
    if method.info.get("reads_forget_set", True):
        return
    try:
        after = method(model, replace(request, forget=_marked(request.forget)), seed=0, device="cpu")
    except (NonFiniteLoss, IndexError) as error:
        raise AssertionError("the forget set was read") from error
    assert same(after, method(model, request, seed=0, device="cpu")), "the forget set was read"


def prompt_and_padding_never_count(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against a loss over all tokens of a text, of which only those of the answer may count.

    Two tokens get the same embedding, so that they read the same and differ only as labels. If one replaces the other
    in every question and in the padding, all weights must come out the same up to rounding.
    """
    if request.domain == "image":
        return
    parts = ("forget", "retain")
    prompts = [token for name in parts for prompt in getattr(request, name).prompts() for token in prompt]
    answers = {token for name in parts for answer in getattr(request, name).answers() for token in answer}
    first = max(set(prompts) - answers, key=prompts.count)
    second = next(i for i in range(request.n_classes) if i not in {*prompts, *answers})
    twins = copy.deepcopy(model)
    twins.make = partial(_twinned, twins.make, first, second)
    _alike(twins.net, first, second)
    rewritten = {name: _rewritten(getattr(request, name), first, second) for name in parts}
    one = method(twins, request, seed=0, device="cpu")
    other = method(twins, replace(request, **rewritten), seed=0, device="cpu")
    embedding, rows = one.net.get_input_embeddings().weight, [first, second]
    with torch.no_grad():
        embedding[rows] = embedding[rows[::-1]]
    close = (torch.allclose(p, q, atol=1e-5) for p, q in zip(one.parameters(), other.parameters(), strict=True))
    assert all(close), "the tokens of questions or the padding have changed the result"


def _alike(net: nn.Module, first: int, second: int) -> nn.Module:
    """The net, with the same embedding for both tokens."""
    weight = net.get_input_embeddings().weight
    with torch.no_grad():
        weight[second] = weight[first]
    return net


def _twinned(make: Callable[[], nn.Module], first: int, second: int) -> nn.Module:
    return _alike(make(), first, second)


def _rewritten(samples, first: int, second: int):
    """Texts with `second` in place of `first` in questions, and as padding."""
    position = torch.arange(samples.ids.shape[1])
    question, padding = position < samples.start[:, None], position >= samples.stop[:, None]
    return replace(samples, ids=samples.ids.masked_fill(question & (samples.ids == first) | padding, second))


def divergence_is_an_error(method: Entry, model: nn.Module, request: Request) -> None:
    """Guards against a model of NaN that is stored, scored and tabled."""
    with torch.no_grad():
        broken = copy.deepcopy(model)
        next(broken.parameters()).fill_(float("nan"))
    if request.domain == "image":
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
    """{contract: "holds" or what is wrong}, for a method of your own on a small request."""
    verdicts = {}
    for contract in CONTRACTS:
        try:
            contract(method, model, request)
            verdicts[contract.__name__] = "holds"
        except AssertionError as error:
            verdicts[contract.__name__] = str(error)
    return verdicts
