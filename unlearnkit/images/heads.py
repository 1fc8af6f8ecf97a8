"""The parts of any classifier, without editing it: its head, the features that enter the head, its blocks."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unlearnkit.core.errors import BadValue, NotApplicable


def head_name(model: nn.Module) -> str:
    """The name of the head, the last linear layer of any classifier. Raises BadValue if it has none."""
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear or isinstance(model, Ensemble):
        raise BadValue(f"{type(model).__name__} has no linear head: which of its outputs are features is not clear")
    return linear[-1]


def head(model: nn.Module) -> nn.Linear:
    """The last linear layer of any classifier. Raises BadValue if it has none."""
    return model.get_submodule(head_name(model))


def heads(model: nn.Module) -> list[nn.Linear]:
    """The head of a classifier, or those of an ensemble's members. Raises BadValue if one has none."""
    return [head(member) for member in model.members] if isinstance(model, Ensemble) else [head(model)]


def with_head(model: nn.Module, new: nn.Linear) -> nn.Module:
    """A copy of `model` with another head. Raises BadValue if it has none."""
    model = copy.deepcopy(model)
    model.set_submodule(head_name(model), new.train(model.training))
    return model


def logits_and_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and features (n, width), the input of the head, from one pass of any classifier.

    Raises BadValue if it has no linear head.
    """
    if isinstance(model, Ensemble):
        return model.logits_and_features(x)
    caught = []
    hook = head(model).register_forward_pre_hook(lambda layer, inputs: caught.append(inputs[0]))
    try:
        return model(x), caught[-1].flatten(1)
    finally:
        hook.remove()


def in_line(model: nn.Module) -> list[nn.Module]:
    """The layers of a classifier in order. Only nn.Sequential is taken apart: a residual block is one layer."""
    layers = list(model.children())
    while len(layers) == 1:  # a wrapper
        layers = list(layers[0].children())
    while any(isinstance(layer, nn.Sequential) for layer in layers):
        layers = [inner for layer in layers for inner in (layer if isinstance(layer, nn.Sequential) else [layer])]
    return layers


def blocks(model: nn.Module) -> list[list[nn.Module]]:
    """The layers of `in_line` that have parameters, each norm grouped with the layer before it, the head last; or the
    model's own `blocks()`, if it has that method."""
    if hasattr(model, "blocks"):
        return model.blocks()
    groups: list[list[nn.Module]] = []
    for layer in in_line(model):
        dimensions = [p.ndim for p in layer.parameters()]
        if dimensions and max(dimensions) == 1 and groups:
            groups[-1].append(layer)
        elif dimensions:
            groups.append([layer])
    return groups


def last_blocks(model: nn.Module, k: int) -> list[nn.Module]:
    """The layers of the last k blocks. Raises BadValue unless k is from 1 to the number of blocks."""
    groups = blocks(model)
    if not 1 <= k <= len(groups):
        raise BadValue(f"k is a number of blocks, from 1 to {len(groups)} for this model, got {k}")
    return [layer for block in groups[-k:] for layer in block]


def own_head(model: nn.Module) -> nn.Linear:
    """The head of a model, if it can be trained alone. Raises BadValue without a linear head, NotApplicable if the head
    shares its weights with the embedding."""
    if getattr(model, "tied", False):
        raise NotApplicable("the head of this model shares its weights with the embedding: it cannot be trained alone")
    return head(model)


class Ensemble(nn.Module):
    """Classifiers that vote: the output is the log of their mean probability; features are those of all members,
    concatenated."""

    def __init__(self, members: Iterable[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def logits_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = zip(*[logits_and_features(member, x) for member in self.members], strict=True)
        log_p = torch.stack(logits).log_softmax(-1)
        return log_p.logsumexp(0) - math.log(len(log_p)), torch.cat(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        log_p = torch.stack([member(x) for member in self.members]).log_softmax(-1)
        return log_p.logsumexp(0) - math.log(len(log_p))
