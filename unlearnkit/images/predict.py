"""Run a classifier over many images, fast and the same way for all: outputs, features, similarity."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import unit
from unlearnkit.core.compute import autocast, resolve_device
from unlearnkit.images.heads import heads, logits_and_features

BATCH = 128  # images at once: what a layer makes of them stays in a processor's cache
WORKERS = 8  # threads at most: each has a copy of the model


def predict(
    model: nn.Module, x: Tensor, *, device: str = "auto", precision: str = "fp32", batch_size: int = BATCH
) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and features (n, width) of any classifier in eval mode, float32 on the CPU.

    x: (n, channels, height, width), uint8 or float in [0, 1]. precision: "fp32", or "bf16" (autocast) with the head still
    in fp32, since logits rounded to bf16 would tie wherever samples are ranked by them. The model is left as it is.
    On the CPU whole batches go to one-thread workers: faster than to share the work of each layer, and the numbers do
    not depend on how many there are. Raises BadValue if the model has no linear head.
    """
    return over(model, x, logits_and_features, device=device, precision=precision, batch_size=batch_size)


def over(
    model: nn.Module,
    x: Tensor,
    read: Callable[[nn.Module, Tensor], tuple[Tensor, ...]],
    *,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = BATCH,
) -> tuple[Tensor, ...]:
    """What read(net, batch) gives, a row per image in each tensor, over all images; the rest is as in `predict`."""
    device = resolve_device(device)
    net = copy.deepcopy(model).to(device, memory_format=torch.channels_last).eval()
    if precision == "bf16":
        for layer in heads(net):
            layer.register_forward_hook(_in_fp32)
    batches = x.split(batch_size)
    if device.type != "cpu" or min(len(batches), torch.get_num_threads()) == 1:  # type: ignore[attr-defined]
        parts = [_run(net, read, batch, device, precision) for batch in batches]
    else:
        parts = _spread(net, read, batches, device, precision)
    return tuple(torch.cat(found) for found in zip(*parts, strict=True))


@torch.inference_mode()
def _run(net: nn.Module, read: Callable, batch: Tensor, device: torch.device, precision: str) -> tuple[Tensor, ...]:
    with autocast(device, precision):
        found = read(net, unit(batch.to(device)).contiguous(memory_format=torch.channels_last))
    return tuple(v.float().cpu() for v in found)


def _in_fp32(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    with torch.autocast(output.device.type, enabled=False):
        return F.linear(inputs[0].float(), layer.weight, layer.bias)


def _spread(net: nn.Module, read: Callable, batches, device: torch.device, precision: str) -> list[tuple[Tensor, ...]]:
    mine, before = threading.local(), torch.get_num_threads()

    def start() -> None:
        torch.set_num_threads(1)
        mine.net = copy.deepcopy(net)  # the hooks that catch features are one pass's own

    try:
        with ThreadPoolExecutor(min(before, WORKERS, len(batches)), initializer=start) as pool:
            return list(pool.map(lambda batch: _run(mine.net, read, batch, device, precision), batches))
    finally:
        torch.set_num_threads(before)
