"""Several ReLU nets of one shape as one: their logits, and weighted sums of their gradients in closed form.

W of a layer: (k, out, in) for k nets; b: (k, out), or None. x: (k, m, pixels); c: (k, m, outputs).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearnkit.core.errors import BadValue
from unlearnkit.images.heads import Ensemble


@dataclass(frozen=True)
class Layer:
    """Weights and biases of one linear layer of k nets."""

    W: Tensor
    b: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.W.mT if self.b is None else torch.baddbmm(self.b[:, None], x, self.W.mT)

    def dot(self, other: "Layer") -> Tensor:
        """Inner product of the parameters, net by net: (k,)."""
        return (self.W * other.W).sum((1, 2)) + (0 if self.b is None else (self.b * other.b).sum(1))

    def __sub__(self, other: "Layer") -> "Layer":
        return Layer(self.W - other.W, None if self.b is None else self.b - other.b)

    def to(self, *args) -> "Layer":
        return Layer(self.W.to(*args), None if self.b is None else self.b.to(*args))


Layers = list[Layer]


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The linear layers of an MLP in order. Raises BadValue, naming the layer, unless it is linear layers with ReLU
    between them on flattened images."""
    why = "reconstruction supports nets of linear layers with ReLU between them, such as margin_mlp"
    if isinstance(model, Ensemble):
        raise BadValue(f"an ensemble of {len(model.members)} nets has no single set of weights: {why}")
    leaves = [layer for layer in model.modules() if not [*layer.children()] and not isinstance(layer, nn.Flatten)]
    for place, layer in enumerate(leaves):
        if not isinstance(layer, (nn.ReLU if place % 2 else nn.Linear)):
            raise BadValue(f"{type(model).__name__} has a {type(layer).__name__} as layer {place + 1}: {why}")
    if not len(leaves) % 2:
        raise BadValue(f"{type(model).__name__} does not end on a linear layer: {why}")
    return leaves[::2]


def stacked(models: Sequence[nn.Module], dtype: torch.dtype = torch.float32) -> Layers:
    """k nets of one shape as one. Raises BadValue for a net that is no MLP (`linear_layers`), one that is not
    homogeneous, since the KKT conditions of the margin do not describe it, and for nets of several shapes."""
    nets = [linear_layers(model) for model in models]
    for layers in nets:
        if any(layer.bias is not None for layer in layers[1:]):
            raise BadValue(
                "the net has biases beyond its first layer: it is not homogeneous, and its weights need not be a sum "
                "of gradients of margins. Use margin_mlp"
            )
    if len({tuple(layer.weight.shape for layer in layers) for layers in nets}) > 1:
        raise BadValue("these nets are of several shapes: search them one by one")
    stack = [zip(*[(layer.weight.detach(), layer.bias) for layer in place]) for place in zip(*nets)]
    return [
        Layer(torch.stack(W).to(dtype), None if b[0] is None else torch.stack(b).detach().to(dtype)) for W, b in stack
    ]


class _SmoothReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.alpha = alpha
        return z.relu()

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (z,) = ctx.saved_tensors
        return gradient * (ctx.alpha * z).sigmoid(), None


def smooth_relu(z: Tensor, alpha: float) -> Tensor:
    """ReLU whose derivative is sigmoid(alpha z): a gradient of a gradient is then not 0. Source: Haim et al. 2022."""
    return _SmoothReLU.apply(z, alpha)


def logits(layers: Layers, x: Tensor) -> Tensor:
    """(k, m, outputs)."""
    for layer in layers[:-1]:
        x = layer(x).relu()
    return layers[-1](x)


def gradient_sum(layers: Layers, x: Tensor, c: Tensor, alpha: float | None = None) -> Layers:
    """sum over i of the gradient by the parameters of c_i . f(x_i), net by net, in the shape of the layers.

    alpha: of `smooth_relu`, and the result is then differentiable by x; None takes ReLU's own derivative, 1 where z >
    0.
    """
    inputs, slopes, _ = _forward(layers, x, alpha)
    slopes, out = [None, *slopes], []  # a layer's slope is that of its inputs
    for layer, a, slope in zip(layers[::-1], inputs[::-1], slopes[::-1], strict=True):
        out.append(Layer(c.mT @ a, None if layer.b is None else c.sum(1)))
        if slope is not None:
            c = (c @ layer.W) * slope
    return out[::-1]


def gram(layers: Layers, x: Tensor, c: Tensor, explain: Layers, alpha: float | None = None) -> tuple[Tensor, Tensor]:
    """Of k nets and the gradients g_i of c_i . f(x_i): the products g_i . g_j (k, m, m) and g_i . explain (k, m).

    Without the gradients themselves, which for wide nets would not fit into memory and take several times as long: a
    layer's product is that of its inputs times that of its outputs' gradients. alpha: as of `gradient_sum`.
    """
    products, weights = 0, 0
    inputs, slopes, outputs = _forward(layers, x, alpha)
    parts = (layers, explain, inputs, [None, *slopes], [*outputs, None])
    for layer, goal, a, slope, z in zip(*(part[::-1] for part in parts), strict=True):
        inner = a @ a.mT
        products = products + (c @ c.mT) * (inner if layer.b is None else inner + 1)
        weights = weights + (c * (goal(a) if z is None or goal is not layer else z)).sum(2)
        if slope is not None:
            c = (c @ layer.W) * slope
    return products, weights


def _forward(layers: Layers, x: Tensor, alpha: float | None) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Inputs of each layer, ReLU's derivative at those of each but the first, and outputs of each but the last."""
    inputs, slopes, outputs = [x], [], []
    for layer in layers[:-1]:
        outputs.append(z := layer(inputs[-1]))
        inputs.append(z.relu() if alpha is None else smooth_relu(z, alpha))
        slopes.append((z > 0).to(z.dtype) if alpha is None else (alpha * z).sigmoid())
    return inputs, slopes, outputs
