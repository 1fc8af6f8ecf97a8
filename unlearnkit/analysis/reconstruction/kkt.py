"""Search a net's weights for the images that it was trained on, by the KKT conditions of the margin."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.analysis.reconstruction.layers import Layers, gradient_sum, gram, logits, stacked
from unlearnkit.analysis.reconstruction.stationary import KKT, LOSS, coefficients, stationarity, training_loss
from unlearnkit.core.compute import generator, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import check_type


@dataclass(frozen=True)
class Search:
    """Options of the search. Chosen on draws of digits that no table reports, by what the weights of `original` reveal.

    Adam in place of the published SGD, and weights in units of their norm: one rate then does for nets of all sizes.
    Raises BadValue for a value of the wrong type or out of range.
    """

    per_sample: float = 2.0  # candidates for each training sample; Haim et al. 2022: 2
    steps: int = 1000
    lr_x: float = 0.05
    lr_multipliers: float = 0.05
    alpha: float = 50.0  # of the smooth ReLU: small blurs which units are on, large hides how to change
    floor: float = 0.0  # of multipliers, in units of their scale at the start
    box: float = 1.0  # weight of the penalty on pixels outside 0 to 1
    start: float = 0.25  # standard deviation of the first candidates around grey
    pairs: Literal["all", "best"] = "all"  # multipliers per sample: of each other class, or of the best

    def __post_init__(self):
        for name, hint in get_type_hints(Search).items():
            check_type(f"search: {name!r}", getattr(self, name), hint)
        for name in ("per_sample", "steps", "lr_x", "lr_multipliers", "alpha"):
            if getattr(self, name) <= 0:
                raise BadValue(f"search: {name} must be above 0, got {getattr(self, name)}")

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Candidates:
    """The candidates that a search found in one net: x (m, pixels), not clipped; y (m,); multipliers (m,); residual of
    the weights."""

    x: Tensor
    y: Tensor
    multipliers: Tensor
    residual: float


def reconstruct(
    model: nn.Module, trained_on: Samples, *, seed: int, search: Search | None = None, allow_unconverged: bool = False
) -> Candidates:
    """Candidates for the images that `model` was trained on, from its weights and the pixels' range alone.

    trained_on: used only to refuse a net that the KKT conditions do not describe, and for the number of candidates.
    Raises BadValue, with loss and residual, for such a net unless allow_unconverged, and for an architecture that is
    not supported.
    """
    search = search or Search()
    loss, residual = training_loss(model, trained_on), stationarity(model, trained_on).residual
    if not allow_unconverged and not (loss <= LOSS and residual <= KKT):
        raise BadValue(
            f"the net has not converged on these samples: training loss {loss:.3g} (at most {LOSS}), KKT residual "
            f"{residual:.3g} (at most {KKT}). Reconstruction reads the conditions of convergence: of other weights it "
            "says nothing. Train for longer, or pass allow_unconverged=True"
        )
    (candidates,) = find_candidates(stacked([model]), round(search.per_sample * len(trained_on)), search, [seed])
    return candidates


def find_candidates(
    layers: Layers,
    m: int,
    search: Search,
    seeds: Sequence[int],
    *,
    explain: Layers | None = None,
    device: str = "auto",
    step: Callable[[], None] = lambda: None,
) -> list[Candidates]:
    """m candidates in each of k nets, whose weighted gradients of margins add up to `explain`, by default the weights.

    explain: weights before unlearning minus those after, for what was taken away. step() is called after each step.
    Raises BadValue for less than one candidate, and where there is nothing to explain: all is 0, or not finite.
    """
    device = resolve_device(device)
    explain = layers if explain is None else explain
    if m < 1:
        raise BadValue(f"at least one candidate is needed, got {m}")
    norm = sum(layer.dot(layer) for layer in explain)
    if not (norm.isfinite() & (norm > 0)).all():
        raise BadValue("there is nothing to explain: the weights, or their difference, are 0 or not finite")
    k, pixels, outputs = len(norm), layers[0].W.shape[2], layers[-1].W.shape[1]
    start = [_start(search, m, pixels, outputs, seed) for seed in seeds]
    x, multipliers = (torch.stack(part).to(device).requires_grad_() for part in zip(*start))
    y = (torch.arange(m) % max(outputs, 2)).to(device)
    own = explain is layers
    layers = [layer.to(device) for layer in layers]
    explain = layers if own else [layer.to(device) for layer in explain]
    norm = norm.to(device)

    def used() -> Tensor:
        chosen = multipliers * unit
        if search.pairs == "best" and outputs > 1:
            chosen = chosen * _best_other(logits(layers, x.detach()), y)
        return coefficients(chosen, y)

    with torch.no_grad():  # multipliers of 1 give a sum as long as the weights
        unit = 1.0
        length = sum(layer.dot(layer) for layer in gradient_sum(layers, x, used(), search.alpha))
        unit = (norm / length.clamp_min(1e-30)).sqrt()[:, None, None]
    rates = ((x, search.lr_x), (multipliers, search.lr_multipliers))
    steps = [torch.optim.Adam([values], lr, fused=True) for values, lr in rates]
    cosine = [torch.optim.lr_scheduler.CosineAnnealingLR(s, search.steps) for s in steps]
    for _ in range(search.steps):
        products, weights = gram(layers, x, used(), explain, search.alpha)
        residual = 1 + (products.sum((1, 2)) - 2 * weights.sum(1)) / norm  # of the squared length of the rest
        outside = ((x - 1).relu().square() + (-x).relu().square()).sum(2).mean(1)
        below = (search.floor - multipliers).relu().square().sum(2).mean(1)
        loss = (residual + search.box * outside + 5 * below).sum()  # 5: as published
        for s in steps:
            s.zero_grad()
        loss.backward()
        for s in (*steps, *cosine):
            s.step()
        step()
    with torch.no_grad():
        sums = gradient_sum(layers, x, used(), search.alpha)
        rest = [a - b for a, b in zip(explain, sums, strict=True)]
        residual = sum(layer.dot(layer) for layer in rest) / norm
        weights = (multipliers * unit).clamp_min(0)
        if outputs > 1:
            weights = weights * (1 - F.one_hot(y, outputs))
    return [Candidates(x[i].detach().cpu(), y.cpu(), weights[i].sum(1).cpu(), residual[i].item()) for i in range(k)]


def _start(search: Search, m: int, pixels: int, outputs: int, seed: int) -> tuple[Tensor, Tensor]:
    g = generator(seed, "candidates")
    return 0.5 + search.start * torch.randn(m, pixels, generator=g), torch.rand(m, outputs, generator=g)


def _best_other(z: Tensor, y: Tensor) -> Tensor:
    true = F.one_hot(y, z.shape[2]).bool()
    return F.one_hot(z.masked_fill(true, -torch.inf).argmax(2), z.shape[2])
