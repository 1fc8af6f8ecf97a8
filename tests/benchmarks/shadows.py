"""64 shadow models of `mlp` on a pool of 1,000 images: all at once, and one by one by the ordinary loop; then KLoM, U-LiRA
and the likeliest reference distribution of these samples, and the privacy risk of each, from margins that are there.

    python tests/benchmarks/shadows.py [rounds]

On digits, and on MNIST and Fashion-MNIST where UNLEARNKIT_DATA has them. Each model is trained on the whole pool, from
other seeds; then shadow models on halves of it, of `mlp` and, on digits, of `small_cnn`. Wanted: training under 60 s on
2 cores, of the small CNN under 5 minutes, scores under 2 s. Of the ordinary loop, on one thread, 4 models are timed in the
same rounds, and the ratio is per model.
"""

import os
import statistics
import sys

import torch
from stacked import plain, timed

from data_builders import datasets
from data_builders.task import Samples
from unlearnkit.analysis.distributions import compare
from unlearnkit.core.compute import generator, threads
from unlearnkit.images.models import build
from unlearnkit.images.train import Recipe
from unlearnkit.images.train_many import fit_many
from unlearnkit.privacy_risk.shadow_models import STATISTICS
from unlearnkit.privacy_risk.subset_models import SubsetOutputs, halves
from unlearnkit.study import REFERENCES

K, POOL, SINGLE = 64, 1000, 4


def main(rounds: int) -> None:
    recipe = Recipe()
    print(
        f"{K} mlp, pool of {POOL}, {recipe.epochs} epochs, {torch.get_num_threads()} threads, median of {rounds} rounds"
    )
    for name in ("digits", *(("mnist", "fashion_mnist") if os.environ.get("UNLEARNKIT_DATA") else ())):
        raw = datasets[name]()
        data = Samples(raw.x, raw.y)[torch.randperm(len(raw.y), generator=generator(0, "pool"))[:POOL]]
        nets = [build("mlp", tuple(data.stored.shape[1:]), 10, seed=i) for i in range(K)]
        fit_many(nets[:8], [data] * 8, Recipe(epochs=1), seeds=range(8))  # torch's one-off costs
        times = []
        for _ in range(rounds):
            together = timed(lambda: fit_many(nets, [data] * K, recipe, seeds=range(K)))
            with threads(1):  # as fast for such small nets, and no slower beside other processes
                single = timed(lambda: [plain(net, data, recipe, i) for i, net in enumerate(nets[:SINGLE])])
            times.append((together, (together / K) / (single / SINGLE)))
        seconds, ratio = (statistics.median(t[i] for t in times) for i in (0, 1))
        print(f"{name}: together {seconds:.1f} s (wanted: under 60); ratio to the ordinary loop {ratio:.2f}")
        for model, wanted in (("mlp", 60), *([("small_cnn", 300)] if name == "digits" else ())):
            nets = [build(model, tuple(data.stored.shape[1:]), 10, seed=i) for i in range(K)]
            parts = [data[row] for row in halves(K)(POOL, seed=0)]
            fit_many(nets[:8], parts[:8], Recipe(epochs=1), seeds=range(8))
            times = [timed(lambda: fit_many(nets, parts, recipe, seeds=range(K))) for _ in range(rounds)]
            print(f"{name}, {model} on halves: {statistics.median(times):.1f} s (wanted: under {wanted})")
    margins = {w: torch.randn(K, POOL, generator=generator(0, w)) for w in (*REFERENCES, "method")}
    models = margins.pop("method")
    seconds = statistics.median(timed(lambda: compare(models, margins)) for _ in range(max(rounds, 3)))
    print(f"comparing {POOL} samples, {K} models against 3 x {K}: {seconds:.2f} s (wanted: under 2)")
    seen = SubsetOutputs(models.double(), models > 0, halves(K)(POOL, seed=0))
    for name, statistic in STATISTICS.items():
        seconds = statistics.median(timed(lambda: statistic(seen)) for _ in range(max(rounds, 3)))
        print(f"{name} of {POOL} samples, {K} models: {seconds:.3f} s (wanted: under 2)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
