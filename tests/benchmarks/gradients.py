"""SSD's importances, squared gradients of single samples: many at once, to a loop of batches of one."""

import time

import torch
import torch.nn.functional as F

from data_builders.task import Samples
from unlearnkit.core.compute import threads
from unlearnkit.images.models import build
from unlearnkit.images.per_sample_gradients import squared


def one_by_one(model, samples: Samples) -> dict[str, torch.Tensor]:
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for i in range(len(samples)):
        model.zero_grad()
        F.cross_entropy(model(samples[i : i + 1].x), samples[i : i + 1].y).backward()
        for name, p in model.named_parameters():
            total[name] += p.grad.square()
    return {name: t / len(samples) for name, t in total.items()}


def compare(name: str, shape: tuple[int, int, int], n: int) -> None:
    g = torch.Generator().manual_seed(0)
    model = build(name, shape, 10, seed=0).eval()
    samples = Samples((torch.rand(n, *shape, generator=g) * 255).to(torch.uint8), torch.randint(10, (n,), generator=g))
    times, found = {}, {}
    for function in (squared, one_by_one) * 3:
        start = time.perf_counter()
        found[function] = function(model, samples)
        times[function] = min(times.get(function, torch.inf), time.perf_counter() - start)
    ours, theirs = found[squared], found[one_by_one]
    off = max(((ours[k] - theirs[k]).abs().max() / theirs[k].abs().max()).item() for k in ours)
    ratio = times[one_by_one] / times[squared]
    print(
        f"{name} {shape}, {n} samples: {times[squared]:.2f} s, {ratio:.1f} times as fast; off by {off:.0e} of the largest"
    )


if __name__ == "__main__":
    with threads(1):
        compare("small_cnn", (1, 8, 8), 1000)
        compare("small_cnn", (1, 28, 28), 500)
        compare("mlp", (1, 28, 28), 500)
        compare("resnet9", (3, 32, 32), 200)
