"""Gradients of single samples, many at once, in eval mode: none depends on the other samples of a batch.

Beside them `squared_of_batches`, of whole batches, for what published scripts compute.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import NotApplicable

FLOATS = 2**25  # floats in the gradients of one chunk, at most
Losses = Callable[[Tensor, Tensor], list[Tensor]]  # (logits (n, classes), y (n,)) -> losses of each sample, (n,) each


def cross_entropy(logits: Tensor, y: Tensor) -> list[Tensor]:
    """The usual training loss, as a list of one."""
    return [F.cross_entropy(logits, y, reduction="none")]


def per_sample(model: nn.Module, samples: Samples, chunk: int = 0) -> Iterator[dict[str, Tensor]]:
    """{parameter name: (n, *shape), the gradient of each sample's cross-entropy}, chunk by chunk in the order of
    samples.

    chunk: samples at a time; 0 chooses by the model's size. The model must be in eval mode and on the samples' device.
    """
    for batch in _chunks(model, samples, chunk):
        yield _vmapped(model, batch, cross_entropy, 0) if batch.domain == "image" else _one_by_one(model, batch)


def squared(model: nn.Module, samples: Samples, chunk: int = 0, losses: Losses = cross_entropy) -> dict[str, Tensor]:
    """{parameter name: mean over samples of their squared gradients, summed over `losses`}: with the cross-entropy the
    diagonal of the empirical Fisher matrix.

    chunk: as of `per_sample`. If all layers are listed in `_SQUARES`, the squares are computed from each layer's inputs
    and output gradients, in one ordinary pass for many samples; else by vmap. Raises NotApplicable for texts with other
    losses.
    """
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    if samples.domain == "text":
        if losses is not cross_entropy:
            raise NotApplicable("the gradient of every label of every answer token is not taken: use those of the data")
        for gradients in per_sample(model, samples, chunk):
            for name, g in gradients.items():
                total[name] += g.square().sum(0)
        return {name: t / len(samples) for name, t in total.items()}
    quick = _is_known(model)
    for batch in _chunks(model, samples, chunk or (64 if quick else 0)):
        for sums in _by_layer(model, batch, losses) if quick else _by_sample(model, batch, losses):
            for name, value in sums.items():
                total[name] += value
    return {name: t / len(samples) for name, t in total.items()}


def squared_of_batches(
    model: nn.Module, samples: Samples, size: int, seed: int, losses: Callable[[nn.Module, Samples], Tensor]
) -> dict[str, Tensor]:
    """{parameter name: mean over shuffled batches of the squared gradient of the batch's mean loss}: with n samples a
    batch about 1/n of what `squared` gives where their gradients are independent, and as much where they are the same.

    losses: (model, batch) -> the loss of each sample, (n,). The model must be in eval mode, on the samples' device.
    """
    moving = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    batches = torch.randperm(len(samples), generator=generator(seed, "squares")).to(samples.y.device).split(size)
    for index in batches:
        with torch.enable_grad():
            gradients = torch.autograd.grad(losses(model, samples[index]).mean(), list(moving.values()))
        for name, gradient in zip(moving, gradients, strict=True):
            total[name] += gradient.square()
    return {name: t / len(batches) for name, t in total.items()}


def _chunks(model: nn.Module, samples: Samples, chunk: int) -> Iterator[Samples]:
    size = chunk or max(min(FLOATS // sum(p.numel() for p in model.parameters()), 64), 1)
    for index in torch.arange(len(samples), device=samples.y.device).split(size):
        yield samples[index]


def _vmapped(model: nn.Module, batch: Samples, losses: Losses, number: int) -> dict[str, Tensor]:
    """The gradient of each sample's loss of that number, (n, *shape) for each parameter."""

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return losses(functional_call(model, parameters, (x[None],)), y[None])[number][0]

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    return vmap(grad(loss), in_dims=(None, 0, 0))(parameters, batch.x, batch.y)


def _one_by_one(model: nn.Module, batch) -> dict[str, Tensor]:
    """For texts, which differ in length: the gradient of the mean loss of each sample's answer tokens."""
    moving = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        singles = [batch[i : i + 1] for i in range(len(batch))]
        gradients = [torch.autograd.grad(F.cross_entropy(model(s.x), s.y), list(moving.values())) for s in singles]
    return {name: torch.stack(g) for name, g in zip(moving, zip(*gradients, strict=True), strict=True)}


def _by_sample(model: nn.Module, batch: Samples, losses: Losses) -> Iterator[dict[str, Tensor]]:
    with torch.no_grad():
        n = len(losses(model(batch.x), batch.y))
    for number in range(n):
        yield {name: g.square().sum(0) for name, g in _vmapped(model, batch, losses, number).items()}


# --- by layer ------------------------------------------------------------------------------------------------------


def _is_known(model: nn.Module) -> bool:
    """Whether every parameter belongs to exactly one layer, of a type in `_SQUARES`."""
    owners = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    counted = sum(len([*m.parameters(recurse=False)]) for m in owners)
    return counted == len([*model.parameters()]) and all(
        type(m) in _SQUARES and _SQUARES[type(m)][0](m) for m in owners
    )


def _by_layer(model: nn.Module, batch: Samples, losses: Losses) -> Iterator[dict[str, Tensor]]:
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []  # (name, layer, input, output)

    def keep(name: str):
        def hook(layer, inputs, output):
            calls.append((name, layer, inputs[0].detach(), output))
            return output.clone()  # the next layer may work in place

        return hook

    hooks = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if type(m) in _SQUARES]
    try:
        with torch.enable_grad():
            sums = [loss.sum() for loss in losses(model(batch.x.requires_grad_()), batch.y)]
    finally:
        for hook in hooks:
            hook.remove()
    if len({name for name, *_ in calls}) < len(
        calls
    ):  # a layer used twice: its gradients add up before they are squared
        yield from _by_sample(model, batch, losses)
        return
    for number, loss in enumerate(sums):
        outputs = [output for *_, output in calls]
        gradients = torch.autograd.grad(loss, outputs, retain_graph=number + 1 < len(sums))
        squares = {}
        for (name, layer, x, _), g in zip(calls, gradients, strict=True):
            for parameter, value in _SQUARES[type(layer)][1](layer, x, g).items():
                squares[f"{name}.{parameter}" if name else parameter] = value
        yield squares


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
    """For layers with one weight and one bias per channel; normed: the input after normalisation."""
    return _present(layer, (normed * g).flatten(2).sum(2).square().sum(0), g.flatten(2).sum(2))


def _present(layer: nn.Module, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """weight: the sum of squares; bias: (n, width), the gradient of each sample; left out if the layer has none."""
    return {"weight": weight} | ({} if layer.bias is None else {"bias": bias.square().sum(0)})


def _plain(layer: nn.Conv2d) -> bool:
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


# layer: (whether the formula applies to it, the sum over samples of its squared gradients)
_SQUARES = {
    nn.Linear: (lambda layer: True, _linear),
    nn.Conv2d: (_plain, _conv),
    nn.GroupNorm: (lambda layer: layer.affine, _group_norm),
    nn.BatchNorm2d: (lambda layer: layer.affine and layer.track_running_stats, _batch_norm),
}
