"""An image task: which samples are targets, near-duplicates of them, filler, decoys, test and validation."""

from itertools import count, islice

import torch
from torch import Tensor

from data_builders.anchors import MIX, Anchors, Images, of_pool, with_copies, without_copies
from data_builders.arms import Arm, share_out
from data_builders.assemble import assemble
from data_builders.backdoor import with_patch
from data_builders.natural_neighbours import neighbours
from data_builders.perturbations import perturbations
from data_builders.raw_images import RawImages
from data_builders.select_targets import WHOLE, Targets, given_labels, select_targets
from data_builders.task import VALIDATION_SHARE, SimilarityTask
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Entry

LARGER = "a larger pool (0 takes all images)"  # the way out where a pool has too few
N_DECOYS = 200  # on which targets are standardised: a scale, and a rank, of fewer is mostly noise


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
    _check(raw, copies, strength, similarity_level, entry)
    selection = select_targets(raw, targets, n_targets, list(forget_ids), train_size, seed, difficulty)
    n, labels, others = len(selection.targets), selection.labels, selection.others
    rows = torch.cat([selection.targets, selection.decoys])
    x = torch.cat([raw.x[rows], raw.test_x[selection.test_decoys]])  # of targets, then decoys
    ids = torch.cat([raw.ids[rows], raw.test_ids[selection.test_decoys]])
    facts = dict(raw.facts)
    if targets == "backdoor":  # targets, decoys and their near-duplicates carry the patch
        x, facts["attack_class"] = with_patch(x), int(labels[0])
    images, natural = Images(x, labels, ids), others[:0]
    if entry.info["natural"]:
        if targets in WHOLE:
            raise BadValue(f"{perturbation} finds neighbours of single images: it does not go with whole classes")
        vectors = entry(raw.x, features, **options)
        natural = neighbours(vectors, raw.y, rows, others, copies, strength, options["same_class"]).flatten()
        others = others[~torch.isin(others, natural)]
    filler, refill, _ = share_out(others, [(n, copies)], train_size, len(raw.x), LARGER)
    if entry.info["natural"]:
        strengths = torch.full((len(natural),), float(strength))
        anchors = Anchors(images, of_pool(raw, natural), strengths, copies, perturbation)
    else:
        arm = Arm("random", n, copies, perturbation, strength, similarity_level, options)  # the kind does not matter
        anchors = with_copies(images, arm, raw.x[others[:MIX]], seed)
    used = torch.cat([rows, filler, refill, natural])
    validation = _unused(raw, used, seed, "validation")[: train_size // VALIDATION_SHARE]
    more = _more_decoys(raw, targets, torch.cat([used, validation]), len(x) - n, seed)
    of_targets, of_decoys = anchors.split(n)
    held = {"filler": filler, "validation": validation, "refill": refill}
    return assemble(raw, [of_targets], [of_decoys, without_copies(more)], held, selection.test, facts)


def _unused(raw: RawImages, used: Tensor, seed: int, purpose: str) -> Tensor:
    """The rest of the pool, in random order."""
    order = torch.randperm(len(raw.x), generator=generator(seed, purpose))
    return order[~torch.isin(order, used)]


def _more_decoys(raw: RawImages, targets: str, used: Tensor, there: int, seed: int) -> Images:
    """Unused images, as decoys beside the `there` that are there."""
    if targets not in ("random", "spread", "canary"):
        return of_pool(raw, used[:0])
    rows = _unused(raw, used, seed, "decoys")[: max(N_DECOYS - there, 0)]
    return of_pool(raw, rows, given_labels(raw, targets, rows, seed, "decoys"))


def _check(raw: RawImages, copies: int, strength: float, similarity_level: str, entry: Entry) -> None:
    if copies < 0:
        raise BadValue(f"copies must be 0 or more, got {copies}")
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
