"""Image sets of your own: an .npz file, a folder with one folder of images per class, or a Parquet file.

Folder: class/any.png; or train/class/any.png and test/class/any.png, with any files that Pillow reads; classes have the
names of their folders, in natural order. .npz: arrays x and y, and test_x and test_y if there is a test set. Parquet:
columns image (PNG or JPEG bytes, as the Hugging Face hub stores them) and label, and split ("train" or "test") if there
is one. Without a test set a random fifth of each class, always the same, becomes one.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_builders.image_files import decode
from data_builders.image_folders import listed, read_folder, stack
from data_builders.raw_images import RawImages
from unlearnkit.core import paths
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

TEST_SHARE = 5  # one image in five of each class becomes a test image
NPZ = ("x", "y", "test_x", "test_y")
MOST_ROWS = 2**27  # of a Parquet file: a few bytes can stand for any number


def is_path(name: str) -> bool:
    """Whether a dataset's name is a path: it has a slash or one of the two suffixes, or is a folder that is there."""
    if Path(name).suffix in (".npz", ".parquet") or "/" in name or paths.at(name).is_absolute():
        return True
    return any((folder / name).is_dir() for folder in (paths.data(), Path.cwd()))


def read(path: Path) -> RawImages:
    """The images of a file or folder. Raises BadValue, naming file and culprit, for missing or unreadable files and
    values of another shape or out of range."""
    facts: dict = {}
    if path.is_dir():
        parts, facts = read_folder(path)
    elif path.suffix == ".npz":
        parts, facts = _npz(path)
    else:
        parts, facts = _parquet(path)
    if "train" not in parts:
        raise BadValue(f"{path.name} has test images, but none to train on")
    x, y = parts["train"]
    n_classes = 1 + max(int(part[1].max()) for part in parts.values())
    if n_classes > (n := sum(len(part[1]) for part in parts.values())):
        raise BadValue(
            f"{path.name}: a label is {n_classes - 1}, and there are {n} images: number the classes 0, 1, 2, ..."
        )
    if "test" in parts:
        channels = max(
            part[0].shape[1] for part in parts.values()
        )  # grey images beside colour ones become colour images
        test = parts["test"]
        return _raw(
            path,
            x.expand(-1, channels, -1, -1),
            y,
            test[0].expand(-1, channels, -1, -1),
            test[1],
            n_classes,
            facts=facts,
        )
    test = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        rows = (y == label).nonzero().squeeze(1)
        if len(rows) < 2:
            name = f" ({facts['classes'][int(label)]!r})" if "classes" in facts else ""
            raise BadValue(
                f"{path.name}: class {int(label)}{name} has one image; it needs two, one to train on, one to test"
            )
        order = torch.randperm(len(rows), generator=generator(0, "own", "test split", int(label)))
        test[rows[order[: max(len(rows) // TEST_SHARE, 1)]]] = True
    ids = torch.arange(len(y))
    return _raw(path, x[~test], y[~test], x[test], y[test], n_classes, facts=facts, ids=ids[~test], test_ids=ids[test])


def _raw(path: Path, *parts, **ids) -> RawImages:
    try:
        return RawImages(*parts, **ids)
    except BadValue as error:
        raise BadValue(f"{path.name}: {error}") from error


def _npz(path: Path) -> tuple[dict, dict]:
    """(parts, facts), as data_builders.image_folders.read_folder has them."""
    facts: dict = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            size = sum(entry.file_size for entry in archive.zip.infolist())
            if size > (most := _memory()):
                raise ValueError(f"it unpacks to {size:,} bytes, and this machine has {most:,}")
            arrays = {name: archive[name] for name in archive.files if name in NPZ}
            if left_out := sorted(set(archive.files) - set(NPZ)):
                facts["left_out"] = listed(left_out)
    except Exception as error:  # a reader of foreign bytes may raise anything
        raise BadValue(f"{path.name} cannot be read as .npz without pickles: {error}") from error
    parts = {}
    for split, names in (("train", ("x", "y")), ("test", ("test_x", "test_y"))):
        if missing := [n for n in names if n not in arrays]:
            if split == "test" and len(missing) == 2:
                continue
            others = ", ".join(sorted([*arrays, *left_out])) or "none"
            raise BadValue(f"{path.name} has no array {missing[0]!r}; it has {others}")
        parts[split] = _checked(path.name, *(arrays[n] for n in names))
    if left_out:
        print(f"{path.name}: left out, being none of {', '.join(NPZ)}: {facts['left_out']}", file=sys.stderr)
    return parts, facts


def _memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else sys.maxsize


def _checked(name: str, x: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x):
        raise BadValue(
            f"{name}: images must be (n, height, width), or (n, height, width, channels) or (n, channels, height, "
            f"width) with 1 or 3 channels, and at least one; got {x.shape}"
        )
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise BadValue(f"{name}: images must be uint8, or floats in [0, 1], got {x.dtype}")
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise BadValue(f"{name}: labels must be {len(x)} whole numbers, one per image, got {y.dtype} {y.shape}")
    x = x if x.dtype == np.uint8 else x.astype(np.float32)
    for label in (int(y.min()), int(y.max())):
        if not 0 <= label < 2**31:
            raise BadValue(f"{name}: labels must be 0, 1, 2, ..., got {label}")
    return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y.astype(np.int64))


def _parquet(path: Path) -> tuple[dict, dict]:
    """(parts, facts). The names of the classes are those that the Hugging Face hub keeps in the file."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns, rows = file.schema_arrow.names, file.metadata.num_rows
            wanted = [name for name in ("image", "label", "split") if name in columns]
            table = file.read(wanted).to_pandas() if 0 < rows <= MOST_ROWS else None
            features = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    except Exception as error:  # a reader of foreign bytes may raise anything
        raise BadValue(f"{path.name} cannot be read as Parquet: {error}") from error
    if table is None:
        raise BadValue(f"{path.name} has {'no' if not rows else f'{rows:,}'} rows")
    if missing := {"image", "label"} - set(table):
        raise BadValue(f"{path.name} has no column {sorted(missing)[0]!r}; it has {', '.join(columns)}")
    raw = [entry.get("bytes") if isinstance(entry, dict) else entry for entry in table.image]
    names = [f"{path.name}, row {i}" for i in range(len(raw))]
    x = stack([decode(data, name) for data, name in zip(raw, names)], names).numpy()
    split = table["split"].to_numpy() if "split" in table else np.full(len(table), "train")
    if extra := set(split) - {"train", "test"}:
        raise BadValue(f"{path.name}: column split must say train or test, got {sorted(map(str, extra))[0]!r}")
    wanted = [s for s in ("train", "test") if (split == s).any()]
    labels = table.label.to_numpy()
    return {s: _checked(path.name, x[split == s], labels[split == s]) for s in wanted}, _class_names(features, labels)


def _class_names(features: object, labels: np.ndarray) -> dict:
    """{"classes": names}, {} unless the file has one of each label."""
    try:
        names = features["info"]["features"]["label"]["names"]
    except (KeyError, TypeError):  # most files have none
        return {}
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    counted = whole and len(set(names)) == len(names) and labels.dtype.kind in "iu" and labels.max() < len(names)
    return {"classes": names[: int(labels.max()) + 1]} if counted else {}
