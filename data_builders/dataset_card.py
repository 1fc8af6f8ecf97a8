"""The dataset card of an exported task: README.md, as the Hugging Face hub reads it."""

import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
import torch

from data_builders.similarity import MEASURES
from data_builders.task import ROLES, TRAINED_ON, SimilarityTask

SAMPLES, PAIRS = "samples.parquet", "pairs.parquet"
LICENCES = {"MIT": "mit", "CC BY 4.0": "cc-by-4.0", "CC BY-SA 3.0": "cc-by-sa-3.0"}  # our name: the hub's
MEANING = (  # of each of ROLES
    "to be forgotten",
    "near-duplicate of a target; stays in training",
    "the rest of the training set",
    "drawn like a target, never trained on",
    "near-duplicate of a decoy, never trained on",
    "held out, never trained on",
    "held out like test, for methods and tuning that look at unseen images",
    "takes the near-duplicates' place in the training set of `clean`",
)
CARD = """---
{head}
---

# {title}

{n} images of {n_classes} classes, {shape} (channels, height, width). A trained model is to forget some of them, the
targets, while near-duplicates stay in training: does unlearning, or retraining without the targets, remove the targets'
influence?

`samples.parquet`: `id` (row number), `image` (PNG, lossless), `label` (what is trained on, not always the true class),
`role`, `source` (id of the raw image that it is or was made from){arm}. `pairs.parquet`: one row per target or decoy
(`anchor`) and each of its near-duplicates (`similar`), both ids, with `perturbation`, `strength` and the measures below.

{roles}

Three reference models: {trained}.

## How to load it

{load}
```python
import io, pandas as pd, PIL.Image
samples = pd.read_parquet("path/to/this/folder/samples.parquet")
pairs = pd.read_parquet("path/to/this/folder/pairs.parquet")
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


def card(task: SimilarityTask, info: Mapping) -> str:
    """The text of README.md: front matter for the hub, then a description for people. info: the content of
    task.json."""
    facts, made, n = info["facts"], info["made"], len(task.x)
    title = f"Similar-sample unlearning: {facts.get('dataset', 'images')}"
    licence = str(facts.get("licence", "none stated"))
    head = {"license": LICENCES.get(licence, "other")}
    if head["license"] == "other":
        head["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.")
    tables = {"samples": SAMPLES} | ({"pairs": PAIRS} if len(task.pairs) else {})  # `datasets` cannot load empty tables
    configs = [{"config_name": k, "data_files": v, "default": k == "samples"} for k, v in tables.items()]
    head |= {"pretty_name": title, "tags": ["machine-unlearning"], "configs": configs}
    load = [f'{k} = load_dataset("path/to/this/folder", "{k}", split="train")' for k in tables]
    of_class = torch.bincount(task.y * len(ROLES) + task.role, minlength=task.n_classes * len(ROLES))
    counts = [[label, *row, sum(row)] for label, row in enumerate(of_class.view(-1, len(ROLES)).tolist())]
    if names := facts.get("classes"):
        counts = [[f"{label} ({_json(name)})", *row] for (label, *row), name in zip(counts, names)]
    described = {name: inspect.getdoc(measure.function).splitlines()[0] for name, measure in MEASURES.items()}
    measured = [name for name in task.pairs if name not in ("anchor", "similar", "perturbation", "strength")]
    measures = [
        f"`{name}`: {described.get(name, 'see how it was made.')}\n\n{_histogram(task.pairs[name])}"
        for name in (measured if len(task.pairs) else [])
    ]
    return CARD.format(
        head="\n".join(f"{k}: {_json(v)}" for k, v in head.items()),  # JSON is YAML
        title=title,
        arm=", `arm` (which of the fact `arms`, below; -1 for none)" if task.arm is not None else "",
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
    table = [[v if isinstance(v, str) else _json(v) for v in row] for row in (head, ["---"] * len(head), *rows)]
    table = [[v.replace("|", "\\|").replace("\n", " ") for v in row] for row in table]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _histogram(values: pd.Series) -> str:
    """Ten equal bins from minimum to maximum; each value that is not finite has a row of its own."""
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
