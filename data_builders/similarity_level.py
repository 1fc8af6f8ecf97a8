"""A similarity level: a measured similarity ("ssim~0.6") that near-duplicates are to have, reached by searching for
their strength."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data_builders.raw_images import to_bytes
from data_builders.similarity import MEASURES, Measure
from unlearnkit.core.errors import BadValue, unknown

STEPS = 12  # bisections: strength to 1 in 4,096
DRAWS = 8  # so many new random draws for copies that cannot reach the level (masks come in whole blocks)


@dataclass(frozen=True)
class SimilarityLevel:
    """`measure` is to be `value`, within the measure's tolerance."""

    name: str
    value: float

    @property
    def measure(self) -> Measure:
        return MEASURES[self.name]

    def met(self, values: Tensor) -> Tensor:
        """(n,) bool, whether these measured values are at the level."""
        return (values - self.value).abs() <= self.measure.tolerance


def parse(text: str) -> SimilarityLevel:
    """ "ssim~0.6" -> SimilarityLevel. Raises BadValue or UnknownName."""
    name, _, value = text.partition("~")
    try:
        level = SimilarityLevel(name.strip(), float(value))
    except ValueError as error:
        raise BadValue(f"similarity_level must be a measure and a number, say 'ssim~0.6', got {text!r}") from error
    if level.name not in MEASURES:
        raise unknown("measure of similarity", level.name, MEASURES)
    return level


def search(
    make: Callable[[Tensor, int], Tensor], image: Tensor, level: SimilarityLevel, copies: int, perturbation: str
) -> tuple[Tensor, Tensor]:
    """(copies at the level, uint8; their strengths). Raises BadValue that says which levels can be reached.

    make(strengths, draw) -> (copies, ...) floats: the same copies at other strengths, for the same draw. image:
    (channels, height, width) uint8. Bisection, as similarity falls with strength, roughly; the best copies of all draws
    are kept. perturbation: its name, for the error.
    """
    strengths = torch.zeros(copies)
    made = image.expand(copies, *image.shape).clone()
    smallest_error = torch.full((copies,), torch.inf)
    measured: list[Tensor] = []

    def attempt(strength: Tensor, draw: int) -> Tensor:
        pixels = to_bytes(make(strength, draw))
        similarity = level.measure(image.expand_as(pixels), pixels)
        measured.append(similarity)
        error = (similarity - level.value).abs()
        better = error < smallest_error
        smallest_error[better], strengths[better], made[better] = error[better], strength[better], pixels[better]
        return similarity

    for draw in range(DRAWS):
        low, high = torch.zeros(copies), torch.ones(copies)
        for strength in (low, high):
            attempt(strength, draw)
        for _ in range(STEPS):
            middle = (low + high) / 2
            too_similar = attempt(middle, draw) > level.value
            low, high = torch.where(too_similar, middle, low), torch.where(too_similar, high, middle)
        if bool((smallest_error <= level.measure.tolerance).all()):
            return made, strengths
    n_missed, similarity = int((~(smallest_error <= level.measure.tolerance)).sum()), torch.stack(measured)
    raise BadValue(
        f"{perturbation}: {level.name} ~ {level.value:g} (within {level.measure.tolerance:g}) cannot be met for {n_missed} "
        f"of {copies} copies of an image; between strength 0 and 1 it goes from {similarity.max():.2f} to "
        f"{similarity.min():.2f}, in steps. Ask for another similarity level or perturbation, or smaller blocks."
    )
