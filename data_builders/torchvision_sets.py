"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, read by torchvision's own loaders.

From the folder that `UNLEARNKIT_DATA` names, in torchvision's layout; files that are missing there are downloaded.
"""

from dataclasses import replace
from pathlib import Path

import torch

from data_builders.raw_images import RawImages, dataset
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue

# number of images and sum of all bytes of each training set, as its authors published it
FACTS = {
    "MNIST": (60000, 1567298545),
    "FashionMNIST": (60000, 3431114169),
    "CIFAR10": (50000, 18540682003),
    "CIFAR100": (50000, None),
}


def _open(name: str) -> tuple:
    """torchvision's (training set, test set), downloaded if missing. Raises BadValue if that fails."""
    import torchvision.datasets

    folder = paths.data()
    dataset_class = getattr(torchvision.datasets, name)
    try:
        return tuple(dataset_class(str(folder), train=train, download=False) for train in (True, False))
    except (RuntimeError, ValueError, AssertionError, EOFError):  # missing or damaged
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(dataset_class(str(folder), train=train, download=True) for train in (True, False))
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
        raise BadValue(
            f"{name} is not in the data folder (or damaged there), and cannot be downloaded. Set UNLEARNKIT_DATA to a "
            f"folder that holds it as torchvision lays it out, or connect to the network once. The download said: "
            f"{' '.join(str(error).split())}"
        ) from error


def _files(name: str, below: str):
    """A function that lists the set's files. It is called before the set is read, so it downloads missing files."""

    def files() -> list[Path]:
        folder = paths.data() / below
        if not folder.is_dir() or not any(folder.iterdir()):
            _open(name)
        return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix not in (".gz", ".html"))

    return files


def _read(name: str, n_classes: int) -> RawImages:
    train, test = _open(name)
    images = [torch.as_tensor(part.data) for part in (train, test)]  # (n, height, width), in colour (..., channels)
    images = [x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous() for x in images]
    labels = [torch.as_tensor(part.targets) for part in (train, test)]
    count, total = FACTS[name]  # the test set is not checked: MNIST also circulates with 3,000 test images
    byte_sum = int(images[0].numpy().sum(dtype="int64"))  # torch would copy all pixels to int64 first
    if len(images[0]) != count or total not in (None, byte_sum):
        raise BadValue(
            f"{name}'s training set is not the published one: {len(images[0])} images with byte sum {byte_sum}, "
            f"expected {count} and {total}. Delete it from the data folder and fetch it anew."
        )
    facts = {"classes": list(train.classes)} if name != "MNIST" else {}  # whose names are the digits once more
    return RawImages(images[0], labels[0], images[1], labels[1], n_classes, facts=facts)


@dataset(
    "mnist",
    licence="CC BY-SA 3.0 by its usual distributors; see the official page",
    source="LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition",
    files=_files("MNIST", "MNIST/raw"),
)
def mnist() -> RawImages:
    """28x28 grey scans of handwritten digits, 60,000 and 10,000."""
    return _read("MNIST", 10)


@dataset(
    "fashion_mnist",
    licence="MIT",
    source="Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747",
    files=_files("FashionMNIST", "FashionMNIST/raw"),
)
def fashion_mnist() -> RawImages:
    """28x28 grey pictures of clothes, 60,000 and 10,000, many of which look alike."""
    return _read("FashionMNIST", 10)


@dataset(
    "cifar10",
    licence="none stated",
    source="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    files=_files("CIFAR10", "cifar-10-batches-py"),
)
def cifar10() -> RawImages:
    """32x32 colour photographs of ten kinds of things, 50,000 and 10,000."""
    return _read("CIFAR10", 10)


@dataset(
    "cifar100",
    licence="none stated",
    source="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    files=_files("CIFAR100", "cifar-100-python"),
)
def cifar100() -> RawImages:
    """32x32 colour photographs of a hundred kinds of things, 50,000 and 10,000."""
    return _read("CIFAR100", 100)


# the superclass of each of CIFAR-100's classes, which are in alphabetical order (Krizhevsky 2009, Table 1)
SUPERCLASS = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7,
    6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10,
    16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16,
    12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip


@dataset(
    "cifar20",
    licence="none stated",
    source="CIFAR-100 by its 20 superclasses; Krizhevsky 2009, Learning multiple layers of features from tiny images",
    files=_files("CIFAR100", "cifar-100-python"),
)
def cifar20() -> RawImages:
    """CIFAR-100 by its 20 superclasses; the 100 classes are their subclasses, to forget one of five kinds of fish."""
    raw, superclass = cifar100(), torch.tensor(SUPERCLASS)
    labels = {"y": superclass[raw.y], "test_y": superclass[raw.test_y], "part": raw.y, "test_part": raw.test_y}
    return replace(raw, **labels, n_classes=20, facts={"subclasses": raw.facts["classes"]})
