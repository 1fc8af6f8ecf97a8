"""Nets whose training ends at the KKT conditions of the margin: homogeneous, with a small first layer."""

from itertools import pairwise
from math import prod

from torch import nn

from unlearnkit.images.models import Classifier, models

SOURCE = "Haim et al. 2022, arXiv 2206.07758: biases in the first layer only, which starts small; widths and scale ours"
SCALE = 0.1  # standard deviation of the first layer at the start; weight decay takes away what data does not hold
PUBLISHED_SCALE = 1e-4


class SmallLinear(nn.Linear):
    """A linear layer, its bias included, that is drawn with standard deviation `scale`."""

    def __init__(self, width: int, out: int, scale: float):
        self.scale = scale
        super().__init__(width, out)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.scale)
        nn.init.normal_(self.bias, std=self.scale)


def homogeneous(in_shape: tuple[int, int, int], n_classes: int, hidden: tuple[int, ...], scale: float) -> Classifier:
    """ReLU layers of these widths; only the first has a bias, so that weights times c are logits times a power of c."""
    widths = [prod(in_shape), *hidden]
    layers = [nn.Flatten(), SmallLinear(*widths[:2], scale), nn.ReLU()]  # type: ignore[call-arg]
    for width, out in pairwise(widths[1:]):
        layers += [nn.Linear(width, out, bias=False), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), nn.Linear(widths[-1], n_classes, bias=False))


@models.register("margin_mlp", source=SOURCE)
def margin_mlp(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """One hidden layer of 256, homogeneous: the smallest net whose training set can be searched for."""
    return homogeneous(in_shape, n_classes, (256,), SCALE)


@models.register("margin_mlp_1000", source=SOURCE.replace("widths and scale ours", "widths and scale theirs"))
def margin_mlp_1000(in_shape: tuple[int, int, int], n_classes: int) -> Classifier:
    """Two hidden layers of 1,000, homogeneous, as published."""
    return homogeneous(in_shape, n_classes, (1000, 1000), PUBLISHED_SCALE)
