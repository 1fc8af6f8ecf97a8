"""Small image classifiers, each a body that ends in features and a linear head.

No layer keeps running statistics, so that several seeds can be trained as one stacked program (unlearnkit.stack).
"""

import copy
import math
from collections.abc import Iterable
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.compute import derive
from unlearnkit.errors import BadValue
from unlearnkit.registry import Registry

models = Registry("model")


class Classifier(nn.Module):
    """logits = head(body(x)). x: (n, channels, height, width); features: (n, width); logits: (n, classes)."""

    def __init__(self, body: nn.Sequential, head: nn.Linear):
        super().__init__()
        self.body, self.head = body, head

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def build(name: str, in_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
    """A model by its registered name, initialised from `seed` alone.

    in_shape: (channels, height, width). Raises UnknownName for a name that is not registered.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw from the global generator as they are made
        net = models[name](in_shape, n_classes)
    return fresh(net, seed)


def fresh(model: nn.Module, seed: int) -> nn.Module:
    """A copy of `model` with *every* parameter drawn anew from `seed`; the model itself is left as it is.

    Raises BadValue if some parameter belongs to no layer that knows how to reset itself: a retrained model must not
    inherit a single weight (the public defect this guards against: only the last layer was drawn anew).
    """
    model = copy.deepcopy(model)
    covered = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        for layer in model.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
                covered |= {id(p) for p in layer.parameters(recurse=False)}
    missed = [name for name, p in model.named_parameters() if id(p) not in covered]
    if missed:
        raise BadValue(f"cannot draw {', '.join(missed)} anew: give the layer that owns it a reset_parameters()")
    return model


def head_name(model: nn.Module) -> str:
    """Where the head of any classifier is: its last linear layer. Raises BadValue if it has none."""
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear or isinstance(model, Ensemble):
        raise BadValue(f"{type(model).__name__} has no linear head: which of its outputs are features is not clear")
    return linear[-1]


def head(model: nn.Module) -> nn.Linear:
    """The last linear layer of any classifier. Raises BadValue if it has none."""
    return model.get_submodule(head_name(model))


def with_head(model: nn.Module, new: nn.Linear) -> nn.Module:
    """A copy of `model` with another head. Raises BadValue if it has none."""
    model = copy.deepcopy(model)
    model.set_submodule(head_name(model), new.train(model.training))
    return model


def outputs(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and features (n, width), what the head is fed, in one pass of any classifier."""
    if isinstance(model, Ensemble):
        return model.outputs(x)
    caught = []
    hook = head(model).register_forward_pre_hook(lambda layer, inputs: caught.append(inputs[0]))
    try:
        return model(x), caught[-1].flatten(1)
    finally:
        hook.remove()


def blocks(model: nn.Module) -> list[list[nn.Module]]:
    """The layers of a classifier that have parameters, in order, the head last, each norm with the layer before it.

    Nothing but nn.Sequential is taken apart: a residual block is one layer.
    """
    layers = list(model.children())
    while any(isinstance(layer, nn.Sequential) for layer in layers):
        layers = [found for layer in layers for found in (layer if isinstance(layer, nn.Sequential) else [layer])]
    groups: list[list[nn.Module]] = []
    for layer in layers:
        dimensions = [p.ndim for p in layer.parameters()]
        if dimensions and max(dimensions) == 1 and groups:
            groups[-1].append(layer)
        elif dimensions:
            groups.append([layer])
    return groups


class Ensemble(nn.Module):
    """Classifiers that vote: the log of their mean probability. Features are those of all members side by side."""

    def __init__(self, members: Iterable[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = zip(*[outputs(member, x) for member in self.members], strict=True)
        log_p = torch.stack(logits).log_softmax(-1)
        return log_p.logsumexp(0) - math.log(len(log_p)), torch.cat(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        log_p = torch.stack([member(x) for member in self.members]).log_softmax(-1)
        return log_p.logsumexp(0) - math.log(len(log_p))


def n_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@models.register("small_cnn", source="ours")
def small_cnn(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """Convolutions with group norm, pooled until the side is 4 or less, one hidden layer: 35 k parameters on 8x8, 135 k
    on 28x28. Without the norm the rate that digits need makes photographs diverge."""
    channels, height, width = in_shape
    if min(height, width) < 4:
        raise BadValue(f"small_cnn needs images of at least 4x4 pixels, got {height}x{width}; use 'mlp'")
    layers, out = [], 8 if min(height, width) <= 8 else 16
    while min(height, width) > 4:  # pooled before the ReLU: the same result for less work
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.MaxPool2d(2), nn.GroupNorm(4, out), nn.ReLU()]
        channels, out, height, width = out, min(2 * out, 64), height // 2, width // 2
    layers += [nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(4, out), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(out * height * width, 128), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), nn.Linear(128, n_classes))


@models.register("mlp", source="ours")
def mlp(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """Two hidden layers of 128: the smallest model, and one that reconstruction attacks understand."""
    layers = [nn.Flatten(), nn.Linear(prod(in_shape), 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), nn.Linear(128, n_classes))


@models.register(
    "resnet9", source="ours, between DAWNBench's ResNet-9 (Page 2018) and airbench (Jordan 2024, arXiv 2404.00498)"
)
def resnet9(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """A fast residual net for 28x28 and 32x32: 0.28 M parameters. It keeps running statistics, so it is not stacked."""
    channels, height, width = in_shape
    if min(height, width) < 16:
        raise BadValue(f"resnet9 needs images of at least 16x16 pixels, got {height}x{width}; use 'small_cnn'")
    layers = [nn.Conv2d(channels, 24, 2, bias=False), nn.GELU()]
    for before, after in ((24, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(after),
            nn.GELU(),
        ]
        layers += [Residual(after)]
    return Classifier(nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten()), nn.Linear(128, n_classes))


class Residual(nn.Module):
    """x + gelu(norm(conv(x)))."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.norm(self.conv(x)))
