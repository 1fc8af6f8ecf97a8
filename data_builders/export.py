"""A similar-sample task as a folder of Parquet files with a dataset card, for those who do not have this package.

samples.parquet: id, image (PNG, as the Hugging Face hub stores images), label, role, source. pairs.parquet: the pair
table as it is. task.json: what the two do not say, and their sha256. README.md: the card; nothing reads it back.
"""

import errno
import hashlib
import inspect
import io
import json
import math
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd
import torch

from unlearnkit.errors import BadValue
from unlearnkit.similarity import MEASURES
from unlearnkit.task import ROLES, TRAINED_ON, SimilarityTask

FORMAT, SAMPLES, PAIRS, TASK = 1, "samples.parquet", "pairs.parquet", "task.json"
REST = "task.json without its sha256"  # keys sorted, as json.dumps writes it
LICENCES = {"MIT": "mit", "CC BY 4.0": "cc-by-4.0", "CC BY-SA 3.0": "cc-by-sa-3.0"}  # as facts say it: as the hub does
MEANING = (  # of each of ROLES
    "to be forgotten",
    "linked to a target as similar to it, and stays in training",
    "the rest of the training set",
    "drawn like a target, never trained on",
    "linked to a decoy as similar samples are to a target, never trained on",
    "held out, never trained on",
)
CARD = """---
{head}
---

# {title}

{n} images of {n_classes} classes, {shape} (channels, height, width). Some are to be forgotten by a trained model, while
images similar to them stay in training: does unlearning, or retraining without the targets, remove their influence?

`samples.parquet`: `id` (row number), `image` (PNG, lossless), `label` (what is trained on, not always the true class),
`role`, `source` (id of the raw image that it is or was made from). `pairs.parquet`: one row per target or decoy (`anchor`)
and each sample `similar` to it, both ids, with `kind`, `strength` and the measures below.

{roles}

Three reference models: {trained}.

## How to load it

{load}
```python
import io, pandas as pd, PIL.Image
samples, pairs = pd.read_parquet("path/to/this/folder/samples.parquet"), pd.read_parquet("path/to/this/folder/pairs.parquet")
image = PIL.Image.open(io.BytesIO(samples.image[0]["bytes"]))
```

`datasets` names the only split of a table `train`: it holds all roles, also those never trained on.

## Samples per class and role

{counts}

## How similar they are

{pairs} pairs, of targets and of decoys.

{measures}

## How it was made

{made}

## Licence and source

Licence of the images: {licence}. Source: {source}.

{facts}

## Hashes

The task, as `SimilarityTask.digest()` gives it: {digest}.

{hashes}
"""


def export(task: SimilarityTask, folder: Path, *, made: Mapping | None = None) -> Path:
    """Write `task` into `folder`, which must be new or empty, whole or not at all; returns the folder.

    made: the parameters it was built with, plain values; local paths among them are cut down to the file's name.
    Raises BadValue for a folder that is not empty, and for a task that would not come back equal.
    """
    folder, info = Path(folder).resolve(), _describe(task, made)
    taken = BadValue(f"{folder.name} is there and not empty: nothing was overwritten. Name another folder, or empty it")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise taken
    new = [parent for parent in folder.parents if not parent.exists()]
    part = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        part.mkdir(parents=True)
        _write_samples(task, part / SAMPLES)
        task.pairs.to_parquet(part / PAIRS)
        info["sha256"] = _hashes(part, info)
        (part / TASK).write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (part / "README.md").write_text(_card(task, info), encoding="utf-8")
        part.rename(folder)  # takes the place of an empty folder, never of a full one
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        for parent in new:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise taken from error  # by another process, meanwhile
        raise
    return folder


def load_export(folder: Path) -> SimilarityTask:
    """The task exported to `folder`: equal tensors, pairs, facts. Raises BadValue for what is missing, damaged or newer."""
    folder = Path(folder)
    for name in (TASK, SAMPLES, PAIRS):
        if not (folder / name).is_file():
            raise BadValue(f"{folder.name} has no {name}: it is not an exported task, or not a whole one")
    try:
        info = json.loads((folder / TASK).read_text(encoding="utf-8"))
        version, hashes = info["format"], dict(info["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadValue(f"{TASK} in {folder.name} is damaged, or not an exported task's: {error!r}") from error
    if version != FORMAT:
        raise BadValue(f"{folder.name} is of another version: its format is {version!r}, the one read here is {FORMAT}")
    if damaged := [name for name, found in _hashes(folder, info).items() if hashes.get(name) != found]:
        names = " and ".join(name.split()[0] for name in damaged)
        raise BadValue(f"{names} in {folder.name} is damaged: not what was written")
    try:
        tensors = _read_samples(folder / SAMPLES, info["shape"])
        pairs = pd.read_parquet(folder / PAIRS).astype(info["pairs"])
        task = SimilarityTask(*tensors, pairs, info["n_classes"], info["facts"])
        digest = task.digest()
        same = digest == info["digest"]
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:  # SyntaxError: Pillow's, for a broken PNG
        raise BadValue(f"{folder.name} was written by another version, and cannot be read: {error!r}") from error
    if not same:
        raise BadValue(f"{folder.name} is of another version: its digest is {info['digest']}, and reads as {digest}")
    return task


def _describe(task: SimilarityTask, made: Mapping | None) -> dict:
    """What task.json holds beside the hashes. Raises BadValue for what would not come back equal."""
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
    """As JSON keeps it; local paths without their folders."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    text = str(value) if isinstance(value, str | Path) else ""
    local = text.startswith(("/", "~", "..")) or PureWindowsPath(text).is_absolute()
    return PureWindowsPath(text).name if local else text or value  # takes either kind of slash


def _hashes(folder: Path, info: Mapping) -> dict[str, str]:
    """sha256 of the two Parquet files, and of what task.json says beside these."""
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
    features = {k: {"dtype": str(t), "_type": "Value"} for k, t in types.items()} | {"image": {"_type": "Image"}}
    schema = pa.schema(types, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    rows = max(min(2**27 // task.x[0].numel(), 1000), 1) if len(task.x) else 1  # Arrow holds 2 GiB per array at most
    with pq.ParquetWriter(path, schema) as file:
        for i in range(0, len(task.x), rows):
            x, y, role, source = (v[i : i + rows].numpy() for v in (task.x, task.y, task.role, task.source))
            columns = [np.arange(i, i + len(x)), [png(image) for image in x], y, [ROLES[r] for r in role], source]
            file.write_batch(pa.RecordBatch.from_pydict(dict(zip(types, columns)), schema))


def _read_samples(path: Path, shape: list[int]) -> list[torch.Tensor]:
    """x, y, role, source. shape: (channels, height, width)."""
    import pyarrow.parquet as pq
    from PIL import Image

    with pq.ParquetFile(path) as file:
        x, at, parts = np.empty((file.metadata.num_rows, *shape), np.uint8), 0, [[], [], []]
        for batch in file.iter_batches(1000, columns=["image", "label", "role", "source"]):
            for cell in batch["image"].field("bytes"):
                pixels = np.asarray(Image.open(io.BytesIO(cell.as_py())))
                x[at], at = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1), at + 1
            for part, name in zip(parts, ("label", "role", "source")):
                part.extend(batch[name].to_pylist())
    y, role, source = parts
    role = torch.tensor([ROLES.index(r) for r in role], dtype=torch.int8)
    return [torch.from_numpy(x), torch.tensor(y, dtype=torch.int64), role, torch.tensor(source, dtype=torch.int64)]


def _card(task: SimilarityTask, info: Mapping) -> str:
    facts, made, n = info["facts"], info["made"], len(task.x)
    title = f"Similar-sample unlearning: {facts.get('dataset', 'images')}"
    licence = str(facts.get("licence", "none stated"))
    head = {"license": LICENCES.get(licence, "other")}
    if head["license"] == "other":
        head["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.")
    tables = {"samples": SAMPLES} | ({"pairs": PAIRS} if len(task.pairs) else {})  # `datasets` refuses empty tables
    configs = [{"config_name": k, "data_files": v, "default": k == "samples"} for k, v in tables.items()]
    head |= {"pretty_name": title, "tags": ["machine-unlearning"], "configs": configs}
    load = [f'{k} = load_dataset("path/to/this/folder", "{k}", split="train")' for k in tables]
    of_class = torch.bincount(task.y * len(ROLES) + task.role, minlength=task.n_classes * len(ROLES))
    counts = [[label, *row, sum(row)] for label, row in enumerate(of_class.view(-1, len(ROLES)).tolist())]
    measures = [
        f"`{name}`: {inspect.getdoc(measure.function).splitlines()[0]}\n\n{_histogram(task.pairs[name])}"
        for name, measure in MEASURES.items()
        if name in task.pairs and len(task.pairs)
    ]
    return CARD.format(
        head="\n".join(f"{k}: {_json(v)}" for k, v in head.items()),  # JSON is YAML
        title=title,
        n=n,
        n_classes=task.n_classes,
        shape=" x ".join(map(str, info["shape"])),
        roles=_table(["role", "samples", "what"], [[r, info["counts"][r], m] for r, m in zip(ROLES, MEANING)]),
        trained="; ".join(f"**{model}** is trained on {', '.join(roles)}" for model, roles in TRAINED_ON.items()),
        load="\n".join(["```python", "from datasets import load_dataset", *load, "```\n"]),
        counts=_table(["label", *ROLES, "all"], [*counts, ["all", *(info["counts"][r] for r in ROLES), n]]),
        pairs=len(task.pairs) or "No",
        measures="\n\n".join(measures),
        made=_table(["parameter", "value"], made.items()) if made else "Not recorded.",
        licence=licence,
        source=facts.get("source", "not stated"),
        facts=_table(["fact", "value"], facts.items()) if facts else "",
        digest=info["digest"],
        hashes=_table(["sha256 of", ""], info["sha256"].items()),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _table(head: list[str], rows: Iterable) -> str:
    cells = [[c if isinstance(c, str) else _json(c) for c in row] for row in (head, ["---"] * len(head), *rows)]
    cells = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _histogram(values: pd.Series) -> str:
    """Ten equal bins from the least to the greatest; what is not finite has a row of its own."""
    values = values.to_numpy(np.float64)
    finite = values[np.isfinite(values)]
    edges = np.unique(np.linspace(finite.min(), finite.max(), 11)) if len(finite) else finite
    if len(edges) > 1:
        names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
        rows = dict(zip(names, np.histogram(finite, edges)[0].tolist()))
    else:
        rows = {f"{edge:.4g}": len(finite) for edge in edges}
    rows |= Counter(str(v) for v in values[~np.isfinite(values)])
    most = max(rows.values())
    return _table(["from - to", "pairs", ""], [[k, v, "█" * math.ceil(20 * v / most)] for k, v in rows.items()])
