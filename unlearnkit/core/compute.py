"""Devices, seeds, threads and workers, and what a computation costs."""

import contextlib
import hashlib
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from unlearnkit.core.errors import BadValue


def resolve_device(device: str = "auto") -> torch.device:
    """The current CUDA device for "auto", if there is one, else the CPU; otherwise the device of that name in torch.
    Raises BadValue for one that is unknown or not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise BadValue(f"unknown device {device!r}; say 'auto', 'cpu', 'cuda' or 'cuda:1'") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise BadValue(f"device {device!r} asked for, but torch sees no CUDA GPU here; say 'auto' or 'cpu'")
    return resolved


def processor(device: str = "auto") -> str:
    """What computes on this device, by its name: "NVIDIA H100 80GB HBM3", "AMD EPYC"."""
    if (resolved := resolve_device(device)).type == "cuda":
        return torch.cuda.get_device_name(resolved)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def derive(seed: int, *labels: object) -> int:
    """A seed for one purpose: 63 bits from `seed` and the labels, the same on every machine."""
    text = "\x1f".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, *labels: object) -> torch.Generator:
    """A CPU generator for one purpose; the global one is never touched."""
    return torch.Generator().manual_seed(derive(seed, *labels))


@contextlib.contextmanager
def threads(n: int):
    """Within this block torch has `n` intra-op threads. One is as fast for small nets, and portable."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


MAX_COPIES = 8  # workers at most where each has a copy of a model


def n_workers(device: torch.device) -> int:
    """How many workers share work: one per thread of torch's on the CPU, one elsewhere."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def parallel_map(
    work: Callable, items: Iterable, *, workers: int, initialise: Callable[[], object] | None = None
) -> list:
    """[work(item) for item in items], in that order, spread over one-thread workers.

    No number depends on how many workers there are: torch has one thread on each, and as many as before afterwards.
    initialise: called once on each worker; what it returns is the first argument of `work`, the item the second. Raises
    the first exception of `work`; items that wait are then not started.
    """
    before, worker = torch.get_num_threads(), threading.local()

    def start() -> None:
        torch.set_num_threads(1)
        worker.own = (initialise(),) if initialise else ()

    with ThreadPoolExecutor(max(workers, 1), initializer=start) as pool:
        try:
            return [future.result() for future in [pool.submit(lambda i: work(*worker.own, i), i) for i in items]]
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which nets compute in "fp32", or in "bf16" with float32 weights."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@dataclass
class Cost:
    """What a computation took: wall seconds, optimiser steps, and the process's peak memory in MiB."""

    seconds: float = 0.0
    steps: int = 0
    peak_mib: float = 0.0

    def as_dict(self) -> dict:
        return asdict(self)


_running: list[Cost] = []


@contextlib.contextmanager
def uncounted():
    """Within this block nothing counts in any `measure_cost` around it: work that was really done earlier."""
    with measure_cost() as aside:
        yield
    for cost in _running:
        cost.seconds -= aside.seconds
        cost.steps -= aside.steps


@contextlib.contextmanager
def measure_cost():
    """Yields a Cost, filled when the block ends. Torch itself counts the steps, so a method cannot miscount."""
    cost = Cost()

    def count(optimiser, args, kwargs):
        cost.steps += 1

    hook = register_optimizer_step_post_hook(count)
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    if on_gpu and not _running:  # or the peak so far of a block around this one would be lost
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    _running.append(cost)
    try:
        yield cost
    finally:
        _running.pop()  # blocks nest
        if on_gpu:
            torch.cuda.synchronize()
        cost.seconds += time.perf_counter() - start
        hook.remove()
        unit = 2**20 if sys.platform == "darwin" else 2**10  # getrusage counts bytes there, KiB elsewhere
        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        cost.peak_mib = round(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else host, 1)
