"""Gradients of single samples, many at once (torch.func), in eval mode: nothing depends on a sample's companions."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from unlearnkit.task import Samples

FLOATS = 2**25  # that the gradients of one chunk may take


def per_sample(model: nn.Module, samples: Samples, chunk: int = 0) -> Iterator[dict[str, Tensor]]:
    """Parameter name -> (n, *shape), the gradient of each sample's cross-entropy, in chunks of the samples' order.

    chunk: samples at a time; 0 chooses by the model's size. The model must be in eval mode and on the samples' device.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(given: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, given, (x[None],)), y[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    size = chunk or max(min(FLOATS // sum(p.numel() for p in parameters.values()), 64), 1)
    for index in torch.arange(len(samples), device=samples.y.device).split(size):
        batch = samples[index]
        yield each(parameters, batch.x, batch.y)


def squared(model: nn.Module, samples: Samples, chunk: int = 0) -> dict[str, Tensor]:
    """Parameter name -> mean over the samples of their squared gradients: the diagonal of the empirical Fisher matrix."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for gradients in per_sample(model, samples, chunk):
        for name, g in gradients.items():
            total[name] += g.square().sum(0)
    return {name: t / len(samples) for name, t in total.items()}
