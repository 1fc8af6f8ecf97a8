"""Train language models on the answers of question-answer pairs, one or many."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, cos, pi
from typing import Literal, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core import precision
from unlearnkit.core.compute import autocast, n_workers, parallel_map, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import at_rest, check_not_empty, train_epochs
from unlearnkit.core.registry import check_least, check_type
from unlearnkit.texts.tokens import Tokens


@dataclass(frozen=True)
class TextRecipe:
    """How a reference model is trained: AdamW, the rate rising over the first steps and then falling as a cosine to 0.

    The defaults make tiny_llama memorise all of its training answers: what was not memorised cannot be forgotten.
    """

    epochs: int = 20
    batch_size: int = 32  # pairs
    lr: float = 3e-3
    weight_decay: float = 0.0
    warmup: float = 0.1  # share of the steps over which the rate rises to lr
    clip: float = 1.0  # norm that a step's gradient is cut to
    precision: Literal["fp32", "bf16", "auto"] = "auto"  # bf16: autocast; auto becomes what is native here
    by_auto = False  # whether `precision` was auto

    def __post_init__(self):
        for name, hint in get_type_hints(TextRecipe).items():
            check_type(f"recipe: {name!r}", getattr(self, name), hint)
        for name in ("epochs", "batch_size", "lr", "clip"):
            if not getattr(self, name) > 0:
                raise BadValue(f"recipe: {name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup"):
            check_least(f"recipe: {name}", getattr(self, name))
        object.__setattr__(self, "by_auto", self.precision == "auto")
        object.__setattr__(self, "precision", precision.resolved(self.precision))

    def as_dict(self) -> dict:
        return asdict(self)

    def steps(self, n_samples: int) -> int:
        """Optimiser steps on a training set of n samples."""
        return self.epochs * ceil(n_samples / self.batch_size)

    def share(self, step: int, steps: int) -> float:
        """The share of lr at a step, counted from 0, of so many."""
        rise = max(round(self.warmup * steps), 1)
        return (step + 1) / rise if step < rise else 0.5 * (1 + cos(pi * (step - rise) / max(steps - rise, 1)))

    def fit(self, model: nn.Module, samples: Tokens, *, seed: int, device: str = "auto") -> nn.Module:
        """`fit_lm` by this recipe. Methods call it, since their recipe may be a Recipe of images."""
        return fit_lm(model, samples, self, seed=seed, device=device)


def fit_lm(model: nn.Module, tokens: Tokens, recipe: TextRecipe, *, seed: int, device: str = "auto") -> nn.Module:
    """Train a copy of `model` on the answers: the loss is the mean negative log-likelihood of a batch's answer tokens.
    Returns it on the CPU, in eval mode.

    Raises BadValue without samples, NonFiniteLoss (with epoch and step) when the loss stops being finite.
    """
    check_not_empty(tokens)
    device = resolve_device(device)
    precision.say_if_slow(recipe.precision, str(device))
    net = copy.deepcopy(model).to(device).train()
    tokens = tokens.to(device)
    moving = [p for p in net.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(moving, recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    steps = recipe.steps(len(tokens))
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: recipe.share(step, steps))

    def losses(epoch: int) -> Iterator[Tensor]:
        for batch in tokens.batches(recipe.batch_size, seed, epoch):
            with autocast(device, recipe.precision):
                logits = net(batch)
            yield F.cross_entropy(logits.float(), batch.y)

    train_epochs(losses, recipe.epochs, adam, schedule, clip=recipe.clip)
    return at_rest(net)


def fit_many(
    models: Sequence[nn.Module],
    samples: Sequence[Tokens],
    recipe: TextRecipe,
    *,
    seeds: Sequence[int],
    device: str = "auto",
    done: Callable[[int, nn.Module], None] | None = None,
) -> list[nn.Module]:
    """`fit_lm` of models[i] on samples[i] from seeds[i], as unlearnkit.images.train_many.fit_many.

    On the CPU each model has one thread and as many train at a time as there are threads; a model's numbers do not
    depend on the others. `done(i, model)` is called as soon as each is finished, to save it.
    """
    device, lock = resolve_device(device), threading.Lock()

    def run(i: int) -> nn.Module:
        model = fit_lm(models[i], samples[i], recipe, seed=seeds[i], device=str(device))
        if done:
            with lock:
                done(i, model)
        return model

    return parallel_map(run, range(len(models)), workers=n_workers(device))
