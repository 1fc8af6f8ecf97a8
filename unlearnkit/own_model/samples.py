"""A caller's labelled images in memory: tensors, a Dataset or a DataLoader -> Samples.

A Dataset and a DataLoader are read once, through their own transforms; what a random transform drew then stays.
"""

import math
import os

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, TensorDataset

from data_builders.task import Samples, hashes
from unlearnkit.core.errors import BadValue

EXPECTED = "a pair (images, labels) of tensors, a Dataset or a DataLoader of such pairs, or question-answer pairs"
PROBES = 32  # values of an image that are compared before all are


def read(data, name: str) -> Samples:
    """Samples on the CPU, float32, in the order of `data`; name: what the caller calls it ("forget").

    data: (x, y) with x (n, ...) floats as the model is fed and y (n,) whole numbers from 0; a Dataset, or a DataLoader,
    of such pairs. Raises BadValue for anything else, for a DataLoader that shuffles or drops, and for an empty set.
    """
    if isinstance(data, Samples):
        data = (data.x, data.y)
    elif isinstance(data, TensorDataset):
        data = data.tensors
    elif isinstance(data, DataLoader):
        data = _of_loader(data, name)
    elif not _is_pair(data):
        data = _of_dataset(data, name)
    if not _is_pair(data):
        raise BadValue(f"{name} must be {EXPECTED}; these are {len(data)} columns")
    x, y = _images(data[0], name), _labels(data[1], name)
    if len(x) != len(y):
        raise BadValue(f"{name} has {len(x)} images and {len(y)} labels: one label for each image is needed")
    return Samples(x, y)


def check_disjoint(a: Samples, b: Samples, names: tuple[str, str], advice: str) -> None:
    """Raises BadValue, naming a pair, if an image with its label is in both, bit by bit. names: what the caller calls
    them."""
    probes = [_probes(part) for part in (a, b)]
    alike = set(probes[0]) & set(probes[1])
    likely = [[row for row, probe in enumerate(part) if probe in alike] for part in probes] if alike else [[], []]
    first, second = (zip(hashes(part.stored[rows]), part.y[rows].tolist(), rows) for part, rows in zip((a, b), likely))
    rows = {(image, label): row for image, label, row in second}
    if shared := [(row, rows[image, label]) for image, label, row in first if (image, label) in rows]:
        raise BadValue(
            f"{len(shared)} of {len(a)} samples of {names[0]} are in {names[1]}, too: {names[0]}[{shared[0][0]}] is "
            f"{names[1]}[{shared[0][1]}]. {advice}"
        )


def _probes(part: Samples) -> list[bytes]:
    """A few values of each image: only where they are equal all need to be compared."""
    x = part.stored.flatten(1)
    some = x[:, torch.linspace(0, x.shape[1] - 1, min(PROBES, x.shape[1])).long()].contiguous().numpy()
    return [row.tobytes() for row in some]


def _is_pair(data) -> bool:
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(v, Tensor | np.ndarray) for v in data)


def _images(x, name: str) -> Tensor:
    x = torch.as_tensor(x).detach().cpu()
    if not x.is_floating_point():
        raise BadValue(
            f"{name} holds images of {_plain(x.dtype)}: pass them as your model is fed, as floats after your own scaling "
            "and normalisation"
        )
    if x.ndim < 2:
        raise BadValue(f"{name} holds images of shape {tuple(x.shape)}: the first dimension counts images, (n, ...)")
    if not len(x):
        raise BadValue(f"{name} is empty: at least one sample is needed")
    if not torch.stack(x.aminmax()).isfinite().all():  # NaN passes through, too
        row = int((~x.flatten(1).isfinite().all(1)).nonzero()[0])
        raise BadValue(f"{name}[{row}] holds values that are not finite")
    return x.float()


def _labels(y, name: str) -> Tensor:
    y = torch.as_tensor(y).detach().cpu()
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool or y.ndim != 1:
        raise BadValue(
            f"{name} has labels of shape {tuple(y.shape)} and type {_plain(y.dtype)}: one whole number for each image is "
            "needed, (n,)"
        )
    if len(y) and int(y.min()) < 0:
        raise BadValue(f"{name}[{int(y.argmin())}] has the label {int(y.min())}: labels are whole numbers from 0")
    return y.long()


def _of_loader(loader: DataLoader, name: str) -> tuple[Tensor, Tensor]:
    if loader.drop_last:
        raise BadValue(f"{name} is a DataLoader that drops the last batch: set drop_last=False, or pass its dataset")
    samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    odd = [s for s in samplers if s is not None and type(s) is not SequentialSampler]
    if odd and not isinstance(loader.dataset, IterableDataset):
        raise BadValue(
            f"{name} is a DataLoader that shuffles or draws ({type(odd[0]).__name__}), so that its rows cannot be named: "
            "set shuffle=False, or pass its dataset"
        )
    parts = [_pair(batch, f"a batch of {name}") for batch in loader]
    if not parts:
        raise BadValue(f"{name} is empty: at least one sample is needed")
    x, y = (torch.cat([torch.as_tensor(part[i]).cpu() for part in parts]) for i in (0, 1))
    if not isinstance(loader.dataset, IterableDataset) and len(x) != len(loader.dataset):
        raise BadValue(
            f"{name} is a DataLoader that gives {len(x)} of the {len(loader.dataset)} samples of its dataset: pass the "
            "dataset, or a Subset of it"
        )
    return x, y


def _of_dataset(data: Dataset, name: str) -> tuple[Tensor, Tensor]:
    if isinstance(data, IterableDataset) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise BadValue(f"{name} must be {EXPECTED}; got {type(data).__name__}, which has no length or no rows")
    if isinstance(data, Tensor | np.ndarray | str | dict):
        raise BadValue(f"{name} must be {EXPECTED}; got {type(data).__name__} alone")
    if not len(data):
        raise BadValue(f"{name} is empty: at least one sample is needed")
    labels: list[int] = []
    for row in range(len(data)):
        image, label = _pair(data[row], f"{name}[{row}]")
        if not isinstance(image, Tensor | np.ndarray):
            raise BadValue(f"{name}[{row}] is a {type(image).__name__}: end its transform with ToTensor()")
        image = torch.as_tensor(image)
        if not row:
            _check_memory(len(data), image, name)
            x = torch.empty(len(data), *image.shape, dtype=image.dtype)
        if image.shape != x.shape[1:]:
            raise BadValue(
                f"{name}[{row}] has shape {tuple(image.shape)} and {name}[0] {tuple(x.shape[1:])}: all images need one "
                "size, say by a Resize in the transform"
            )
        x[row] = image
        labels.append(_whole(label, f"{name}[{row}]"))
    return x, torch.tensor(labels)


def _pair(item, where: str):
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise BadValue(f"{where} must be a pair (image, label), got {type(item).__name__}")
    return item


def _whole(label, where: str) -> int:
    try:
        whole = int(label)
    except (TypeError, ValueError) as error:
        raise BadValue(f"the label of {where} must be a whole number, got {type(label).__name__}") from error
    if whole != label:
        raise BadValue(f"the label of {where} must be a whole number, got {label}")
    return whole


def _check_memory(n: int, image: Tensor, name: str) -> None:
    """Raises BadValue if n such images do not fit into half of the memory that is free, where the system tells it."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return
    if (needed := 4 * n * math.prod(image.shape)) > free / 2:
        raise BadValue(
            f"{name} takes {needed / 2**30:.1f} GiB as {n} images of {tuple(image.shape)}, and {free / 2**30:.1f} GiB are "
            "free: pass a part of it, say torch.utils.data.Subset"
        )


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
