"""Which retained samples are near the forget set: found by looking alone, since nobody tells a wrapper the links.

Similarity is the cosine of pixels, of the letters of texts, or of the features of the model that is to forget; "random"
places each sample anywhere: the control, by which as many are found that need not be near. With "+label" only samples of the
same label are compared, as a retained sample keeps a label alive only if it carries that label; texts have none, so that all
are. Tables of all pairs are made in chunks of at most CHUNK entries, in float64, and rounded, so that neither chunks nor
batches decide what is found.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples, unit
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, NonFiniteLoss, unknown
from unlearnkit.images.predict import predict
from unlearnkit.images.request import Request

CHUNK = 2**22  # similarities held at once
DIGITS = 9  # decimals of a similarity: an exact duplicate's is 1, whichever batch it was in
HELD_OUT = 1000  # validation samples that a calibration looks at, at most

SPACES = ("feature", "feature+label", "pixel", "pixel+label", "text", "random", "random+label")
RULES = {  # how it reads in an error
    "top": "a whole number from 1: so many nearest retained samples of each target",
    "above": "a cosine from -1 to 1: all at least so similar to a target",
    "calibrated": "a share from 0 to 1: all that are nearer to a target than that share of validation samples is to its "
    "nearest retained one",
}

NEAR = "feature+label top 10"  # ours, set before anything was unlearned with it; how many there are, nobody knows
Near = Annotated[str, "ours: a space, a rule and its value, see unlearnkit.wrappers.neighbours"]


@dataclass(frozen=True)
class Way:
    """A way of finding neighbours; see SPACES and RULES. Raises UnknownName or BadValue for one that there is not."""

    space: str
    rule: str
    value: float

    def __post_init__(self):
        if self.space not in SPACES:
            raise unknown("space to find neighbours in", self.space, SPACES)
        if self.rule not in RULES:
            raise unknown("rule to find neighbours by", self.rule, RULES)
        v = self.value
        fits = {"top": v >= 1 and v == int(v), "above": -1 <= v <= 1, "calibrated": 0 <= v <= 1}
        if not fits[self.rule]:
            raise BadValue(f"neighbours: {self.rule!r} takes {RULES[self.rule]}; got {v:g}")

    @property
    def by_label(self) -> bool:
        return self.space.endswith("+label")


def parse(text: str) -> Way:
    """ "feature top 10", "pixel+label above 0.9", "feature calibrated 0.95". Raises UnknownName or BadValue."""
    parts = text.split()
    try:
        space, rule, value = parts[0], parts[1], float(parts[2])
        if len(parts) != 3 or value != value or abs(value) == float("inf"):
            raise ValueError
    except (IndexError, ValueError):
        raise BadValue(f"neighbours are asked for as '{NEAR}': a space, a rule, a number; got {text!r}") from None
    return Way(space, rule, value)


@dataclass(frozen=True)
class Found:
    """index: (m,) rows of the retain set, ascending; similarity: (m,) float64, of each to its nearest target."""

    index: Tensor
    similarity: Tensor

    def __len__(self) -> int:
        return len(self.index)


def find(model: nn.Module, request: Request, near: str = NEAR, *, device: str = "auto") -> Found:
    """The retained samples that are near a sample of the forget set.

    near: see `parse`. Raises BadValue for more neighbours than there are retained samples, and for a calibration without
    validation samples; NonFiniteLoss if the model's features are not finite.
    """
    way = parse(near)
    most = len(request.retain)
    if way.rule == "top" and way.value > most:
        raise BadValue(f"neighbours: top {way.value:g} of {most} retained samples: at most {most} are possible")
    targets, kept = (Placed.of(samples, way, model, request, device) for samples in (request.forget, request.retain))
    similarity = closest(kept, targets)
    if way.rule == "top":
        index = nearest(targets, kept, int(way.value))
        index = index[index >= 0].unique()
    elif way.rule == "above":
        index = (similarity >= way.value).nonzero().squeeze(1)
    else:
        index = (similarity > _calibrated(way, model, request, kept, device)).nonzero().squeeze(1)
    return Found(index, similarity[index])


def _calibrated(way: Way, model: nn.Module, request: Request, kept: "Placed", device: str) -> float:
    """The similarity that only 1 - value of the samples that were never trained on have to their nearest retained one."""
    if request.validation is None or not len(request.validation):
        raise BadValue(
            "neighbours: 'calibrated' compares with validation samples, and this task has none: use 'top' or 'above', or "
            "a larger pool"
        )
    found = closest(Placed.of(request.validation[:HELD_OUT], way, model, request, device), kept)
    return found.quantile(way.value, interpolation="higher").item()


@dataclass(frozen=True)
class Placed:
    """Samples in the space that they are compared in. vectors: (n, width) float64 of length 1, or 0 where all is 0; y: (n,)
    the labels, or None where they do not count."""

    vectors: Tensor
    y: Tensor | None = None

    @classmethod
    def of(cls, samples: Samples, way: Way, model: nn.Module, request: Request, device: str = "auto") -> "Placed":
        """On the CPU: what is looked for is little beside what was trained on."""
        own = getattr(request, "placed", None)  # texts say themselves where they stand, and have no labels
        if own and not way.space.startswith("random"):
            v = own(model, samples, way.space.removesuffix("+label"), device)
        elif way.space.startswith("random"):
            v = torch.randn(len(samples), 16, generator=generator(0, "placed", samples.to("cpu").digest()))
        elif way.space == "text":
            raise BadValue("neighbours: images have no letters: use 'feature' or 'pixel', not 'text'")
        elif way.space.startswith("pixel"):
            v = unit(samples.stored).flatten(1).cpu()
        else:
            v = predict(model, samples.stored, device=device, precision=getattr(request.recipe, "precision", "fp32"))[1]
        if not v.isfinite().all():
            raise NonFiniteLoss(f"neighbours: a {way.space.split('+')[0]} of a sample is not finite")
        return cls(F.normalize(v.double(), dim=1), samples.y.cpu() if way.by_label and not own else None)

    def __len__(self) -> int:
        return len(self.vectors)


def _tables(a: Placed, b: Placed) -> Iterator[Tensor]:
    """Similarities of a few rows of a at a time to all of b; -inf where the labels differ."""
    rows = max(CHUNK // max(len(b), 1), 1)
    for i in range(0, max(len(a), 1), rows):
        table = (a.vectors[i : i + rows] @ b.vectors.T).round(decimals=DIGITS)
        if a.y is not None and b.y is not None:
            table.masked_fill_(a.y[i : i + rows, None] != b.y, -torch.inf)
        yield table


def closest(a: Placed, b: Placed) -> Tensor:
    """The similarity of each of a to its nearest of b, (len(a),) float64; -inf where none has its label."""
    return torch.cat([table.amax(1) for table in _tables(a, b)])


def nearest(a: Placed, b: Placed, k: int) -> Tensor:
    """The rows of the k nearest of b to each of a, (len(a), k), the nearest first, of equals the first; -1 where none of its
    label is left. Raises BadValue for more than there are."""
    if not 1 <= k <= len(b):
        raise BadValue(f"neighbours: {k} of {len(b)} samples: at least 1 and at most {len(b)} are possible")
    parts = []
    for table in _tables(a, b):
        values, index = table.sort(dim=1, descending=True, stable=True)
        parts.append(index[:, :k].masked_fill(values[:, :k] == -torch.inf, -1))
    return torch.cat(parts)


def parted(retain: Samples, index: Tensor) -> tuple[Samples, Samples]:
    """(the samples at `index`, the others), both in their order. Raises BadValue if no others are left."""
    chosen = torch.zeros(len(retain), dtype=torch.bool)
    chosen[index] = True
    if chosen.all():
        raise BadValue(
            f"all {len(retain)} retained samples were found to be neighbours of the forget set, and none would stay: ask "
            "for fewer, by a smaller 'top' or a higher 'above' or 'calibrated'"
        )
    chosen = chosen.to(retain.y.device)
    return retain[chosen], retain[~chosen]
