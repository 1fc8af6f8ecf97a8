"""What image sets cost: SSIM against a loop over scikit-image; building a set; memory. Data sets that are not there are
left out (see UNLEARNKIT_DATA)."""

import os
import subprocess
import sys
import tempfile
import time

import torch

from data_builders import datasets
from data_builders.build_task import build_task
from data_builders.similarity import ssim
from unlearnkit.core.errors import BadValue

PEAK = """
import re
import torchvision.datasets
from pathlib import Path
from unlearnkit.images import tasks
from unlearnkit.images.config import Config

def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) / 2**10  # MiB

before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
tasks.pool_artefact(Config(dataset="{name}", max_pool_images=0, test_size=0))
peak = status("VmHWM") - before
pool = tasks.load_pool(Config(dataset="{name}", max_pool_images=0, test_size=0))
print((pool.x.numel() + pool.test_x.numel()) / 2**20, peak)
"""


def against_scikit_image(shape: tuple[int, int, int], pairs: int = 10_000) -> None:
    """10,000 pairs at once against 500 of them one by one, extrapolated; the best of three turns each."""
    from skimage.metrics import structural_similarity

    g = torch.Generator().manual_seed(0)
    a = (torch.rand(pairs, *shape, generator=g) * 255).to(torch.uint8)
    b = (a.float() + 20 * torch.randn(a.shape, generator=g)).clamp(0, 255).to(torch.uint8)
    ours, theirs = [], []
    for _ in range(3):
        start = time.perf_counter()
        found = ssim(a, b)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        floats = zip(a[:500].float().div(255).numpy(), b[:500].float().div(255).numpy())
        loop = [structural_similarity(x, y, data_range=1.0, channel_axis=0) for x, y in floats]
        theirs.append((time.perf_counter() - start) * pairs / 500)
    off = (found[:500] - torch.tensor(loop)).abs().max()
    print(
        f"SSIM of {pairs:,} pairs {shape}: {min(ours):.2f} s, {min(theirs) / min(ours):.0f} times as fast; off by {off:.0e}"
    )


def build(name: str) -> None:
    """1,000 images and 50 targets with 50 copies each (as many decoys), with all measures of pixels."""
    raw = datasets[name]().limited_to(4000, 1000)
    for kind in ("block_mask", "jpeg"):
        start = time.perf_counter()
        build_task(raw, n_targets=50, copies=50, perturbation=kind, train_size=3500)
        print(f"{name}, {kind}: 1,000 images, 50 targets x 50 copies built in {time.perf_counter() - start:.1f} s")


def memory(name: str) -> None:
    """Peak of a process that reads the whole set, checks it and stores it, beyond what it took before. Linux only."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"UNLEARNKIT_CACHE": cache}
        command = [sys.executable, "-c", PEAK.format(name=name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    data, peak = map(float, done.stdout.split())
    print(f"{name}: {data:.0f} MiB of pixels, peak {peak:.0f} MiB, {peak / data:.1f} times")


if __name__ == "__main__":
    against_scikit_image((1, 28, 28))
    against_scikit_image((3, 32, 32))
    for name in ("mnist", "cifar10"):
        try:
            build(name)
            memory(name)
        except BadValue as error:
            print(f"{name} left out: {str(error)[:60]}...")
