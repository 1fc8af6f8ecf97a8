"""Train many classifiers at once: seeds, references, shadow subsets.

Tiny nets spend their time on overhead, so several of one architecture are trained as one net with grouped convolutions
and batched matrix products, in channels_last; measured faster than vmap (tests/benchmarks). Larger models, and those on
larger images, train one by one. Either way the work is spread over one-thread workers. A model's numbers do not depend on
the others: stacks are filled up to a multiple of four, from which on the kernels agree bit by bit.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples, unit
from unlearnkit.core.compute import generator, n_workers, parallel_map, resolve_device
from unlearnkit.core.optimise import at_rest, check_not_empty, train_epochs
from unlearnkit.images.models import Classifier
from unlearnkit.images.train import Recipe, fit

STACK = 16  # models per stack at most: more gains nothing and delays the first result
TINY = 16 * 16  # pixels up to which stacking convolutions pays
LIGHT = (
    100_000  # parameters up to which stacking pays: above, memory sets the pace, and one of a stack's four costs as all
)


def fit_many(
    models: Sequence[nn.Module],
    samples: Sequence[Samples],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    device: str = "auto",
    done: Callable[[int, nn.Module], None] | None = None,
) -> list[nn.Module]:
    """Train models[i] on samples[i] from seeds[i]; returns trained copies on the CPU, in eval mode, in that order.

    The same numbers as `fit` one by one, within float rounding. `done(i, model)` is called as soon as each is finished,
    to save it. Raises what `fit` raises.
    """
    device = resolve_device(device)
    trained: list[nn.Module | None] = [None] * len(models)
    lock = threading.Lock()

    def run(group: list[int]) -> None:
        if len(group) == 1 and not _stackable(models[group[0]], samples[group[0]], recipe):
            nets = [fit(models[group[0]], samples[group[0]], recipe, seed=seeds[group[0]], device=str(device))]
        else:
            members = [[s[i] for i in group] for s in (models, samples, seeds)]
            nets = _fit_stack(*members, recipe=recipe, device=device)
        for i, net in zip(group, nets, strict=True):
            trained[i] = net
            if done:
                with lock:
                    done(i, net)

    workers = n_workers(device)
    parallel_map(run, _groups(models, samples, recipe, workers), workers=workers)
    return trained


def _stackable(model: nn.Module, samples: Samples, recipe: Recipe) -> bool:
    if (recipe.smoothing, recipe.augment, recipe.precision) != (0.0, "none", "fp32"):
        return False
    if not isinstance(model, Classifier) or not all(type(layer) in _LAYERS for layer in model.body):
        return False
    if sum(p.numel() for p in model.parameters()) > LIGHT:
        return False
    return samples.stored[0, 0].numel() <= TINY or not any(type(layer) is nn.Conv2d for layer in model.body)


def _groups(models, samples, recipe: Recipe, workers: int) -> list[list[int]]:
    """Indices of models that train together: same layers, as many samples, at most STACK, work for every worker."""
    alike: dict[tuple, list[int]] = {}
    for i, (model, data) in enumerate(zip(models, samples, strict=True)):
        check_not_empty(data)
        key = (len(data), str(model)) if _stackable(model, data, recipe) else (i,)
        alike.setdefault(key, []).append(i)
    groups = []
    for indices in alike.values():
        size = min(STACK, 4 * ceil(len(indices) / (4 * workers)))
        groups += [indices[i : i + size] for i in range(0, len(indices), size)]
    return groups


def _fit_stack(models, samples, seeds, recipe: Recipe, device) -> list[nn.Module]:
    n_models = len(models)
    for _ in range(-n_models % 4):  # see the module's docstring
        models, samples, seeds = [*models, models[-1]], [*samples, samples[-1]], [*seeds, seeds[-1]]
    net = StackedClassifier(models).to(device)
    k, n = len(models), len(samples[0])
    x = torch.stack([s.stored for s in samples]).to(device)  # (k, n, channels, height, width)
    y = torch.stack([s.y for s in samples]).to(device)
    rows = torch.arange(k, device=device)[:, None]

    def losses(epoch: int) -> Iterator[Tensor]:
        order = torch.stack([torch.randperm(n, generator=generator(s, "order", epoch)) for s in seeds]).to(device)
        for index in order.split(recipe.batch_size, dim=1):
            logits = net(unit(x[rows, index]))  # (k, batch, classes)
            each = F.cross_entropy(logits.flatten(0, 1), y[rows, index].flatten(), reduction="none")
            yield each.view(k, -1).mean(1)

    train_epochs(losses, recipe.epochs, *recipe.optimiser(net.parameters(), n))
    return [at_rest(model) for model in net.unstack(models[:n_models])]


class StackedClassifier(nn.Module):
    """k classifiers of the same layers as one. x: (k, batch, channels, height, width) -> (k, batch, classes)."""

    def __init__(self, models: Sequence[Classifier]):
        super().__init__()
        self.k = len(models)
        layers = zip(*[[*m.body, m.head] for m in models], strict=True)
        self.layers = nn.ModuleList([_LAYERS[type(group[0])](group) for group in layers])

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)  # (batch, k*channels, ...)
        for layer in self.layers:
            x = layer(x)
        return x

    def unstack(self, like: Sequence[Classifier]) -> list[Classifier]:
        """The first len(like) models, as ordinary modules on the CPU."""
        models = [copy.deepcopy(m).cpu() for m in like]
        for number, layer in enumerate(self.layers):
            for i, model in enumerate(models):
                ordinary = [*model.body, model.head][number]
                for name, value in layer.single(i).items() if hasattr(layer, "single") else ():
                    getattr(ordinary, name).data.copy_(value.detach())
        return models


class _Conv(nn.Module):
    def __init__(self, group: Sequence[nn.Conv2d]):
        super().__init__()
        weight = torch.cat([c.weight.detach() for c in group])
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.cat([c.bias.detach() for c in group]))
        self.shape = (group[0].stride, group[0].padding, group[0].dilation, len(group))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, *self.shape)

    def single(self, i: int) -> dict[str, Tensor]:
        """Parameters of model i, under the names and in the shapes of an ordinary layer."""
        k = self.shape[-1]
        return {"weight": self.weight.view(k, -1, *self.weight.shape[1:])[i], "bias": self.bias.view(k, -1)[i]}


class _Linear(nn.Module):
    def __init__(self, group: Sequence[nn.Linear]):
        super().__init__()
        self.weight = nn.Parameter(
            torch.stack([m.weight.detach().T for m in group])
        )  # (k, in, out): its gradient's layout
        self.bias = nn.Parameter(torch.stack([m.bias.detach() for m in group]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x, self.weight)  # (k, batch, out)

    def single(self, i: int) -> dict[str, Tensor]:
        return {"weight": self.weight[i].T, "bias": self.bias[i]}


class _GroupNorm(nn.Module):
    def __init__(self, group: Sequence[nn.GroupNorm]):
        super().__init__()
        self.weight = nn.Parameter(torch.cat([m.weight.detach() for m in group]))
        self.bias = nn.Parameter(torch.cat([m.bias.detach() for m in group]))
        self.k, self.groups, self.eps = len(group), len(group) * group[0].num_groups, group[0].eps

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def single(self, i: int) -> dict[str, Tensor]:
        return {"weight": self.weight.view(self.k, -1)[i], "bias": self.bias.view(self.k, -1)[i]}


class _Flatten(nn.Module):
    def __init__(self, group: Sequence[nn.Flatten]):
        super().__init__()
        self.k = len(group)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.k, -1).transpose(0, 1)  # (k, batch, features of one model)


_LAYERS = {
    nn.Conv2d: _Conv,
    nn.Linear: _Linear,
    nn.GroupNorm: _GroupNorm,
    nn.Flatten: _Flatten,
    nn.ReLU: lambda group: nn.ReLU(),
    nn.MaxPool2d: lambda group: nn.MaxPool2d(group[0].kernel_size, group[0].stride, group[0].padding),
}
