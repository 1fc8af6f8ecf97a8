"""A degree of similarity that is asked for ("ssim~0.6"), met by search over the strength of a kind."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data_builders import to_bytes
from data_builders.similarity import MEASURES, Measure
from unlearnkit.core.errors import BadValue, unknown

STEPS = 12  # halvings: strength to 1 in 4,096
DRAWS = 8  # a copy that cannot be brought to the degree (masks come in whole blocks) is drawn anew so often


@dataclass(frozen=True)
class Degree:
    """`measure` is to be `value`, give or take the measure's tolerance."""

    name: str
    value: float

    @property
    def measure(self) -> Measure:
        return MEASURES[self.name]

    def met(self, found: Tensor) -> Tensor:
        return (found - self.value).abs() <= self.measure.tolerance


def parse(text: str) -> Degree:
    """ "ssim~0.6" -> Degree. Raises BadValue or UnknownName."""
    name, _, value = text.partition("~")
    try:
        similarity_level = Degree(name.strip(), float(value))
    except ValueError as error:
        raise BadValue(f"degree must be a measure and a number, say 'ssim~0.6', got {text!r}") from error
    if similarity_level.name not in MEASURES:
        raise unknown("measure of similarity", similarity_level.name, MEASURES)
    return similarity_level


def search(
    make: Callable[[Tensor, int], Tensor], image: Tensor, similarity_level: Degree, copies: int, what: str
) -> tuple[Tensor, Tensor]:
    """(copies as uint8, their strengths) of the wanted degree. Raises BadValue that says which degrees can be had.

    make(strengths, draw) -> (copies, ...) floats: the same copies at other strengths for one draw. image: (channels,
    height, width) uint8. Similarity is taken to fall with strength, roughly; the best found is kept.
    """
    strengths = torch.zeros(copies)
    made = image.expand(copies, *image.shape).clone()
    best = torch.full((copies,), torch.inf)
    reached: list[Tensor] = []

    def attempt(at: Tensor, draw: int) -> Tensor:
        pixels = to_bytes(make(at, draw))
        found = similarity_level.measure(image.expand_as(pixels), pixels)
        reached.append(found)
        off = (found - similarity_level.value).abs()
        better = off < best
        best[better], strengths[better], made[better] = off[better], at[better], pixels[better]
        return found

    for draw in range(DRAWS):
        low, high = torch.zeros(copies), torch.ones(copies)
        for at in (low, high):
            attempt(at, draw)
        for _ in range(STEPS):
            middle = (low + high) / 2
            too_similar = attempt(middle, draw) > similarity_level.value
            low, high = torch.where(too_similar, middle, low), torch.where(too_similar, high, middle)
        if bool((best <= similarity_level.measure.tolerance).all()):
            return made, strengths
    seen = torch.stack(reached)
    raise BadValue(
        f"{what}: {similarity_level.name} ~ {similarity_level.value:g} (within {similarity_level.measure.tolerance:g}) cannot be met for "
        f"{int((~(best <= similarity_level.measure.tolerance)).sum())} of {copies} copies of an image; between strength 0 and 1 it "
        f"goes from {seen.max():.2f} to {seen.min():.2f}, in steps. Ask for another degree or kind, or smaller blocks."
    )
