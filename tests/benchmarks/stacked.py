"""Many small models at once against the same one by one (two threads), as ratios in one run.

    python tests/benchmarks/stacked.py [rounds]

The two are interleaved, and the median ratio is what counts: such machines are noisy.
"""

import statistics
import sys
import time

import torch

from unlearnkit.models import build
from unlearnkit.stack import fit_many
from unlearnkit.task import Samples
from unlearnkit.train import Recipe, fit

K, N = 32, 640


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main(rounds: int) -> None:
    print(f"{K} small_cnn on {N} images, {torch.get_num_threads()} threads, median of {rounds} interleaved rounds")
    for side, epochs, target in ((8, 4, 0.25), (28, 1, 0.65)):
        g = torch.Generator().manual_seed(0)
        data = Samples(torch.rand(N, 1, side, side, generator=g), torch.randint(10, (N,), generator=g))
        nets, recipe = [build("small_cnn", (1, side, side), 10, seed=i) for i in range(K)], Recipe(epochs=epochs)
        fit_many(nets[:8], [data] * 8, Recipe(epochs=1), seeds=range(8))  # torch's one-off costs
        pairs = []
        for _ in range(rounds):
            together = timed(lambda: fit_many(nets, [data] * K, recipe, seeds=range(K)))
            alone = timed(lambda: [fit(net, data, recipe, seed=i) for i, net in enumerate(nets)])
            pairs.append((together, alone))
        a, b = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        ratio = statistics.median(p[0] / p[1] for p in pairs)
        print(f"{side}x{side}: together {a:.2f} s, one by one {b:.2f} s, ratio {ratio:.2f} (wanted: at most {target})")
        once = Recipe(epochs=1)
        (one,), single = fit_many(nets[:1], [data], once, seeds=[0]), fit(nets[0], data, once, seed=0)
        apart = max((p - q).abs().max().item() for p, q in zip(one.parameters(), single.parameters(), strict=True))
        print(f"        largest difference of a weight after one epoch: {apart:.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
