"""Batches of a language model's work, on the CPU side by side."""

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from unlearnkit.core.compute import resolve_device
from unlearnkit.images.predict import WORKERS
from unlearnkit.texts.models import LanguageModel


def each(model: LanguageModel, batches: Sequence, work: Callable, *, device: str = "auto") -> list:
    """work(model, batch) of each batch, in their order; the model in eval mode on the device, a copy of the one given.

    On the CPU batches go to one-thread workers, and no number depends on how many there are.
    """
    device = resolve_device(device)
    net = copy.deepcopy(model).to(device).eval()
    workers = min(torch.get_num_threads(), WORKERS, max(len(batches), 1)) if device.type == "cpu" else 1  # type: ignore[attr-defined]
    mine, before = threading.local(), torch.get_num_threads()

    def start() -> None:
        torch.set_num_threads(1 if device.type == "cpu" else before)  # type: ignore[attr-defined]
        mine.net = copy.deepcopy(net) if workers > 1 else net  # a pass hooks its model

    try:
        with ThreadPoolExecutor(workers, initializer=start) as pool:
            return list(pool.map(lambda batch: work(mine.net, batch.to(device)), batches))
    finally:
        torch.set_num_threads(before)
