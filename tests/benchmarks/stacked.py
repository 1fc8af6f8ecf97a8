"""Many small models at once against the same one by one, as ratios in one run: to the ordinary loop (eager, default
memory layout), and to our own `fit`, which is the faster of the two.

    python tests/benchmarks/stacked.py [rounds]

The two are interleaved, and the median ratio is what counts: such machines are noisy.
"""

import copy
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from data_builders.task import Samples
from unlearnkit.images.models import build
from unlearnkit.images.train import Recipe, fit
from unlearnkit.images.train_many import fit_many

K, N = 32, 640


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def plain(net, data, recipe, seed) -> None:
    net = copy.deepcopy(net).train()
    sgd = torch.optim.SGD(net.parameters(), recipe.lr, momentum=recipe.momentum, nesterov=True)
    for epoch in range(recipe.epochs):
        for batch in data.batches(recipe.batch_size, seed, epoch):
            loss = F.cross_entropy(net(batch.x), batch.y)
            sgd.zero_grad()
            loss.backward()
            sgd.step()


def main(rounds: int) -> None:
    print(f"{K} networks on {N} images, {torch.get_num_threads()} threads, median of {rounds} interleaved rounds")
    # mlp512 has too many parameters for a stack: it must not be slower than one by one
    for name, side, epochs, target in (("small_cnn", 8, 4, 0.25), ("small_cnn", 28, 1, 0.65), ("mlp512", 28, 1, 1.0)):
        g = torch.Generator().manual_seed(0)
        data = Samples(torch.rand(N, 1, side, side, generator=g), torch.randint(10, (N,), generator=g))
        nets, recipe = [build(name, (1, side, side), 10, seed=i) for i in range(K)], Recipe(epochs=epochs)
        fit_many(nets[:8], [data] * 8, Recipe(epochs=1), seeds=range(8))  # torch's one-off costs
        rounds_ = []
        for _ in range(rounds):
            together = timed(lambda: fit_many(nets, [data] * K, recipe, seeds=range(K)))
            ordinary = timed(lambda: [plain(net, data, recipe, i) for i, net in enumerate(nets)])
            ours = timed(lambda: [fit(net, data, recipe, seed=i) for i, net in enumerate(nets)])
            rounds_.append((together / ordinary, together / ours, together))
        to_plain, to_fit, seconds = (statistics.median(r[i] for r in rounds_) for i in range(3))
        print(
            f"{name}, {side}x{side}: together {seconds:.2f} s; ratio to the ordinary loop {to_plain:.2f} (wanted: at most "
            f"{target}), to our fit {to_fit:.2f}"
        )
        once = Recipe(epochs=1)
        (one,), single = fit_many(nets[:1], [data], once, seeds=[0]), fit(nets[0], data, once, seed=0)
        apart = max((p - q).abs().max().item() for p, q in zip(one.parameters(), single.parameters(), strict=True))
        print(f"        largest difference of a weight after one epoch: {apart:.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
