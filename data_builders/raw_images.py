"""Images as a data set has them, before any task is made of them, and the registry of the data sets.

One file per dataset family registers its loaders (`@dataset(...)`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_builders.task import digest, hashes
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Registry

datasets = Registry("dataset", "data_builders")

TRAIN = ("x", "y", "ids", "part")  # fields of RawImages with one entry per training image
TEST = tuple(f"test_{name}" for name in TRAIN)


@dataclass(frozen=True)
class RawImages:
    """The training and test images of a data set.

    x, test_x: (n, channels, height, width) uint8, or floats in [0, 1], which are rounded to 8 bits; y, test_y: (n,)
    int64; ids, test_ids: (n,) int64, by default 0, 1, ... over training, then test images; part, test_part: (n,) int64,
    the subclass of each image, by default its class; facts: what a dataset card says beside licence and source.

    Raises BadValue for another shape or type, and for values or labels out of range.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    n_classes: int
    ids: Tensor | None = None
    test_ids: Tensor | None = None
    part: Tensor | None = None
    test_part: Tensor | None = None
    facts: Mapping = field(default_factory=dict)

    def __post_init__(self):
        for name, x, y in (("training", self.x, self.y), ("test", self.test_x, self.test_y)):
            if x.ndim != 4 or len(x) != len(y):
                raise BadValue(
                    f"{name} images must be (n, channels, height, width) with n labels, got {tuple(x.shape)} and "
                    f"{tuple(y.shape)}"
                )
            if x.dtype != torch.uint8 and not x.is_floating_point():
                raise BadValue(f"{name} images must be uint8, or floats in [0, 1], got {x.dtype}")
            if len(x) and x.is_floating_point() and not (x.isfinite().all() and x.min() >= 0 and x.max() <= 1):
                raise BadValue(f"{name} images must be finite and in [0, 1]; divide bytes by 255, or pass uint8")
            if y.is_floating_point() or y.dtype == torch.bool:
                raise BadValue(f"{name} labels must be whole numbers, got {y.dtype}")
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes:
                raise BadValue(f"{name} labels must be 0 to {self.n_classes - 1}, got {int(y.min())} to {int(y.max())}")
        if len(self.test_x) and self.x.shape[1:] != self.test_x.shape[1:]:
            raise BadValue(f"training images are {tuple(self.x.shape[1:])}, test images {tuple(self.test_x.shape[1:])}")
        n = len(self.x)
        filled = {
            "x": to_bytes(self.x),
            "test_x": to_bytes(self.test_x),
            "y": self.y.long(),
            "test_y": self.test_y.long(),
            "ids": torch.arange(n) if self.ids is None else self.ids,
            "test_ids": n + torch.arange(len(self.test_x)) if self.test_ids is None else self.test_ids,
            "part": (self.y if self.part is None else self.part).long(),
            "test_part": (self.test_y if self.test_part is None else self.test_part).long(),
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)

    def limited_to(self, max_pool_images: int, test_size: int) -> "RawImages":
        """At most so many training and test images (0: all) with their ids: a random subset, the same for all seeds."""
        subset = self
        for size, names in ((max_pool_images, TRAIN), (test_size, TEST)):
            n = len(getattr(self, names[0]))
            if 0 < size < n:
                index = torch.randperm(n, generator=generator(0, "pool", names[0]))[:size].sort().values
                subset = replace(subset, **{name: getattr(self, name)[index] for name in names})
        return subset

    def distinct(self) -> "RawImages":
        """Without training images that equal a test image, or an earlier training image, in every pixel."""
        test, train = (np.array(hashes(x), dtype="V16") for x in (self.test_x, self.x))  # V16: 16 bytes per hash
        first = np.sort(np.unique(train, return_index=True)[1])
        kept = first[~np.isin(train[first], test)]
        if len(kept) == len(train):
            return self
        index = torch.from_numpy(kept)
        return replace(self, **{name: getattr(self, name)[index] for name in TRAIN})

    def digest(self) -> str:
        """Hash of all pixels, labels, ids and subclasses."""
        return digest(*(getattr(self, name) for name in (*TRAIN, *TEST)))


def to_bytes(x: Tensor) -> Tensor:
    """Pixels in [0, 1] as uint8; uint8 unchanged."""
    return x if x.dtype == torch.uint8 else x.mul(255).round_().to(torch.uint8)


def dataset(name: str, *, licence: str, source: str, files: Callable[[], list[Path]] | None = None):
    """Register `function() -> RawImages` as dataset `name`. files: what it reads, so that changed files are noticed."""
    return datasets.register(name, licence=licence, source=source, files=files)
