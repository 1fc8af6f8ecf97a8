"""Raw data -> SimilarityTask: targets, similar samples linked to them, filler, decoys, test.

One file per dataset family registers a loader (`@dataset(...)`); `unlearnkit.study` finds it by name.
"""

from dataclasses import dataclass, field

from torch import Tensor

from unlearnkit.errors import BadValue
from unlearnkit.registry import Registry

datasets = Registry("dataset", "data_builders")


@dataclass(frozen=True)
class RawImages:
    """Images as they come. x, test_x: (n, channels, height, width) float32 in [0, 1]; y, test_y: (n,) int64."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    n_classes: int
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        for name, x, y in (("training", self.x, self.y), ("test", self.test_x, self.test_y)):
            if x.ndim != 4 or len(x) != len(y):
                raise BadValue(
                    f"{name} images must be (n, channels, height, width) with n labels, got {tuple(x.shape)} and {len(y)}"
                )
            if len(x) and not (x.isfinite().all() and x.min() >= 0 and x.max() <= 1):
                raise BadValue(f"{name} images must be finite and in [0, 1]; divide bytes by 255")
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes:
                raise BadValue(f"{name} labels must be 0 to {self.n_classes - 1}, got {int(y.min())} to {int(y.max())}")


def dataset(name: str, *, licence: str, source: str):
    """Register `function() -> RawImages` as the dataset `name`."""
    return datasets.register(name, licence=licence, source=source)
