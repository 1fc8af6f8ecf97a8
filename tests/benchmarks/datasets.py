"""What image sets cost: SSIM against a loop over scikit-image; building a set; memory. Data sets that are not there are
left out (see UNLEARNKIT_DATA)."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from data_builders import datasets
from data_builders.build_task import build_task
from data_builders.similarity import ssim
from unlearnkit.core.errors import BadValue
from unlearnkit.images import tasks
from unlearnkit.images.config import Config


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
    """`peak` of a process of its own, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"UNLEARNKIT_CACHE": cache}
        subprocess.run([sys.executable, __file__, "--peak", name], check=True, env=environment)


def peak(name: str) -> None:
    """Peak of reading a whole set, checking and storing it, beyond what the process took before. Linux only."""
    import torchvision.datasets  # noqa: F401  whose import is not what is measured

    def status(entry: str) -> float:
        found = re.search(entry + r":\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
        assert found is not None
        return int(found[1]) / 2**10  # MiB

    config = Config(dataset=name, max_pool_images=0, test_size=0)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
    tasks.pool_artefact(config)
    most, pool = status("VmHWM") - before, tasks.load_pool(config)
    data = (pool.x.numel() + pool.test_x.numel()) / 2**20
    print(f"{name}: {data:.0f} MiB of pixels, peak {most:.0f} MiB, {most / data:.1f} times")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        sys.exit(peak(sys.argv[2]))
    against_scikit_image((1, 28, 28))
    against_scikit_image((3, 32, 32))
    for name in ("mnist", "cifar10"):
        try:
            build(name)
            memory(name)
        except BadValue as error:
            print(f"{name} left out: {str(error)[:60]}...")
