"""Search for retained samples near the forget set, by similarity alone: wrappers are never given the links.

Similarity is the cosine of pixels, of letter trigrams of texts, or of features of the model that is to forget. The
control "random" gives each sample a random vector: it finds as many samples, which need not be near. The word "control"
after a search takes as many random samples as it finds, label by label: what the number alone does. With "+label" only
samples of the same label are compared, since a retained sample keeps a label alive only if it carries that label; texts
have no labels, and all are compared. Tables of all pairs are computed in chunks of at most CHUNK entries, in float64,
and rounded, so that the result depends on neither chunks nor batches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, NonFiniteLoss, unknown
from unlearnkit.images.request import Request

CHUNK = 2**22  # similarities in memory at once
DIGITS = 9  # decimals of a similarity: an exact duplicate has similarity 1, whichever batch it was in
HELD_OUT = 1000  # validation samples used for a calibration, at most

SPACES = ("feature", "feature+label", "pixel", "pixel+label", "text", "random", "random+label")
RULES = {  # the text of error messages
    "top": "a whole number from 1: that many nearest retained samples of each target",
    "above": "a cosine from -1 to 1: all retained samples at least that similar to a target",
    "calibrated": "a share from 0 to 1: all that are nearer to a target than that share of validation samples is to its "
    "nearest retained one",
}

NEAR = "feature+label top 10"  # ours, chosen before any unlearning with it; the number of near-duplicates is unknown
Near = Annotated[str, "ours: a space, a rule and its value, see unlearnkit.wrappers.neighbours"]


@dataclass(frozen=True)
class NeighbourSearch:
    """Which samples count as neighbours; see SPACES and RULES.

    Raises UnknownName for another space or rule, BadValue for a value that the rule does not take.
    """

    space: str
    rule: str
    value: float
    control: bool = False

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


def parse(text: str) -> NeighbourSearch:
    """ "feature top 10", "pixel+label above 0.9", "feature calibrated 0.95", or one of these and "control". Raises
    UnknownName or BadValue."""
    words = text.split()
    parts, control = (words[:-1], True) if words[-1:] == ["control"] else (words, False)
    try:
        space, rule, value = parts[0], parts[1], float(parts[2])
        if len(parts) != 3 or value != value or abs(value) == float("inf"):
            raise ValueError
    except (IndexError, ValueError):
        raise BadValue(f"neighbours are asked for as '{NEAR}': a space, a rule, a number; got {text!r}") from None
    return NeighbourSearch(space, rule, value, control)


@dataclass(frozen=True)
class Neighbours:
    """index: (m,) rows of the retain set, ascending; similarity: (m,) float64, of each to its nearest target."""

    index: Tensor
    similarity: Tensor

    def __len__(self) -> int:
        return len(self.index)


def find(
    model: nn.Module,
    request: Request,
    near: str = NEAR,
    *,
    keep: Callable[[Neighbours], Tensor] | None = None,
    device: str = "auto",
) -> Neighbours:
    """The retained samples near a sample of the forget set.

    near: see `parse`; keep: which rows count of those found, by default all; a control then takes as many random ones.
    Raises BadValue for more neighbours than retained samples, and for a calibration without validation samples;
    NonFiniteLoss if the model's features are not finite.
    """
    search = parse(near)
    most = len(request.retain)
    if search.rule == "top" and search.value > most:
        raise BadValue(f"neighbours: top {search.value:g} of {most} retained samples: at most {most} are possible")
    forget, retain = (
        Vectors.of(samples, search, model, request, device) for samples in (request.forget, request.retain)
    )
    similarity = closest(retain, forget)
    if search.rule == "top":
        index = nearest(forget, retain, int(search.value))
        index = index[index >= 0].unique()
    elif search.rule == "above":
        index = (similarity >= search.value).nonzero().squeeze(1)
    else:
        index = (similarity > _calibrated(search, model, request, retain, device)).nonzero().squeeze(1)
    if keep:
        index = keep(Neighbours(index, similarity[index]))
    if search.control:
        index = _as_many(retain, index, generator(0, "control", request.retain.to("cpu").digest()))
    return Neighbours(index, similarity[index])


def _as_many(retain: "Vectors", index: Tensor, rng: torch.Generator) -> Tensor:
    """As many random rows as `index` has, label by label where labels count, ascending."""
    y = torch.zeros(len(retain), dtype=torch.long) if retain.y is None else retain.y
    order = torch.randperm(len(retain), generator=rng)
    counts = zip(*y[index].unique(return_counts=True), strict=True)
    return torch.cat([index[:0], *(order[y[order] == label][:n] for label, n in counts)]).sort().values


def _calibrated(search: NeighbourSearch, model: nn.Module, request: Request, retain: "Vectors", device: str) -> float:
    """The `search.value` quantile of the similarity of a validation sample, never trained on, to its nearest retained
    one."""
    if request.validation is None or not len(request.validation):
        raise BadValue(
            "neighbours: 'calibrated' compares with validation samples, and this task has none: use 'top' or 'above', or "
            "a larger pool"
        )
    similarity = closest(Vectors.of(request.validation[:HELD_OUT], search, model, request, device), retain)
    return similarity.quantile(search.value, interpolation="higher").item()


@dataclass(frozen=True)
class Vectors:
    """Samples in the space of the search. vectors: (n, width) float64 of length 1, or 0 where all entries are 0; y:
    (n,) the labels, or None where labels do not count."""

    vectors: Tensor
    y: Tensor | None = None

    @classmethod
    def of(
        cls, samples: Samples, search: NeighbourSearch, model: nn.Module, request: Request, device: str = "auto"
    ) -> "Vectors":
        """On the CPU: the search costs little beside training. Raises NonFiniteLoss for a vector that is not finite."""
        space = search.space.removesuffix("+label")
        if space == "random":
            v = torch.randn(len(samples), 16, generator=generator(0, "placed", samples.to("cpu").digest()))
        else:
            v = request.vectors(model, samples, space, device)
        if not v.isfinite().all():
            raise NonFiniteLoss(f"neighbours: a {space} of a sample is not finite")
        labelled = search.by_label and request.domain == "image"
        return cls(F.normalize(v.double(), dim=1), samples.y.cpu() if labelled else None)

    def __len__(self) -> int:
        return len(self.vectors)


def _tables(a: Vectors, b: Vectors) -> Iterator[Tensor]:
    """Similarities of a to b, a few rows of a at a time, (rows, len(b)); -inf where the labels differ."""
    rows = max(CHUNK // max(len(b), 1), 1)
    for i in range(0, max(len(a), 1), rows):
        table = (a.vectors[i : i + rows] @ b.vectors.T).round(decimals=DIGITS)
        if a.y is not None and b.y is not None:
            table.masked_fill_(a.y[i : i + rows, None] != b.y, -torch.inf)
        yield table


def closest(a: Vectors, b: Vectors) -> Tensor:
    """The similarity of each row of a to its nearest row of b, (len(a),) float64; -inf where no row has its label."""
    return torch.cat([table.amax(1) for table in _tables(a, b)])


def nearest(a: Vectors, b: Vectors, k: int) -> Tensor:
    """The row numbers of the k rows of b nearest to each row of a, (len(a), k), the nearest first, ties by row number;
    -1 where b has fewer than k of its label. Raises BadValue unless k is from 1 to len(b)."""
    if not 1 <= k <= len(b):
        raise BadValue(f"neighbours: {k} of {len(b)} samples: at least 1 and at most {len(b)} are possible")
    parts = []
    for table in _tables(a, b):
        values, index = table.sort(dim=1, descending=True, stable=True)
        parts.append(index[:, :k].masked_fill(values[:, :k] == -torch.inf, -1))
    return torch.cat(parts)


def parted(retain: Samples, index: Tensor) -> tuple[Samples, Samples]:
    """(the samples at `index`, the others), both in the order of `retain`. Raises BadValue if no others are left."""
    chosen = torch.zeros(len(retain), dtype=torch.bool)
    chosen[index] = True
    if chosen.all():
        raise BadValue(
            f"all {len(retain)} retained samples were found to be neighbours of the forget set, and none would stay: ask "
            "for fewer, by a smaller 'top' or a higher 'above' or 'calibrated'"
        )
    chosen = chosen.to(retain.y.device)
    return retain[chosen], retain[~chosen]
