"""How long it takes to train whole data sets' models again, said before it is begun."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from data_builders import find
from data_builders.task import Samples
from unlearnkit.core.progress import duration
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.models import build, models
from unlearnkit.images.train import fit
from unlearnkit.study import REFERENCE_ROWS

STEPS = 4  # that are timed


def forecast(parameters: Mapping, threads: int | None) -> str:
    """One line: how many models these parameters of notebook 50 or 54 train, and of images for about how long on this
    machine.

    A method counts as one training. Raises what the data set raises that is not there.
    """
    parts, total = [], 0.0
    for one in parameters["sets"]:
        seeds = one.get("seeds", parameters.get("seeds", 1))
        n_seeds = seeds if isinstance(seeds, int) else len(seeds)
        n = n_seeds * (len(REFERENCE_ROWS) + len(one.get("methods", parameters.get("methods", []))))
        parts.append(f"{n} models of {one['model']} on {one['dataset']}")
        settings = {k: v for k, v in one.items() if k not in ("methods", "seeds", "arms")}
        image = one["model"] in models
        total += n * seconds_to_train(config_grid(seeds=1, **settings)[0], threads) if image else math.nan
    took = "how long is not known for texts" if math.isnan(total) else f"about {duration(total)} on this machine"
    return f"trains {' and '.join(parts)}: {took}; Ctrl-C stops it"


def seconds_to_train(config: Config, threads: int | None = None) -> float:
    """Seconds of one training by the config's recipe, by some of its steps."""
    raw, size, before = find(config.dataset).load(), config.recipe.batch_size, torch.get_num_threads()
    few = Samples(raw.x[:size], raw.y[:size])
    net = build(config.model, tuple(few.x.shape[1:]), raw.n_classes, seed=0)
    torch.set_num_threads(threads or before)
    try:
        fit(net, few, replace(config.recipe, epochs=1), seed=0)  # what only the first step takes
        start = time.perf_counter()
        fit(net, few, replace(config.recipe, epochs=STEPS), seed=0)
        return (time.perf_counter() - start) / STEPS * config.recipe.steps(config.train_size)
    finally:
        torch.set_num_threads(before)
