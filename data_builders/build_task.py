"""Roles: which samples are targets, which are similar to them, which fill up the training set, which are never seen."""

import pandas as pd
import torch
from torch import Tensor

from data_builders import RawImages, to_bytes
from data_builders.backdoor import stamped
from data_builders.natural_neighbours import neighbours
from data_builders.perturbations import perturbations
from data_builders.select_targets import WHOLE, Targets, draw
from data_builders.similarity import MEASURES
from data_builders.similarity_level import parse, search
from data_builders.task import ROLES, SimilarityTask, unit
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Entry

VALIDATION = 5  # as many validation images as a fifth of the training set, if the pool has them left
MIX = 1000  # images that a copy may be mixed with: as many for every number of copies, so that copies stay the same


def build_task(
    raw: RawImages,
    *,
    targets: Targets = "random",
    n_targets: int = 12,
    forget_ids: list[int] = (),
    copies: int = 5,
    perturbation: str = "block_mask",
    strength: float = 0.3,
    similarity_level: str = "",
    perturbation_options: dict | None = None,
    train_size: int = 640,
    seed: int = 0,
    difficulty: Tensor | None = None,
    features: Tensor | None = None,
) -> SimilarityTask:
    """The similar-sample task of one draw.

    targets, n_targets, which: see data_builders.select_targets. As many decoys are drawn like the targets, get similar samples
    like the targets, and are never trained on. degree: a similarity asked for instead of a strength, "ssim~0.6".
    The training set keeps its size: each similar sample takes a filler's place. A seed's targets and decoys are the same
    for every number of copies and strength, and so are its first fillers where copies are made; similar samples that are
    found among real images keep their own label, and are filler no more.
    Validation images are real ones that are left over in the pool, targets' classes included: some methods and all tuning
    look at them.
    difficulty: (n,) held-out loss, for hard targets; features: (n, width), for feature_neighbours.

    Raises BadValue, naming the culprit, for values out of range and for more samples than there are.
    """
    entry = perturbations[perturbation]
    options = entry.resolve(perturbation_options or {})
    _check(raw, copies, strength, similarity_level, entry)
    drawn = draw(raw, targets, n_targets, list(forget_ids), copies, train_size, seed, difficulty)
    n, labels, others = len(drawn.targets), drawn.labels, drawn.others
    rows = torch.cat([drawn.targets, drawn.decoys])
    x = torch.cat([raw.x[rows], raw.test_x[drawn.test_decoys]])  # the anchors: targets, then decoys
    ids = torch.cat([raw.ids[rows], raw.test_ids[drawn.test_decoys]])
    facts = dict(raw.facts)
    if targets == "backdoor":  # targets and decoys carry the patch, and so does what is made from them
        x, facts["attack_class"] = stamped(x), int(labels[0])
    n_filler = train_size - n * (1 + copies)
    if entry.info["natural"]:
        if targets in WHOLE:
            raise BadValue(f"{perturbation} finds neighbours of single images: it does not go with whole classes")
        vectors = entry(raw.x, features, **options)
        found = neighbours(vectors, raw.y, rows, others, copies, strength, options["same_class"]).flatten()
        others = others[~torch.isin(others, found)]
        similar = (raw.x[found], raw.y[found], raw.ids[found])
        strengths = torch.full((len(found),), float(strength))
    else:
        made, strengths = _made(entry, x, copies, strength, similarity_level, options, raw.x[others[:MIX]], seed)
        similar = (made, labels.repeat_interleave(copies), ids.repeat_interleave(copies))
    if len(others) < n_filler:
        raise BadValue(
            f"train_size={train_size} needs {n_filler} fillers, and {len(others)} images are left in the pool of "
            f"{len(raw.x)}: use a smaller train_size or a larger pool"
        )
    filler, m = others[:n_filler], n * copies
    natural = found if entry.info["natural"] else others[:0]
    held = _left(raw, torch.cat([rows, filler, natural]), seed)[: train_size // VALIDATION]
    parts = [
        ("target", x[:n], labels[:n], ids[:n]),
        ("similar", *(v[:m] for v in similar)),
        ("filler", raw.x[filler], raw.y[filler], raw.ids[filler]),
        ("decoy", x[n:], labels[n:], ids[n:]),
        ("decoy_similar", *(v[m:] for v in similar)),
        ("test", raw.test_x[drawn.test], raw.test_y[drawn.test], raw.test_ids[drawn.test]),
        ("validation", raw.x[held], raw.y[held], raw.ids[held]),
    ]
    role = torch.cat([torch.full((len(p[1]),), ROLES.index(p[0]), dtype=torch.int8) for p in parts])
    x, y, source = (torch.cat([p[i] for p in parts]) for i in (1, 2, 3))
    pairs = _pairs(x, role, copies, perturbation, strengths)
    return SimilarityTask(x, y, role, source, pairs, raw.n_classes, facts).check()


def _left(raw: RawImages, used: Tensor, seed: int) -> Tensor:
    """What is left of the pool, in random order."""
    order = torch.randperm(len(raw.x), generator=generator(seed, "validation"))
    return order[~torch.isin(order, used)]


def _check(raw: RawImages, copies: int, strength: float, similarity_level: str, entry: Entry) -> None:
    if copies < 0:
        raise BadValue(f"copies must be 0 or more, got {copies}")
    if not 0 <= strength <= 1:
        raise BadValue(f"{entry.name}: strength is {entry.info['strength']}, from 0 to 1, got {strength}")
    if similarity_level and entry.info["natural"]:
        raise BadValue(f"{entry.name} finds real images, which are as similar as they are: leave degree empty")
    if raw.n_classes < 2:
        raise BadValue(f"a dataset needs at least 2 classes, this one has {raw.n_classes}")
    if missing := set(range(raw.n_classes)) - set(raw.y.unique().tolist()):
        raise BadValue(
            f"the dataset says it has {raw.n_classes} classes, but has no training image of {sorted(missing)}"
        )


def _made(
    entry: Entry,
    images: Tensor,
    copies: int,
    strength: float,
    similarity_level: str,
    options: dict,
    fillers: Tensor,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """(images x copies, ...) uint8, those of one image together, and the strength of each."""
    made, strengths = [images[:0]], [torch.empty(0)]
    wanted = parse(similarity_level) if similarity_level else None
    for number, image in enumerate(images if copies else []):
        floats = unit(image)

        def make(at: Tensor, draw: int = 0, floats=floats, number=number) -> Tensor:
            labels = ("copies", entry.name, number, draw) if draw else ("copies", entry.name, number)
            return entry(floats, at, generator(seed, *labels), fillers, **options)

        if wanted:
            found, at = search(make, image, wanted, copies, entry.name)
        else:
            at = torch.full((copies,), float(strength))
            found = to_bytes(make(at))
        made.append(found)
        strengths.append(at)
    return torch.cat(made), torch.cat(strengths)


def _pairs(x: Tensor, role: Tensor, copies: int, perturbation: str, strengths: Tensor) -> pd.DataFrame:
    """One row per target or decoy and each of its similar samples, with every measure."""
    anchors, similars = [], []
    for of, copied in (("target", "similar"), ("decoy", "decoy_similar")):
        anchors.append((role == ROLES.index(of)).nonzero().squeeze(1).repeat_interleave(copies))
        similars.append((role == ROLES.index(copied)).nonzero().squeeze(1))
    anchor, similar = torch.cat(anchors), torch.cat(similars)
    columns = {
        "anchor": anchor.numpy(),
        "similar": similar.numpy(),
        "perturbation": perturbation,
        "strength": strengths.numpy(),
    }
    table = pd.DataFrame(columns)
    for name, measure in MEASURES.items():
        table[name] = measure(x[anchor], x[similar]).numpy() if len(anchor) else pd.Series(dtype="float32")
    return table
