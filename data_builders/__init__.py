"""Raw data -> SimilarityTask: targets, similar samples linked to them, filler, decoys, test.

One file per dataset family registers a loader (`@dataset(...)`); `load(name)` finds it by name, or reads a set of your own
from a file or folder.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_builders.task import digest, hashes
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Registry

datasets = Registry("dataset", "data_builders")


TRAIN = ("x", "y", "ids", "part")  # what RawImages holds of each training image
TEST = tuple(f"test_{name}" for name in TRAIN)


@dataclass(frozen=True)
class RawImages:
    """Images as they come.

    x, test_x: (n, channels, height, width) uint8, or floats in [0, 1], which are rounded to 8 bits; y, test_y: (n,) int64;
    part, test_part: (n,) int64, a finer division of the classes; ids, test_ids: (n,) int64, 0, 1, ... over training, then
    test images, if not given.

    Raises BadValue for another shape, another type, values or labels out of range.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    n_classes: int
    ids: Tensor | None = None
    test_ids: Tensor | None = None
    part: Tensor | None = None  # (n,) subclass of each image, for sets whose classes have parts; the class if not given
    test_part: Tensor | None = None
    facts: Mapping = field(default_factory=dict)  # what a dataset card says beside licence and source

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

    def drawn(self, max_pool_images: int, test: int) -> "RawImages":
        """At most so many training and test images (0: all), drawn once and for all seeds, with their ids."""
        found = self
        for size, names in ((max_pool_images, TRAIN), (test, TEST)):
            n = len(getattr(self, names[0]))
            if 0 < size < n:
                index = torch.randperm(n, generator=generator(0, "pool", names[0]))[:size].sort().values
                found = replace(found, **{name: getattr(self, name)[index] for name in names})
        return found

    def distinct(self) -> "RawImages":
        """Without training images that are, pixel by pixel, a test image or an earlier training image."""
        test, train = (np.array(hashes(x), dtype="V16") for x in (self.test_x, self.x))  # 16 bytes each, no more
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
    """Pixels in [0, 1] as uint8; uint8 as it is."""
    return x if x.dtype == torch.uint8 else x.mul(255).round_().to(torch.uint8)


def dataset(name: str, *, licence: str, source: str, files: Callable[[], list[Path]] | None = None):
    """Register `function() -> RawImages` as the dataset `name`. files: what it reads, so that a change of them shows."""
    return datasets.register(name, licence=licence, source=source, files=files)


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from: `load()` reads it, `files()` lists what that reads, `code` is what does it."""

    name: str
    load: Callable[[], RawImages]
    files: Callable[[], list[Path]]
    code: Callable
    licence: str
    source: str

    def fingerprint(self) -> dict[str, str]:
        """File, below the folder that holds them all, -> hash of its content: what is made from them depends on it."""
        found = self.files()
        base = os.path.commonpath([path.parent for path in found]) if found else ""
        hashed = {path: _sha256(path, path.stat().st_mtime_ns, path.stat().st_size) for path in found}
        return {path.relative_to(base).as_posix(): digest for path, digest in hashed.items()}


@cache
def _sha256(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]


def find(name: str) -> Source:
    """The dataset registered as `name`; or else, if `name` is a folder or ends in .npz or .parquet, that set of your own.

    Raises UnknownName with the nearest name, BadValue if there is no such file.
    """
    from data_builders import user_images as own  # it registers nothing, and needs this module

    if name not in datasets and own.is_path(name):
        path = own.resolve(name)
        return Source(path.stem, lambda: own.read(path), lambda: own.files(path), own.read, "your own", path.name)
    entry = datasets[name]
    files = entry.info.get("files") or (lambda: [])
    return Source(name, entry.function, files, entry, entry.info["licence"], entry.info["source"])


def load(name: str) -> RawImages:
    """The images of a dataset, by its name or path."""
    return find(name).load()
