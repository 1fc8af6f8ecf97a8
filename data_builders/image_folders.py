"""Folders of images: class/any.png, or train/class/any.png and test/class/any.png. Nothing is left out in silence."""

import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from data_builders.image_files import decode, endings
from unlearnkit.core.errors import BadValue

OF_SYSTEMS = {"__MACOSX", "@eaDir"}  # folders that an archiver or a file server puts beside one's own
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "holdout"}
NAMED = 5  # of the files that are left out


def read_folder(path: Path) -> tuple[dict[str, tuple[Tensor, Tensor]], dict]:
    """({"train" and perhaps "test": (images, labels)}, facts: the classes' names in the order of their labels, and what
    was left out).

    Images: (n, channels, height, width) uint8. Classes are folders, in natural order: 2 before 10. Hidden files are no
    part of the set. Raises BadValue, naming the file, for images that cannot be read or would be left out.
    """
    found = files(path)
    images = [file for file in found if file.suffix.lower() in endings()]
    splits = _splits(path, images)
    depth = 0 if splits == [""] else 1  # of the folder of the classes below the path
    rows: dict[str, list[tuple[str, Path]]] = {split: [] for split in splits}
    spelled: dict[tuple[str, str], str] = {}
    for file in images:
        below = file.relative_to(path).parts
        if len(below) > depth + 1:
            split, name = below[0] if depth else "", unicodedata.normalize("NFC", below[depth])
            rows[split].append((name, file))
            if spelled.setdefault((split, name), below[depth]) != below[depth]:
                raise BadValue(
                    f"{path.name}/ has two folders whose names look alike: {name!r}, in two Unicode spellings"
                )
    rows = {split or "train": of_split for split, of_split in rows.items()}
    for split, of_split in rows.items():
        if not of_split:
            folder = f"{path.name}/{split}" if depth else path.name
            raise BadValue(
                f"{folder}/ holds no images: it needs one folder per class with .png, .jpg or other files that Pillow reads"
            )
    classes = sorted({name for name, _ in rows["train"]}, key=natural)
    for name, file in rows.get("test", ()):
        if name not in classes:
            raise BadValue(f"{path.name}/: class {name!r} has test images, but no training images: {file.name}")
    parts = {}
    for split, of_split in rows.items():
        names = [f"{path.name}/{file.relative_to(path).as_posix()}" for _, file in of_split]
        pictures = [decode(_bytes(file, name), name) for (_, file), name in zip(of_split, names)]
        parts[split] = (stack(pictures, names), torch.tensor([classes.index(name) for name, _ in of_split]))
    read = {file for of_split in rows.values() for _, file in of_split}
    facts: dict = {"classes": classes}
    if left_out := [file.relative_to(path).as_posix() for file in found if file not in read]:
        facts["left_out"] = listed(left_out)
        print(f"{path.name}/: left out, being no images in a class: {facts['left_out']}", file=sys.stderr)
    return parts, facts


def files(path: Path) -> list[Path]:
    """All files below a folder that are not hidden, in natural order; links to folders are followed, each folder once.

    Raises BadValue for a name that is no text, and for an image that is no file.
    """
    found, seen = [], set()
    for folder, below, names in os.walk(path, followlinks=True):
        seen.add(os.path.realpath(folder))
        below[:] = [n for n in below if _visible(n) and os.path.realpath(os.path.join(folder, n)) not in seen]
        found += [Path(folder, name) for name in names if _visible(name)]
    whole = []
    for file in found:
        name = file.relative_to(path).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise BadValue(f"{path.name}/: the name of {name!a} is not UTF-8: rename it") from error
        if file.is_file():
            whole.append(file)
        elif file.suffix.lower() in endings():
            raise BadValue(f"{path.name}/{name} is no file that can be read, perhaps a link to nowhere")
    return sorted(whole, key=lambda file: [natural(part) for part in file.relative_to(path).parts])


def _visible(name: str) -> bool:
    return not name.startswith(".") and name not in OF_SYSTEMS


def _bytes(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadValue(f"{name} cannot be read: {error.strerror}") from error


def _splits(path: Path, images: Sequence[Path]) -> list[str]:
    """The folders of the splits, [""] where classes lie in the folder itself."""
    tops = {file.relative_to(path).parts[0] for file in images if file.parent != path}
    tops |= {name for name in ("train", "test") if (path / name).is_dir() and name in os.listdir(path)}
    if not tops & {"train", "test"}:
        if tops and all(name.casefold() in SPLITS for name in tops):
            raise BadValue(
                f"{path.name}/ has no class folders, but {', '.join(sorted(tops))}: call them train and test"
            )
        return [""]
    if "train" not in tops:
        raise BadValue(f"{path.name}/ has a folder test, but none called train")
    if more := sorted(tops - {"train", "test"}, key=natural):
        number = sum(file.relative_to(path).parts[0] in more for file in images)
        raise BadValue(
            f"{path.name}/ has {listed(more)} beside train, with {number} images that would be left out: move them into "
            "train or test, or out of the folder"
        )
    return [name for name in ("train", "test") if name in tops]


def stack(pictures: list[Tensor], names: list[str]) -> Tensor:
    """(n, channels, height, width); grey images become colour images where some are in colour."""
    channels = max(p.shape[0] for p in pictures)
    for picture, name in zip(pictures, names):
        if picture.shape[1:] != pictures[0].shape[1:]:
            raise BadValue(
                f"{name} has {tuple(picture.shape[1:])} pixels, {names[0]} has {tuple(pictures[0].shape[1:])}: bring "
                "all images to one size first"
            )
    return torch.stack([p.expand(channels, -1, -1) for p in pictures])


def natural(name: str) -> tuple:
    """A key to sort names as people count: class 2 before class 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], name


def listed(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
