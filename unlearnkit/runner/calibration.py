"""How fast this machine trains, by a few steps of the networks that nearly all time goes into: half a second each."""

import time
from collections.abc import Callable, Iterable

from unlearnkit.core.compute import threads

# Seconds of a step on one core of a machine with bf16 (Zen 4), of which no other process takes a share
REFERENCE = {"mlp": 0.0073, "small_cnn": 0.0021, "resnet9": 0.066, "tiny_llama": 0.056}
LONG = 0.5  # seconds that each network is trained for


def pace(networks: Iterable[str]) -> dict[str, float]:
    """{network: how many times as long as in REFERENCE a step takes here}, on one thread, as busy as this machine is now.

    A network whose packages are missing takes what the slowest of the others takes.
    """
    found = {}
    for name in networks:
        try:
            found[name] = step(name) / REFERENCE[name]
        except ModuleNotFoundError:
            found[name] = 0.0
    most = max(found.values(), default=0.0) or 1.0
    return {name: value or most for name, value in found.items()}


def step(name: str) -> float:
    """Mean seconds of a training step of one of REFERENCE, in the precision that is native here."""
    train = _texts() if name == "tiny_llama" else _images(name)
    with threads(1):
        train(2)  # what the first steps prepare
        start, steps = time.perf_counter(), 0
        while (took := time.perf_counter() - start) < LONG:
            more = max(1, min(steps, int(steps * (LONG - took) / took))) if steps else 1
            train(more)
            steps += more
    return took / steps


def _images(name: str) -> Callable[[int], object]:
    import torch

    from data_builders.task import Samples
    from unlearnkit.images.models import build
    from unlearnkit.images.train import Recipe, fit

    shape, batch = {"mlp": ((1, 28, 28), 128), "small_cnn": ((1, 8, 8), 64), "resnet9": ((3, 32, 32), 64)}[name]
    net = build("mlp512" if name == "mlp" else name, shape, 10, seed=0)
    recipe = Recipe(epochs=1, batch_size=batch, precision="auto" if name == "resnet9" else "fp32")
    images = torch.linspace(0, 1, batch * shape[0] * shape[1] * shape[2]).view(batch, *shape)

    def train(steps: int) -> None:
        fit(net, Samples(images.repeat(steps, 1, 1, 1), torch.arange(batch).repeat(steps) % 10), recipe, seed=0)

    return train


def _texts() -> Callable[[int], object]:
    from unlearnkit.texts.models import build
    from unlearnkit.texts.tokens import Tokens
    from unlearnkit.texts.train import TextRecipe, fit_lm

    net = build("tiny_llama", 1000, 64, seed=0)

    def train(steps: int) -> None:
        pairs = [range(1, 25)] * (16 * steps), [range(25, 41)] * (16 * steps)
        fit_lm(net, Tokens.of(*pairs), TextRecipe(epochs=1, batch_size=16), seed=0)

    return train
