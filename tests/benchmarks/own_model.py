"""What `unlearnkit.unlearn` adds to a method's own passes, and how long `find_near_duplicates` takes.

    python tests/benchmarks/own_model.py [rounds]

Each method runs with its defaults through the face and by itself on samples that are there already, on the same 5,000
images of 28 x 28 and small CNN, one thread, interleaved; the best of the rounds counts, in processor seconds. The face's
share is timed by itself, too: reading and checking the sets, copying the model. Near-duplicates are those of 100 targets
in 50,000 colour images of 32 x 32, by the features of a small CNN, on two threads, in wall seconds.
"""

import sys
import time

import torch

import unlearnkit
from data_builders.task import Samples
from unlearnkit.core.compute import generator, threads
from unlearnkit.images.models import build
from unlearnkit.images.request import Request
from unlearnkit.methods import methods
from unlearnkit.own_model.prepare import prepared
from unlearnkit.texts.tokenizer import PROMPT

AIMS = (0.05, 30.0)  # share added; seconds
METHODS = ("gradient_ascent", "finetune", "scrub", "ssd")


def images(n: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(0, "own model", n)
    return torch.rand(n, *shape, generator=g), torch.randint(10, (n,), generator=g)


def processor_seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main(rounds: int = 3) -> None:
    model = build("small_cnn", (1, 28, 28), 10, 0).eval()
    x, y = images(5000, 1, 28, 28)
    forget, retain = (x[:500], y[:500]), (x[500:], y[500:])
    request = Request(Samples(*forget), Samples(*retain), 10)
    with threads(1):
        ways = {"face": lambda: prepared(model, forget, retain, prompt=PROMPT, device=None)}
        for name in METHODS:
            ways[name] = lambda name=name: methods[name](model, request, seed=0, device="cpu")
            ways[f"unlearn {name}"] = lambda name=name: unlearnkit.unlearn(model, forget, retain, name)
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, work in ways.items():
                best[name] = min(best[name], processor_seconds(work))
    print(f"{'method':16} own s   through the face   the face alone (aim {AIMS[0]:.0%})")
    for name in METHODS:
        own, through = best[name], best[f"unlearn {name}"]
        print(f"{name:16} {own:5.2f}   {through / own - 1:+8.1%}           {best['face'] / own:8.1%}")
    model, (x, y) = build("small_cnn", (3, 32, 32), 10, 0).eval(), images(50_100, 3, 32, 32)
    with threads(2):
        for name, by in (("features", model), ("pixels", None)):
            start = time.perf_counter()
            unlearnkit.find_near_duplicates((x[:100], y[:100]), (x[100:], y[100:]), by)
            seconds = time.perf_counter() - start
            print(f"near-duplicates of 100 targets in 50,000 images by {name}: {seconds:.1f} s (aim {AIMS[1]:.0f} s)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
