"""A similar-sample task as a folder of Parquet files with a dataset card, to be used without this package.

samples.parquet: id, image (PNG, as the Hugging Face hub stores images), label, role, source. pairs.parquet: the pair
table. task.json: what these two do not hold, and their sha256. README.md: the dataset card; it is never read back.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd
import torch

from data_builders.dataset_card import PAIRS, SAMPLES, card
from data_builders.image_files import decode
from data_builders.task import ROLES, SimilarityTask
from unlearnkit.core import paths
from unlearnkit.core.disk import explained
from unlearnkit.core.documents import read_json
from unlearnkit.core.errors import BadValue
from unlearnkit.core.own_files import folder_beside, place_new, strangers

FORMAT, TASK = 1, "task.json"
REST = "task.json without its sha256"  # keys sorted, as json.dumps writes it


def export(task: SimilarityTask, folder: Path, *, made: Mapping | None = None) -> Path:
    """Write `task` into `folder`, which must be new or empty, completely or not at all; returns the folder.

    made: the parameters it was built with, plain values; of local paths among them only the file's name is kept.
    An empty folder stays the same folder. Raises BadValue for one that is not empty, StoreError for one that cannot be
    written, BadValue for a task that `load_export` could not read back equal.
    """
    folder, info = paths.at(folder).resolve(), _describe(task, made)
    not_empty = BadValue(
        f"{folder.name} exists and is not empty: nothing was overwritten. Name another folder, or empty it"
    )
    with explained("the export", folder):
        if os.path.lexists(folder) and (not folder.is_dir() or strangers(folder)):
            raise not_empty
        with folder_beside(folder) as part:
            _write_samples(task, part / SAMPLES)
            task.pairs.to_parquet(part / PAIRS)
            info["sha256"] = _hashes(part, info)
            (part / TASK).write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            (part / "README.md").write_text(card(task, info), encoding="utf-8")
            try:
                place_new(part, folder)
            except FileExistsError as error:  # another process wrote to it meanwhile
                raise not_empty from error
    return folder


def load_export(folder: Path) -> SimilarityTask:
    """The exported task: equal tensors, pairs, facts. Raises BadValue for missing, damaged or newer files."""
    folder = paths.at(folder)
    for name in (TASK, SAMPLES, PAIRS):
        if not (folder / name).is_file():
            raise BadValue(f"{folder.name} has no {name}: it is not an exported task, or an incomplete one")
    try:
        info = read_json(folder / TASK)
        version, hashes = info["format"], dict(info["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue(f"{TASK} in {folder.name} is damaged, or not an exported task's: {error!r}") from error
    if version != FORMAT:
        raise BadValue(f"{folder.name} is of another version: its format is {version!r}, the one read here is {FORMAT}")
    if damaged := [name for name, sha256 in _hashes(folder, info).items() if hashes.get(name) != sha256]:
        names = " and ".join(name.split()[0] for name in damaged)
        raise BadValue(f"{names} in {folder.name} is damaged: its content is not what was written")
    try:
        *tensors, arm = _read_samples(folder / SAMPLES, info["shape"])
        pairs = pd.read_parquet(folder / PAIRS).astype(info["pairs"])
        task = SimilarityTask(*tensors, pairs, info["n_classes"], info["facts"], arm)  # type: ignore[call-arg]
        digest = task.digest()
        equal = digest == info["digest"]
    except Exception as error:  # a reader of foreign bytes may raise anything
        raise BadValue(f"{folder.name} was written by another version, and cannot be read: {error!r}") from error
    if not equal:
        raise BadValue(f"{folder.name} is of another version: its digest is {info['digest']}, and reads as {digest}")
    return task


def _describe(task: SimilarityTask, made: Mapping | None) -> dict:
    """The content of task.json without the hashes. Raises BadValue for a task that could not be read back equal."""
    n, *shape = task.x.shape
    if len(shape) != 3 or shape[0] not in (1, 3) or 0 in shape:
        raise BadValue(f"images must be (n, 1 or 3 channels, height, width) to become PNG, got {tuple(task.x.shape)}")
    tensors = {"x": (torch.uint8, 256), "y": (torch.int64, task.n_classes), "role": (torch.int8, len(ROLES))}
    for name, (dtype, end) in (tensors | {"source": (torch.int64, None)}).items():
        v = getattr(task, name)
        if v.dtype != dtype or len(v) != n or (end and n and not 0 <= int(v.min()) <= int(v.max()) < end):
            raise BadValue(f"{name} must be {n} of {dtype}{f' below {end}' if end else ''}, got {len(v)} of {v.dtype}")
    for name, value in task.facts.items():
        if _plain({name: value}) != {name: value}:
            raise BadValue(f"fact {name!r} must be a plain value and no local path to be exported, got {value!r}")
    counts = {role: len(task.index(role)) for role in ROLES} | {"pairs": len(task.pairs)}
    dtypes = {name: str(dtype) for name, dtype in task.pairs.dtypes.items()}
    info = {"format": FORMAT, "n_classes": task.n_classes, "shape": shape, "counts": counts, "digest": task.digest()}
    info |= {"facts": dict(task.facts), "made": None if made is None else _plain(made), "pairs": dtypes}
    try:
        json.dumps(info, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadValue(f"facts and made must be plain values to be exported: {error}") from error
    return info


def _plain(value: object) -> object:
    """The value as JSON reads it back; local paths without their folders."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    text = str(value) if isinstance(value, str | Path) else ""
    local = text.startswith(("/", "~", "..")) or PureWindowsPath(text).is_absolute()
    return PureWindowsPath(text).name if local else text or value  # splits at / and at \\


def _hashes(folder: Path, info: Mapping) -> dict[str, str]:
    """sha256 of the two Parquet files, and of task.json without its hashes."""
    parts = {name: (folder / name).read_bytes() for name in (SAMPLES, PAIRS)}
    parts[REST] = json.dumps({k: v for k, v in info.items() if k != "sha256"}, sort_keys=True).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}


def _write_samples(task: SimilarityTask, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    def png(image: np.ndarray) -> dict:
        file = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy()).save(file, "png")
        return {"bytes": file.getvalue(), "path": None}

    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    types = {"id": pa.int64(), "image": picture, "label": pa.int64(), "role": pa.string(), "source": pa.int64()}
    if task.arm is not None:
        types["arm"] = pa.int16()
    features = {k: {"dtype": str(t), "_type": "Value"} for k, t in types.items()} | {"image": {"_type": "Image"}}
    schema = pa.schema(types, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    rows = max(min(2**27 // task.x[0].numel(), 1000), 1) if len(task.x) else 1  # Arrow holds 2 GiB per array at most
    with pq.ParquetWriter(path, schema) as file:
        for i in range(0, len(task.x), rows):
            x, y, role, source = (v[i : i + rows].numpy() for v in (task.x, task.y, task.role, task.source))
            columns = [np.arange(i, i + len(x)), [png(image) for image in x], y, [ROLES[r] for r in role], source]
            if task.arm is not None:
                columns.append(task.arm[i : i + rows].numpy())
            file.write_batch(pa.RecordBatch.from_pydict(dict(zip(types, columns)), schema))


def _read_samples(path: Path, shape: list[int]) -> list[torch.Tensor | None]:
    """x, y, role, source, and the arm of each sample of a mixed task, else None. shape: (channels, height, width)."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = [name for name in ("label", "role", "source", "arm") if name in file.schema_arrow.names]
        x, row, parts = np.empty((file.metadata.num_rows, *shape), np.uint8), 0, {name: [] for name in names}
        for batch in file.iter_batches(1000, columns=["image", *names]):
            for png in batch["image"].field("bytes"):
                x[row], row = decode(png.as_py(), f"{path.name}, row {row}").numpy(), row + 1
            for name, part in parts.items():
                part.extend(batch[name].to_pylist())
    role = torch.tensor([ROLES.index(r) for r in parts["role"]], dtype=torch.int8)
    y, source = (torch.tensor(parts[name], dtype=torch.int64) for name in ("label", "source"))
    return [
        torch.from_numpy(x),
        y,
        role,
        source,
        torch.tensor(parts["arm"], dtype=torch.int16) if "arm" in parts else None,
    ]
