"""Rounds of MUDA against epochs of random labels on the forget set, each with an epoch of fine-tuning on the retain set.

    python tests/benchmarks/muda.py [rounds] [dataset] [model]

Both pass five times over the same samples: 256 to forget, 744 to keep. Wanted: at most 1.3 times; processor seconds of one
thread, the best of the rounds of measuring, which are interleaved.
"""

import sys

import torch
from methods import timed

from data_builders import load
from data_builders.build_task import build_task
from unlearnkit.images.models import build
from unlearnkit.images.request import request_of
from unlearnkit.images.train import Recipe, fit
from unlearnkit.methods import methods

WANTED, ROUNDS = 1.3, 5


def main(rounds: int, dataset: str = "digits", name: str = "small_cnn") -> None:
    torch.set_num_threads(1)
    raw = load(dataset).limited_to(4000, 1000)
    task = build_task(raw, n_targets=256, copies=0, train_size=1000)
    net = build(name, tuple(raw.x.shape[1:]), raw.n_classes, 0)
    model, request = fit(net, task.training_set("original"), Recipe(epochs=1), seed=0), request_of(task, Recipe())
    ours = lambda: methods["muda"](model, request, seed=0, device="cpu", rounds=ROUNDS, forget_epochs=1)  # noqa: E731
    theirs = lambda: methods["random_label"](model, request, seed=0, device="cpu", epochs=ROUNDS)  # noqa: E731
    ours(), theirs()  # torch's one-off costs
    a, b = (min(found) for found in zip(*[(timed(ours), timed(theirs)) for _ in range(rounds)]))
    print(f"{name} on {dataset}, one thread, best of {rounds} interleaved rounds; wanted: at most {WANTED}")
    print(f"{ROUNDS} of MUDA: {a:.3f} s; of random labels on F, fine-tuning on R: {b:.3f} s; ratio {a / b:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9, *sys.argv[2:])
