"""A deleted image, read from the difference of two nets' weights: exactly, where no other image moved them."""

from torch import Tensor, nn

from unlearnkit.analysis.reconstruction.layers import linear_layers
from unlearnkit.core.errors import BadValue


def inputs_of_difference(before: nn.Linear, after: nn.Linear) -> tuple[Tensor, Tensor]:
    """The inputs of a linear layer while it was trained: (rows, in), and how much each row's bias moved: (rows,), its
    weight.

    Each sample's gradient is g x^T for the weights and g for the bias, so a row's ratio of the two is the input itself
    if one sample moved it, however often, and else a mixture of the inputs. Rows that did not move are left out.
    Source: Phong et al. 2017, doi 10.1007/978-3-319-71078-6_4, for single neurons. Raises BadValue for layers of two
    shapes, without a bias, or of which none moved.
    """
    if before.weight.shape != after.weight.shape:
        raise BadValue(f"layers of two shapes, {tuple(before.weight.shape)} and {tuple(after.weight.shape)}")
    if before.bias is None or after.bias is None:
        raise BadValue("the layer has no bias: inputs are read as the ratio of the changes of weights and bias")
    weight, bias = ((b - a).detach().double() for b, a in ((before.weight, after.weight), (before.bias, after.bias)))
    moved = bias.abs() > 1e-3 * bias.abs().max()  # of the others float32 has hardly a digit left
    if not moved.any():
        raise BadValue("the layer's bias did not move: there is no difference to read")
    return (weight[moved] / bias[moved, None]).float(), bias[moved].abs().float()


def images_of_difference(before: nn.Module, after: nn.Module) -> tuple[Tensor, Tensor]:
    """Candidates for the images that moved `before` to `after`: (m, pixels) and their weights (m,), from the first
    layer.

    Raises BadValue for a net that is not an MLP with a bias in its first layer, and what `inputs_of_difference` does.
    """
    return inputs_of_difference(linear_layers(before)[0], linear_layers(after)[0])
