"""Gradients of single samples, many at once, in eval mode: nothing depends on a sample's companions."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from data_builders.task import Samples
from unlearnkit.core.errors import NotApplicable

FLOATS = 2**25  # that the gradients of one chunk may take
Losses = Callable[[Tensor, Tensor], list[Tensor]]  # (logits (n, classes), y (n,)) -> losses of each sample, (n,) each


def cross_entropy(logits: Tensor, y: Tensor) -> list[Tensor]:
    """The loss that samples are usually trained by."""
    return [F.cross_entropy(logits, y, reduction="none")]


def per_sample(model: nn.Module, samples: Samples, chunk: int = 0) -> Iterator[dict[str, Tensor]]:
    """Parameter name -> (n, *shape), the gradient of each sample's cross-entropy, in chunks of the samples' order.

    chunk: samples at a time; 0 chooses by the model's size. The model must be in eval mode and on the samples' device.
    """
    for batch in _chunks(model, samples, chunk):
        yield _vmapped(model, batch, cross_entropy, 0) if isinstance(batch, Samples) else _one_by_one(model, batch)


def squared(model: nn.Module, samples: Samples, chunk: int = 0, losses: Losses = cross_entropy) -> dict[str, Tensor]:
    """Parameter name -> mean over the samples of their squared gradients, summed over `losses`: with the cross-entropy the
    diagonal of the empirical Fisher matrix.

    chunk: as of `per_sample`. Where all layers are ones that `_SQUARES` knows, the squares are made of each layer's inputs
    and its outputs' gradients, which takes one ordinary pass for many samples; else by vmap.
    """
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    if not isinstance(samples, Samples):
        if losses is not cross_entropy:
            raise NotApplicable("the gradient of every label of every answer token is not taken: use those of the data")
        for found in per_sample(model, samples, chunk):
            for name, g in found.items():
                total[name] += g.square().sum(0)
        return {name: t / len(samples) for name, t in total.items()}
    quick = _is_known(model)
    for batch in _chunks(model, samples, chunk or (64 if quick else 0)):
        for found in _by_layer(model, batch, losses) if quick else _by_sample(model, batch, losses):
            for name, value in found.items():
                total[name] += value
    return {name: t / len(samples) for name, t in total.items()}


def _chunks(model: nn.Module, samples: Samples, chunk: int) -> Iterator[Samples]:
    size = chunk or max(min(FLOATS // sum(p.numel() for p in model.parameters()), 64), 1)
    for index in torch.arange(len(samples), device=samples.y.device).split(size):
        yield samples[index]


def _vmapped(model: nn.Module, batch: Samples, losses: Losses, number: int) -> dict[str, Tensor]:
    def loss(given: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return losses(functional_call(model, given, (x[None],)), y[None])[number][0]

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    return vmap(grad(loss), in_dims=(None, 0, 0))(parameters, batch.x, batch.y)


def _one_by_one(model: nn.Module, batch) -> dict[str, Tensor]:
    """Of texts, which differ in length: of the mean loss of each one's answer tokens."""
    moving = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        parts = [batch[i : i + 1] for i in range(len(batch))]
        found = [torch.autograd.grad(F.cross_entropy(model(p.x), p.y), list(moving.values())) for p in parts]
    return {name: torch.stack(g) for name, g in zip(moving, zip(*found, strict=True), strict=True)}


def _by_sample(model: nn.Module, batch: Samples, losses: Losses) -> Iterator[dict[str, Tensor]]:
    with torch.no_grad():
        n = len(losses(model(batch.x), batch.y))
    for number in range(n):
        yield {name: g.square().sum(0) for name, g in _vmapped(model, batch, losses, number).items()}


# --- by layer ------------------------------------------------------------------------------------------------------


def _is_known(model: nn.Module) -> bool:
    """Whether every parameter belongs to a layer whose squares we know, and to no other."""
    owners = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    counted = sum(len([*m.parameters(recurse=False)]) for m in owners)
    return counted == len([*model.parameters()]) and all(
        type(m) in _SQUARES and _SQUARES[type(m)][0](m) for m in owners
    )


def _by_layer(model: nn.Module, batch: Samples, losses: Losses) -> Iterator[dict[str, Tensor]]:
    seen: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def keep(name: str):
        def hook(layer, inputs, output):
            seen.append((name, layer, inputs[0].detach(), output))
            return output.clone()  # what follows may work in place

        return hook

    hooks = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if type(m) in _SQUARES]
    try:
        with torch.enable_grad():
            made = [loss.sum() for loss in losses(model(batch.x.requires_grad_()), batch.y)]
    finally:
        for hook in hooks:
            hook.remove()
    if len({name for name, *_ in seen}) < len(seen):  # a layer used twice: its gradients add up before they are squared
        yield from _by_sample(model, batch, losses)
        return
    for number, loss in enumerate(made):
        outputs = [output for *_, output in seen]
        gradients = torch.autograd.grad(loss, outputs, retain_graph=number + 1 < len(made))
        found = {}
        for (name, layer, x, _), g in zip(seen, gradients, strict=True):
            for parameter, value in _SQUARES[type(layer)][1](layer, x, g).items():
                found[f"{name}.{parameter}" if name else parameter] = value
        yield found


def _linear(layer: nn.Linear, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    if x.ndim == 2:  # (g_i x_j)^2 = g_i^2 x_j^2
        weight, bias = g.square().T @ x.square(), g
    else:
        x, g = x.flatten(1, -2), g.flatten(1, -2)
        weight, bias = torch.einsum("nto,nti->noi", g, x).square().sum(0), g.sum(1)
    return _present(layer, weight, bias)


def _conv(layer: nn.Conv2d, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    patches = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (n, in * h * w, places)
    weight = torch.bmm(g.flatten(2), patches.transpose(1, 2)).square_().sum(0).view_as(layer.weight)
    return _present(layer, weight, g.flatten(2).sum(2))


def _group_norm(layer: nn.GroupNorm, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    return _scaled(layer, F.group_norm(x, layer.num_groups, eps=layer.eps), g)


def _batch_norm(layer: nn.BatchNorm2d, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    return _scaled(layer, F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps), g)


def _scaled(layer: nn.Module, normed: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Of a weight and a bias per channel."""
    return _present(layer, (normed * g).flatten(2).sum(2).square().sum(0), g.flatten(2).sum(2))


def _present(layer: nn.Module, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """weight: the sum of squares; bias: (n, width), the gradient of each sample. A bias that is not there is left out."""
    return {"weight": weight} | ({} if layer.bias is None else {"bias": bias.square().sum(0)})


def _plain(layer: nn.Conv2d) -> bool:
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


# layer: (does it apply?, its sum over samples of squared gradients)
_SQUARES = {
    nn.Linear: (lambda layer: True, _linear),
    nn.Conv2d: (_plain, _conv),
    nn.GroupNorm: (lambda layer: layer.affine, _group_norm),
    nn.BatchNorm2d: (lambda layer: layer.affine and layer.track_running_stats, _batch_norm),
}
