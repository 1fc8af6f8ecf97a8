"""Where a data set comes from: registered by name, or a file or folder of your own. `load("digits")` reads one.

For texts: data_builders.texts.sources.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_builders import image_folders, user_images
from data_builders.raw_images import RawImages, datasets
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue
from unlearnkit.core.file_digest import file_digest
from unlearnkit.core.registry import Registry


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: `load()` reads it (RawImages or RawTexts), `files()` lists the files that it reads,
    `code` is the function whose code it depends on."""

    name: str
    load: Callable
    files: Callable[[], list[Path]]
    code: Callable
    licence: str
    source: str

    def fingerprint(self) -> dict[str, str]:
        """{path of a file below the folder common to all: hash of its content}. Stored tasks depend on it."""
        files = self.files()
        base = os.path.commonpath([path.parent for path in files]) if files else ""
        hashed = {path: file_digest(path)[:20] for path in files}
        return {path.relative_to(base).as_posix(): digest for path, digest in hashed.items()}


def find(name: str) -> Source:
    """The dataset registered as `name`; or else, if `name` is a folder or ends in .npz or .parquet, that set of your
    own.

    Raises UnknownName with the nearest name, BadValue if there is no such file.
    """
    return find_source(name, datasets, user_images)


def load(name: str) -> RawImages:
    """The images of a dataset, by its name or path."""
    return find(name).load()


def find_source(name: str, registry: Registry, user_sets) -> Source:
    """A registered set, or one of the user's own. user_sets: the module that has `is_path(name)` and `read(path)`."""
    if name not in registry and user_sets.is_path(name):
        path = _resolve(name)
        own = paths.dataset_id(name)
        return Source(own, lambda: user_sets.read(path), lambda: _files(path), user_sets.read, "your own", path.name)
    entry = registry[name]
    files = entry.info.get("files") or (lambda: [])
    return Source(name, entry.function, files, entry, entry.info["licence"], entry.info["source"])


def _resolve(name: str) -> Path:
    """The file or folder, looked for in `UNLEARNKIT_DATA`, then in the working directory, then in the project's folder."""
    for folder in (paths.data(), Path.cwd(), paths.root()):
        if (path := folder / paths.at(name)).exists():
            return path.resolve()
    raise BadValue(
        f"there is no data set at {name!r}: not in UNLEARNKIT_DATA, the working directory or the project's folder"
    )


def _files(path: Path) -> list[Path]:
    return image_folders.files(path) if path.is_dir() else [path]
