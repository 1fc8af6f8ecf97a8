"""Image sets of your own: an .npz file, a folder with one folder of images per class, or a Parquet file.

.npz: arrays x and y, and test_x and test_y if there is a test set. Parquet: columns image (PNG or JPEG bytes, as the
Hugging Face hub stores them) and label, and split ("train" or "test") if there is one. Folder: class/any.png; or
train/class/any.png and test/class/any.png. Without a test set a random fifth of each class, always the same, becomes
one.
"""

import io
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from data_builders.raw_images import RawImages
from unlearnkit.core import paths
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

TEST_SHARE = 5  # one image in five of each class becomes a test image
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".tif", ".tiff"}


def is_path(name: str) -> bool:
    """Whether a dataset's name is a path: it has a slash or one of the two suffixes, or is a folder that is there."""
    if Path(name).suffix in (".npz", ".parquet") or "/" in name or paths.at(name).is_absolute():
        return True
    return any((folder / name).is_dir() for folder in (paths.data(), Path.cwd()))


def read(path: Path) -> RawImages:
    """The images of a file or folder. Raises BadValue, naming file and culprit, for missing or unreadable files and
    values of another shape or out of range."""
    if path.is_dir():
        parts = _folder(path)
    elif path.suffix == ".npz":
        parts = _npz(path)
    else:
        parts = _parquet(path)
    if "train" not in parts:
        raise BadValue(f"{path.name} has test images, but none to train on")
    x, y = parts["train"]
    n_classes = 1 + max(int(part[1].max()) for part in parts.values())
    if "test" in parts:
        channels = max(
            part[0].shape[1] for part in parts.values()
        )  # grey images beside colour ones become colour images
        test = parts["test"]
        return _raw(path, x.expand(-1, channels, -1, -1), y, test[0].expand(-1, channels, -1, -1), test[1], n_classes)
    test = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        rows = (y == label).nonzero().squeeze(1)
        if len(rows) < 2:
            raise BadValue(f"{path.name}: class {int(label)} has one image; it needs two, one to train on, one to test")
        order = torch.randperm(len(rows), generator=generator(0, "own", "test split", int(label)))
        test[rows[order[: max(len(rows) // TEST_SHARE, 1)]]] = True
    ids = torch.arange(len(y))
    return _raw(path, x[~test], y[~test], x[test], y[test], n_classes, ids=ids[~test], test_ids=ids[test])


def _raw(path: Path, *parts, **ids) -> RawImages:
    try:
        return RawImages(*parts, **ids)
    except BadValue as error:
        raise BadValue(f"{path.name}: {error}") from error


def _npz(path: Path) -> dict:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
        raise BadValue(f"{path.name} cannot be read as .npz without pickles: {error}") from error
    parts = {}
    for split, names in (("train", ("x", "y")), ("test", ("test_x", "test_y"))):
        if missing := [n for n in names if n not in arrays]:
            if split == "test" and len(missing) == 2:
                continue
            raise BadValue(f"{path.name} has no array {missing[0]!r}; it has {', '.join(sorted(arrays)) or 'none'}")
        parts[split] = _checked(path.name, *(arrays[n] for n in names))
    return parts


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
    x, y = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y.astype(np.int64))
    if int(y.min()) < 0:
        raise BadValue(f"{name}: labels must be 0, 1, 2, ..., got {int(y.min())}")
    return x, y


def _folder(path: Path) -> dict:
    splits = {split: path / split for split in ("train", "test") if (path / split).is_dir()} or {"train": path}
    if "train" not in splits:
        raise BadValue(f"{path.name}/ has a folder test, but none called train")
    classes = sorted({p.name for split in splits.values() for p in split.iterdir() if p.is_dir() and p.name[0] != "."})
    parts = {}
    if missing := [name for name in classes if not (splits["train"] / name).is_dir()]:
        raise BadValue(f"{path.name}/: class {missing[0]!r} has test images, but no training images")
    for split, folder in splits.items():
        labelled = [
            (label, file)
            for label, name in enumerate(classes)
            for file in sorted((folder / name).rglob("*"))
            if file.suffix.lower() in IMAGES
        ]
        if not labelled:
            raise BadValue(
                f"{folder.name}/ holds no images: it needs one folder per class with {', '.join(sorted(IMAGES))}"
            )
        pictures = [_decode(file.read_bytes(), f"{path.name}/{file.relative_to(path)}") for _, file in labelled]
        names = [str(file.relative_to(path)) for _, file in labelled]
        parts[split] = (_stack(pictures, names), torch.tensor([label for label, _ in labelled]))
    return parts


def _parquet(path: Path) -> dict:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise BadValue(f"{path.name} cannot be read as Parquet: {error}") from error
    if not len(table):
        raise BadValue(f"{path.name} has no rows")
    if missing := {"image", "label"} - set(table):
        raise BadValue(f"{path.name} has no column {sorted(missing)[0]!r}; it has {', '.join(map(str, table))}")
    raw = [entry.get("bytes") if isinstance(entry, dict) else entry for entry in table.image]
    names = [f"{path.name}, row {i}" for i in range(len(raw))]
    x = _stack([_decode(data, name) for data, name in zip(raw, names)], names).numpy()
    split = table["split"].to_numpy() if "split" in table else np.full(len(table), "train")
    if extra := set(split) - {"train", "test"}:
        raise BadValue(f"{path.name}: column split must say train or test, got {sorted(map(str, extra))[0]!r}")
    wanted = [s for s in ("train", "test") if (split == s).any()]
    return {s: _checked(path.name, x[split == s], table.label.to_numpy()[split == s]) for s in wanted}


def _decode(data: object, name: str) -> Tensor:
    """(channels, height, width) uint8. data: the bytes of an image file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):
                raise BadValue(f"{name} has more than 8 bits a pixel: convert the images to 8 bits first")
            pixels = np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError) as error:
        raise BadValue(f"{name} is not an image that can be read, or is cut off: {error}") from error
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


def _stack(pictures: list[Tensor], names: list[str]) -> Tensor:
    """(n, channels, height, width); grey images become colour images where some are in colour."""
    channels = max(p.shape[0] for p in pictures)
    for picture, name in zip(pictures, names):
        if picture.shape[1:] != pictures[0].shape[1:]:
            raise BadValue(
                f"{name} has {tuple(picture.shape[1:])} pixels, {names[0]} has {tuple(pictures[0].shape[1:])}: bring "
                "all images to one size first"
            )
    return torch.stack([p.expand(channels, -1, -1) for p in pictures])
