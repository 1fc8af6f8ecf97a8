"""Run a classifier over many images: for outputs, features and similarity alike."""

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import unit
from unlearnkit.core.compute import MAX_COPIES, autocast, n_workers, parallel_map, resolve_device
from unlearnkit.images.heads import heads, logits_and_features

BATCH = 128  # images at once: what a layer makes of them stays in a processor's cache


def predict(
    model: nn.Module, x: Tensor, *, device: str = "auto", precision: str = "fp32", batch_size: int = BATCH
) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and features (n, width) of any classifier in eval mode, float32 on the CPU.

    x: (n, channels, height, width), uint8 or float in [0, 1]. precision: "fp32", or "bf16" (autocast) with the head
    still in fp32, since logits rounded to bf16 would tie wherever samples are ranked by them. The model is left as it
    is. On the CPU whole batches go to one-thread workers: faster than sharing the work of each layer, and the numbers
    do not depend on how many there are. Raises BadValue if the model has no linear head.
    """
    return map_batches(model, x, logits_and_features, device=device, precision=precision, batch_size=batch_size)


def map_batches(
    model: nn.Module,
    x: Tensor,
    read: Callable[[nn.Module, Tensor], tuple[Tensor, ...]],
    *,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = BATCH,
) -> tuple[Tensor, ...]:
    """The tensors of read(net, batch), a row per image, over all images; the rest is as in `predict`."""
    device = resolve_device(device)
    net = copy.deepcopy(model).to(device, memory_format=torch.channels_last).eval()
    if precision == "bf16":
        for layer in heads(net):
            layer.register_forward_hook(_in_fp32)
    run, batches = partial(_run, read=read, device=device, precision=precision), x.split(batch_size)
    workers = min(n_workers(device), MAX_COPIES, len(batches))
    if workers == 1:
        parts = [run(net, batch) for batch in batches]
    else:  # a copy for each worker: hooks that catch features belong to one pass
        parts = parallel_map(run, batches, workers=workers, initialise=lambda: copy.deepcopy(net))
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


@torch.inference_mode()
def _run(net: nn.Module, batch: Tensor, read: Callable, device: torch.device, precision: str) -> tuple[Tensor, ...]:
    with autocast(device, precision):
        tensors = read(net, unit(batch.to(device)).contiguous(memory_format=torch.channels_last))
    return tuple(v.float().cpu() for v in tensors)


def _in_fp32(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    with torch.autocast(output.device.type, enabled=False):
        return F.linear(inputs[0].float(), layer.weight, layer.bias)
