"""Image classifiers: small ones of our own, and any of torchvision's. Each ends in a linear head on features.

The layers of small_cnn and mlp keep no running statistics, so that several seeds can be trained as one stacked program
(unlearnkit.images.train_many).
"""

import copy
from collections.abc import Callable, Mapping
from functools import cache, partial, update_wrapper
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.registry import Entry, Registry
from unlearnkit.images.heads import head, head_name

TORCHVISION = "torchvision:"


class Models(Registry):
    """The registered classifiers, and torchvision's as "torchvision:NAME".

    The prefix tells torchvision's resnet18, made for large photographs, from ours. Raises UnknownName with the nearest
    name.
    """

    @property
    def families(self) -> dict[str, Entry]:
        """Entries listed for names that are not registered one by one."""
        return {f"{TORCHVISION}NAME": Entry(self.kind, f"{TORCHVISION}NAME", torchvision_classifier, TORCHVISION_INFO)}

    def __getitem__(self, name: str) -> Entry:
        if name.startswith(TORCHVISION):
            return _of_torchvision(name.removeprefix(TORCHVISION))
        return super().__getitem__(name)

    __contains__ = Mapping.__contains__


models = Models("model", hint=f"Those of torchvision are called '{TORCHVISION}NAME'.")


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
    """A model by its name, initialised from `seed` alone.

    in_shape: (channels, height, width). Raises UnknownName for a name that is not registered, BadValue for images that
    the model cannot take and for a model whose last layer is not linear with one output per class.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw from the global generator in their constructors
        net = models[name](in_shape, n_classes)
    try:
        width = head(net).out_features
    except BadValue as error:
        raise BadValue(f"model {name!r}: {error}") from None
    if width != n_classes:
        raise BadValue(f"model {name!r}: its last linear layer, {head_name(net)}, is no head for {n_classes} classes")
    return fresh(net, seed)


def fresh(model: nn.Module, seed: int) -> nn.Module:
    """A copy of `model` with *every* parameter drawn anew from `seed`; the model itself is left as it is.

    A RebuildableNet (torchvision's) is built anew, with its own initialisation; every layer of any other model resets
    itself. Raises BadValue if a parameter belongs to no layer that can: a retrained model must not inherit a single
    weight (the public defect this guards against: only the last layer was drawn anew).
    """
    model = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        covered = _reset(model)
    missed = [name for name, p in model.named_parameters() if id(p) not in covered]
    if missed:
        raise BadValue(f"cannot draw {', '.join(missed)} anew: give the layer that owns it a reset_parameters()")
    return model


def _reset(layer: nn.Module) -> set[int]:
    """Draws all parameters anew that can be; returns their ids."""
    if isinstance(layer, RebuildableNet):
        layer.net.load_state_dict(layer.make().state_dict())
        return {id(p) for p in layer.parameters()}
    covered = set().union(*map(_reset, layer.children()))
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
        covered |= {id(p) for p in layer.parameters(recurse=False)}
    return covered


class RebuildableNet(nn.Module):
    """A net that `make()` builds, and can build anew with other weights (see `fresh`).

    x: (n, channels, height, width); `grey`: (n, 1, height, width), repeated to three channels; logits: (n, classes).
    """

    def __init__(self, make: Callable[[], nn.Module], grey: bool = False):
        super().__init__()
        self.make, self.grey = make, grey
        self.net = make()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.expand(-1, 3, -1, -1) if self.grey else x)


def n_parameters(model: nn.Module) -> int:
    """The number of weights."""
    return sum(p.numel() for p in model.parameters())


@models.register("small_cnn", source="ours")
def small_cnn(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """Convolutions with group norm, pooled until the side is 4 or less, one hidden layer: 35 k parameters on 8x8, 62 k
    on 28x28. Without the norm, training on photographs diverges at the learning rate that digits need."""
    channels, height, width = in_shape
    if min(height, width) < 4:
        raise BadValue(f"small_cnn needs images of at least 4x4 pixels, got {height}x{width}; use 'mlp'")
    layers, out = [], 8
    while min(height, width) > 4:  # pooled before the ReLU: the same result for less work
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.MaxPool2d(2), nn.GroupNorm(4, out), nn.ReLU()]
        channels, out, height, width = out, min(2 * out, 64), height // 2, width // 2
    layers += [nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(4, out), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(out * height * width, 128), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), nn.Linear(128, n_classes))


@models.register("mlp", source="ours")
def mlp(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """Two hidden layers of 128: the smallest model, and one that reconstruction attacks can invert."""
    return _mlp(in_shape, n_classes, 128)


@models.register("mlp512", source="ours")
def mlp512(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """Two hidden layers of 512: large enough to memorise whole sets of 28x28 images, 0.67 M parameters."""
    return _mlp(in_shape, n_classes, 512)


def _mlp(in_shape: tuple[int, int, int], n_classes: int, width: int) -> Classifier:
    layers = [nn.Flatten(), nn.Linear(prod(in_shape), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), nn.Linear(width, n_classes))


@models.register(
    "resnet9", source="ours, between DAWNBench's ResNet-9 (Page 2018) and airbench (Jordan 2024, arXiv 2404.00498)"
)
def resnet9(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """A fast residual net for 28x28 and 32x32: 0.28 M parameters. Its running statistics keep it from being stacked."""
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


@models.register("resnet18", source="He et al. 2016, arXiv 1512.03385; torchvision's, with the stem usual for CIFAR")
def resnet18(in_shape: tuple[int, int, int], n_classes: int) -> RebuildableNet:
    """A residual net of 18 layers whose stem is a 3x3 convolution without pooling: 11.2 M parameters."""
    return RebuildableNet(partial(_resnet18, in_shape[0], n_classes))


def _resnet18(channels: int, n_classes: int) -> nn.Module:
    from torchvision.models.resnet import BasicBlock, ResNet  # here and below: slow to import

    net = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=n_classes)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # like all of its convolutions
    net.maxpool = nn.Identity()
    return net


TORCHVISION_INFO = {"source": "torchvision; its documentation names the paper of the model"}


def torchvision_names() -> list[str]:
    """The names of torchvision's classifiers."""
    from torchvision import models as torchvision_models

    return torchvision_models.list_models(module=torchvision_models)


@cache
def _of_torchvision(name: str) -> Entry:
    if name not in torchvision_names():
        raise unknown("torchvision classifier", name, torchvision_names())
    make = update_wrapper(partial(torchvision_classifier, name=name), torchvision_classifier)
    return Entry("model", TORCHVISION + name, make, TORCHVISION_INFO)


def torchvision_classifier(in_shape: tuple[int, int, int], n_classes: int, name: str) -> RebuildableNet:
    """Any classifier of torchvision's, initialised its way and not pretrained; grey images get three channels."""
    channels, height, width = in_shape
    if channels not in (1, 3):
        raise BadValue(f"torchvision's {name} takes images of 1 or 3 channels, got {channels}")
    net = RebuildableNet(partial(_torchvision, name, n_classes, height), grey=channels == 1)
    try:
        with torch.inference_mode():
            net.eval()(torch.zeros(1, *in_shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BadValue(f"torchvision's {name} cannot take images of {height}x{width} pixels: {error}") from error
    return net.train()


def _torchvision(name: str, n_classes: int, side: int) -> nn.Module:
    from torchvision.models import get_model

    options = {"image_size": side} if name.startswith("vit_") else {}  # its number of weights depends on it
    if name in ("googlenet", "inception_v3"):  # without the auxiliary heads that only training uses
        options = {"aux_logits": False, "init_weights": True}
    return get_model(name, weights=None, num_classes=n_classes, **options)
