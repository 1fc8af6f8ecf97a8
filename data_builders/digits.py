"""scikit-learn's digits: 1,797 real 8x8 scans of handwritten digits, inside the package, so no network is needed."""

from dataclasses import replace

import torch

from data_builders.raw_images import RawImages, dataset
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

TEST = 397  # test images; 1,400 are left to draw training samples and decoys from


@dataset(
    "digits",
    licence="CC BY 4.0; BSD-3-Clause as packaged",
    source="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998; scikit-learn load_digits",
)
def digits() -> RawImages:
    """8x8 grey scans of ten digits; 397 of them, the same for every seed, are the test set."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.from_numpy(raw.images).float()[:, None] / 16  # (1797, 1, 8, 8)
    y = torch.from_numpy(raw.target).long()
    if (len(x), int(raw.images.sum())) != (1797, 561718):
        raise BadValue("scikit-learn's digits are not the 1,797 scans expected; is the package intact?")
    order = torch.randperm(len(x), generator=generator(0, "digits", "test split"))
    test, train = order[:TEST], order[TEST:]
    return RawImages(x[train], y[train], x[test], y[test], n_classes=10)


@dataset(
    "digits_parity",
    licence="CC BY 4.0; BSD-3-Clause as packaged",
    source="digits, by whether they are even; for forgetting one digit while its class stays",
)
def digits_parity() -> RawImages:
    """digits in two classes, even (0) and odd (1), whose subclasses are the digits."""
    raw = digits()
    return replace(raw, y=raw.y % 2, test_y=raw.test_y % 2, part=raw.y, test_part=raw.test_y, n_classes=2)
