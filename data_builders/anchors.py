"""Anchors: targets or decoys of one arm, and the near-duplicates that are made from them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from data_builders.arms import Arm
from data_builders.perturbations import perturbations
from data_builders.raw_images import RawImages, to_bytes
from data_builders.similarity_level import parse, search
from data_builders.task import unit
from unlearnkit.core.compute import generator

MIX = 1000  # fillers that a copy may be mixed with: the same for every number of copies, so that copies stay the same


class Images(NamedTuple):
    """x: (n, channels, height, width) uint8; y: (n,) labels; ids: (n,) of the raw images that they are or were made from."""

    x: Tensor
    y: Tensor
    ids: Tensor


@dataclass(frozen=True)
class Anchors:
    """Targets or decoys of one arm and their near-duplicates, those of one anchor together.

    copies: near-duplicates of each; strengths: (near-duplicates,) of how far each is from its anchor; arm: its place in the
    list of arms.
    """

    images: Images
    similar: Images
    strengths: Tensor
    copies: int
    perturbation: str = ""
    arm: int = -1

    def split(self, n: int) -> Iterator["Anchors"]:
        """The first n, and the others."""
        own = zip(*(column.tensor_split([n]) for column in self.images))
        similar = zip(*(column.tensor_split([n * self.copies]) for column in (*self.similar, self.strengths)))
        for images, (*near, strengths) in zip(own, similar):
            yield replace(self, images=Images(*images), similar=Images(*near), strengths=strengths)


def of_pool(raw: RawImages, rows: Tensor, labels: Tensor | None = None) -> Images:
    """Images of the pool, with labels of their own or these. rows: (n,) row numbers."""
    return Images(raw.x[rows], raw.y[rows] if labels is None else labels, raw.ids[rows])


def without_copies(images: Images, arm: int = -1) -> Anchors:
    """Anchors that have no near-duplicates."""
    return Anchors(images, Images(*(v[:0] for v in images)), torch.empty(0), 0, arm=arm)


def with_copies(
    images: Images, arm: Arm, fillers: Tensor, seed: int, *, of: Images | None = None, place: int = -1
) -> Anchors:
    """Anchors with near-duplicates that have their labels, made from them or, as a control, one from each of other images.

    fillers: (MIX, ...) uint8, what a perturbation may mix in; of: the other images, `copies` for each anchor. Raises
    BadValue where a similarity level cannot be met.
    """
    sources, each = (images, arm.copies) if of is None else (of, 1)
    entry = perturbations[arm.perturbation]
    options = entry.resolve(dict(arm.perturbation_options))
    level = parse(arm.similarity_level) if arm.similarity_level else None
    made, strengths = [images.x[:0]], [torch.empty(0)]
    for number, image in enumerate(sources.x if arm.copies else []):
        floats = unit(image)

        def make(strength: Tensor, draw: int = 0, floats=floats, number=number) -> Tensor:
            labels = ("copies", entry.name, number, draw) if draw else ("copies", entry.name, number)
            return entry(floats, strength, generator(seed, *labels), fillers, **options)

        if level:
            pixels, reached = search(make, image, level, each, entry.name)
        else:
            reached = torch.full((each,), float(arm.strength))
            pixels = to_bytes(make(reached))
        made.append(pixels)
        strengths.append(reached)
    labels = images.y.repeat_interleave(arm.copies)
    similar = Images(torch.cat(made), labels, sources.ids.repeat_interleave(each))
    return Anchors(images, similar, torch.cat(strengths), arm.copies, arm.perturbation, place)
