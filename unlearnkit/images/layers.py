"""Features of any layers of any classifier, by name, from one pass.

Maps (n, channels, height, width) are averaged over the finest square grid that leaves at most so many features, and
flattened: all pixels where they fit, one value per channel (global average pooling) where no more does. So the cost of
a layer is bounded by the number of images alone, and an early layer of few channels keeps positions. Tokens (n, tokens,
width) are averaged over the tokens. Source: ours.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.images.heads import Ensemble, blocks, in_line
from unlearnkit.images.predict import BATCH, map_batches

WIDTH = 1024  # features per layer: 60,000 images are 240 MiB


def names(model: nn.Module) -> list[str]:
    """All layers by name, outer ones before inner ones; of an ensemble those of a member."""
    model = model.members[0] if isinstance(model, Ensemble) else model
    return [name for name, _ in model.named_modules() if name]


def stages(model: nn.Module) -> list[str]:
    """The layers that feed the next layer with parameters, in order; the last one feeds the head."""
    model = model.members[0] if isinstance(model, Ensemble) else model
    name = {id(layer): name for name, layer in model.named_modules()}
    firsts = {id(group[0]) for group in blocks(model)}
    return [name[id(before)] for before, layer in pairwise(in_line(model)) if id(layer) in firsts]


def features(
    model: nn.Module,
    x: Tensor,
    layers: Sequence[str],
    *,
    width: int = WIDTH,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = BATCH,
) -> dict[str, Tensor]:
    """{layer: (n, features) float32 on the CPU}, in eval mode, from one pass over x, (n, channels, height, width).

    width: the most features that a map becomes, unless it has more channels. Of a layer that runs several times the
    last output counts; an ensemble has the features of its members side by side. The rest is as in
    unlearnkit.images.predict. Raises UnknownName for a layer that the model does not have, BadValue for one that no
    image passes through or whose output is no map, no tokens and no vector.
    """
    layers = list(dict.fromkeys(layers))
    for layer in layers:
        if layer not in (known := names(model)):
            raise unknown(f"layer of {type(model).__name__}", layer, known)
    if not layers:
        raise BadValue(
            "name at least one layer; unlearnkit.images.layers.stages(model) are those that feed the next one"
        )
    if width < 1:
        raise BadValue(f"width must be at least 1, got {width}")

    def read(net: nn.Module, batch: Tensor) -> tuple[Tensor, ...]:
        members = net.members if isinstance(net, Ensemble) else [net]
        by_member = [_caught(member, batch, layers, width) for member in members]
        return tuple(torch.cat(parts, 1) for parts in zip(*by_member, strict=True))

    by_layer = map_batches(model, x, read, device=device, precision=precision, batch_size=batch_size)
    return dict(zip(layers, by_layer, strict=True))


def _caught(net: nn.Module, batch: Tensor, layers: Sequence[str], width: int) -> list[Tensor]:
    caught: dict[str, Tensor] = {}

    def catch(name: str):
        def hook(layer, inputs, output) -> None:
            caught[name] = flat(output, name, width).clone()  # later layers may write in place

        return hook

    hooks = [net.get_submodule(name).register_forward_hook(catch(name)) for name in layers]
    try:
        net(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if idle := [name for name in layers if name not in caught]:
        raise BadValue(f"no image passes through {', '.join(idle)}: ask for a layer around or before it")
    return [caught[name] for name in layers]


def flat(output: Tensor, name: str = "a layer", width: int = WIDTH) -> Tensor:
    """A layer's output as (n, features); see the module. Raises BadValue if it is no map, no tokens and no vector."""
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        shape = f"{output.ndim} dimensions" if isinstance(output, Tensor) else type(output).__name__
        raise BadValue(f"{name} gives {shape}: features are taken of maps, tokens and vectors; ask for another layer")
    if output.ndim == 3:
        return output.mean(1)
    if output.ndim == 4 and output.shape[2:].numel() * output.shape[1] > width:
        side = max(1, min(int((width / output.shape[1]) ** 0.5), *output.shape[2:]))
        output = F.adaptive_avg_pool2d(output, side)
    return output.flatten(1)
