"""An image task: which samples are targets, near-duplicates of them, filler, decoys, test and validation."""

from itertools import count, islice

import pandas as pd
import torch
from torch import Tensor

from data_builders.arms import enough
from data_builders.backdoor import with_patch
from data_builders.natural_neighbours import neighbours
from data_builders.perturbations import perturbations
from data_builders.raw_images import RawImages, to_bytes
from data_builders.select_targets import WHOLE, Targets, select_targets
from data_builders.similarity import MEASURES
from data_builders.similarity_level import parse, search
from data_builders.task import VALIDATION_SHARE, SimilarityTask, linked_rows, role_column, unit
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Entry

N_DECOYS = 200  # on which targets are standardised: a scale, and a rank, of fewer is mostly noise
MIX = 1000  # fillers that a copy may be mixed with: the same for every number of copies, so that copies stay the same


def build_task(
    raw: RawImages,
    *,
    targets: Targets = "random",
    n_targets: int = 12,
    forget_ids: list[int | str] = (),
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
    """The similar-sample task of one seed.

    targets, n_targets, forget_ids: see data_builders.select_targets; copies: near-duplicates per target; perturbation,
    strength: see data_builders.perturbations; similarity_level: a measured similarity instead of a strength, "ssim~0.6";
    difficulty: (n,) held-out loss in nats, for hard targets; features: (n, width), for feature_neighbours.

    As many decoys are drawn like the targets, get near-duplicates like the targets, and are never trained on. Of random,
    spread and canary targets there are more decoys, without near-duplicates, N_DECOYS if the pool has them left. The
    training set keeps its size: each near-duplicate takes a filler's place, and in `clean`'s an image of the role "refill"
    takes that of each near-duplicate. A seed's targets and decoys are the same for
    every number of copies and strength, and so are its first fillers where copies are made. Near-duplicates that are
    found among real images keep their own label, and are no filler. Validation images are real ones that are left over
    in the pool, the targets' classes included: some methods and all tuning look at them.

    Raises BadValue, naming the culprit, for values out of range and for more samples than the pool has.
    """
    entry = perturbations[perturbation]
    options = entry.resolve(perturbation_options or {})
    _check(raw, strength, similarity_level, entry)
    selection = select_targets(raw, targets, n_targets, list(forget_ids), copies, train_size, seed, difficulty)
    n, labels, others = len(selection.targets), selection.labels, selection.others
    rows = torch.cat([selection.targets, selection.decoys])
    x = torch.cat([raw.x[rows], raw.test_x[selection.test_decoys]])  # the anchors: targets, then decoys
    ids = torch.cat([raw.ids[rows], raw.test_ids[selection.test_decoys]])
    facts = dict(raw.facts)
    if targets == "backdoor":  # targets, decoys and their near-duplicates carry the patch
        x, facts["attack_class"] = with_patch(x), int(labels[0])
    natural = others[:0]
    if entry.info["natural"]:
        if targets in WHOLE:
            raise BadValue(f"{perturbation} finds neighbours of single images: it does not go with whole classes")
        vectors = entry(raw.x, features, **options)
        natural = neighbours(vectors, raw.y, rows, others, copies, strength, options["same_class"]).flatten()
        others = others[~torch.isin(others, natural)]
        similar = (raw.x[natural], raw.y[natural], raw.ids[natural])
        strengths = torch.full((len(natural),), float(strength))
    else:
        made, strengths = perturbed(entry, x, copies, strength, similarity_level, options, raw.x[others[:MIX]], seed)
        similar = (made, labels.repeat_interleave(copies), ids.repeat_interleave(copies))
    m = n * copies
    n_filler = enough(train_size, train_size - n - m, m, len(others), len(raw.x), "a larger pool (0 takes all images)")
    filler, refill = others[:n_filler], others[n_filler : n_filler + m]
    validation = _unused(raw, torch.cat([rows, filler, refill, natural]), seed)[: train_size // VALIDATION_SHARE]
    test = selection.test
    more, more_labels = _more_decoys(
        raw, targets, torch.cat([rows, filler, refill, validation, natural]), len(x) - n, seed
    )
    parts = [
        ("target", x[:n], labels[:n], ids[:n]),
        ("similar", *(v[:m] for v in similar)),
        ("filler", raw.x[filler], raw.y[filler], raw.ids[filler]),
        ("decoy", x[n:], labels[n:], ids[n:]),
        ("decoy", raw.x[more], more_labels, raw.ids[more]),
        ("decoy_similar", *(v[m:] for v in similar)),
        ("test", raw.test_x[test], raw.test_y[test], raw.test_ids[test]),
        ("validation", raw.x[validation], raw.y[validation], raw.ids[validation]),
        ("refill", raw.x[refill], raw.y[refill], raw.ids[refill]),
    ]
    role = role_column((part[0], len(part[1])) for part in parts)
    x, y, source = (torch.cat([part[i] for part in parts]) for i in (1, 2, 3))
    pairs = _pairs(x, role, copies, perturbation, strengths)
    return SimilarityTask(x, y, role, source, pairs, raw.n_classes, facts).check()


def _unused(raw: RawImages, used: Tensor, seed: int) -> Tensor:
    """The rest of the pool, in random order."""
    order = torch.randperm(len(raw.x), generator=generator(seed, "validation"))
    return order[~torch.isin(order, used)]


def _more_decoys(raw: RawImages, targets: str, used: Tensor, there: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of unused images, and the labels they get as decoys beside the `there` that are there."""
    if targets not in ("random", "spread", "canary"):
        return used[:0], raw.y[:0]
    order = torch.randperm(len(raw.x), generator=generator(seed, "decoys"))
    rows = order[~torch.isin(order, used)][: max(N_DECOYS - there, 0)]
    shift = torch.randint(1, raw.n_classes, (len(rows),), generator=generator(seed, "canary", "decoys"))
    return rows, (raw.y[rows] + shift) % raw.n_classes if targets == "canary" else raw.y[rows]


def _check(raw: RawImages, strength: float, similarity_level: str, entry: Entry) -> None:
    if not 0 <= strength <= 1:
        raise BadValue(f"{entry.name}: strength is {entry.info['strength']}, from 0 to 1, got {strength}")
    if similarity_level and entry.info["natural"]:
        raise BadValue(f"{entry.name} finds real images, whose similarity is given: leave similarity_level empty")
    if raw.n_classes < 2:
        raise BadValue(f"a dataset needs at least 2 classes, this one has {raw.n_classes}")
    present = set(raw.y.unique().tolist())
    if number := raw.n_classes - len(present):
        missing = list(islice((label for label in count() if label not in present), min(number, 10)))
        more = f" and {number - 10:,} more" if number > 10 else ""
        raise BadValue(f"the dataset says it has {raw.n_classes} classes, but has no training image of {missing}{more}")


def perturbed(
    entry: Entry,
    images: Tensor,
    copies: int,
    strength: float,
    similarity_level: str,
    options: dict,
    fillers: Tensor,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """(near-duplicates, (images x copies, ...) uint8, those of one image together; their strengths)."""
    made, strengths = [images[:0]], [torch.empty(0)]
    level = parse(similarity_level) if similarity_level else None
    for number, image in enumerate(images if copies else []):
        floats = unit(image)

        def make(strength: Tensor, draw: int = 0, floats=floats, number=number) -> Tensor:
            labels = ("copies", entry.name, number, draw) if draw else ("copies", entry.name, number)
            return entry(floats, strength, generator(seed, *labels), fillers, **options)

        if level:
            pixels, reached = search(make, image, level, copies, entry.name)
        else:
            reached = torch.full((copies,), float(strength))
            pixels = to_bytes(make(reached))
        made.append(pixels)
        strengths.append(reached)
    return torch.cat(made), torch.cat(strengths)


def _pairs(x: Tensor, role: Tensor, copies: int, perturbation: str, strengths: Tensor) -> pd.DataFrame:
    """One row per target or decoy and each of its near-duplicates, with every measure."""
    anchor, similar = linked_rows(role, copies)
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
