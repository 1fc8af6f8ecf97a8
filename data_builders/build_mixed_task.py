"""A mixed task: every target has its own kind, number and similarity of near-duplicates, all in one training set.

One model then carries the whole dose-response: targets hardly touch each other where they are few among many images.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from data_builders.anchors import MIX, of_pool, with_copies, without_copies
from data_builders.arms import Arm, by_arm, parse_arms, set_aside, share_out
from data_builders.assemble import assemble
from data_builders.build_task import LARGER
from data_builders.raw_images import RawImages
from data_builders.select_targets import given_labels
from data_builders.task import VALIDATION_SHARE, SimilarityTask
from unlearnkit.core.compute import derive, generator
from unlearnkit.core.errors import BadValue

MEMORISED = 0.5  # how much likelier a memorised sample is labelled right by models that were trained on it


def build_mixed_task(
    raw: RawImages,
    *,
    arms: Sequence[Mapping | Arm],
    n_decoys: int,
    train_size: int,
    seed: int,
    memorisation: Tensor | None = None,
) -> SimilarityTask:
    """The mixed task of one seed.

    arms: see data_builders.arms; n_decoys: of each kind of target, drawn and labelled like it, without near-duplicates,
    never trained on; train_size: of `original`, targets and near-duplicates included; memorisation: (n,) of each image
    of the pool, how much likelier models trained on it label it right; for memorised targets.

    Kinds are disjoint, also from all decoys; other seeds draw other targets and decoys as long as the pool has them.
    `clean` is refilled: images of the role "refill" take the near-duplicates' place, so that it is as large as
    `retrain`. `arm` of a target or near-duplicate is the place of its arm in the list, of a decoy that of the first arm
    of its kind; all other samples have -1. Validation images are left over in the pool.

    Raises BadValue, with a way out, for more samples than the pool has, and without `memorisation` where it is needed.
    """
    parsed = parse_arms(arms)
    if n_decoys < 1:
        raise BadValue(f"n_decoys must be at least 1, got {n_decoys}: targets are measured against decoys")
    drawn = _draw(raw, parsed, n_decoys, seed, memorisation)
    used = torch.cat([torch.cat(pair) for pair in drawn.values()])
    order = torch.randperm(len(raw.x), generator=generator(seed, "draw"))
    others = order[~torch.isin(order, used)]

    y = raw.y.tolist()
    controls = [(arm.copies, drawn[arm.targets][0][part].tolist()) for _, arm, part in by_arm(parsed) if arm.name]
    wanted = [(row, copies) for copies, rows in controls for row in rows]
    control, left = set_aside(wanted, others.tolist(), lambda a, b: y[a] == y[b], "other images of its class")
    others = torch.tensor(left)
    doses = [(arm.n_targets, arm.copies) for arm in parsed]
    filler, refill, rest = share_out(others, doses, train_size, len(raw.x), LARGER)
    labels = {kind: given_labels(raw, kind, rows, seed) for kind, (rows, _) in drawn.items()}
    targets = []
    for i, arm, part in by_arm(parsed):
        rows = drawn[arm.targets][0][part]
        of = (
            of_pool(raw, torch.tensor([other for row in rows.tolist() for other in control[row]])) if arm.name else None
        )
        images = of_pool(raw, rows, labels[arm.targets][part])
        targets.append(with_copies(images, arm, raw.x[others[:MIX]], derive(seed, "arm", i), of=of, place=i))
    decoys = []
    for kind, (_, rows) in drawn.items():
        first = next(i for i, arm in enumerate(parsed) if arm.targets == kind)
        decoys.append(without_copies(of_pool(raw, rows, given_labels(raw, kind, rows, seed, "decoys")), first))
    held = {"filler": filler, "validation": rest[: train_size // VALIDATION_SHARE], "refill": refill}
    return assemble(raw, targets, decoys, held, torch.arange(len(raw.test_x)), raw.facts, parsed)


def _draw(
    raw: RawImages, arms: list[Arm], n_decoys: int, seed: int, memorisation: Tensor | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """{kind: (rows of its targets, rows of its decoys)} in the order of the arms' kinds, memorised ones drawn first."""
    kinds = list(dict.fromkeys(arm.targets for arm in arms))
    n = {kind: sum(arm.n_targets for arm in arms if arm.targets == kind) for kind in kinds}
    drawn: dict[str, tuple[Tensor, Tensor]] = {}
    candidates = _candidates(raw, memorisation, n["memorised"] + n_decoys) if "memorised" in kinds else None
    for kind in sorted(kinds, key=lambda kind: kind != "memorised"):
        if kind == "memorised":
            pool = candidates
        else:
            pool = torch.randperm(len(raw.x), generator=generator(0, "mixed", kind))
            taken = [v for pair in drawn.values() for v in pair]
            if candidates is not None:  # those of other seeds, too: a kind keeps to its own images
                taken.append(candidates)
            if taken:
                pool = pool[~torch.isin(pool, torch.cat(taken))]
            halves = [k for k in kinds if k != "memorised"]  # disjoint parts of the pool
            pool = pool[pool % len(halves) == halves.index(kind)]
        size = n[kind] + n_decoys
        if len(pool) < size:
            raise BadValue(
                f"{n[kind]} {kind} targets and {n_decoys} decoys need {size} images, the pool has {len(pool)} for them: use "
                "fewer targets or decoys, or a larger pool (0 takes all images)"
            )
        slices = len(pool) // size
        start = (seed % slices) * size
        rows = pool[start : start + size]
        if seed >= slices:  # no disjoint part is left: shuffled, so that it is not the same task
            rows = pool[torch.randperm(len(pool), generator=generator(seed, "mixed", kind))[:size]]
        drawn[kind] = (rows[: n[kind]], rows[n[kind] :])
    return {kind: drawn[kind] for kind in kinds}


def _candidates(raw: RawImages, memorisation: Tensor | None, at_least: int) -> Tensor:
    """Rows of the pool's memorised images, in an order of their own."""
    if memorisation is None or len(memorisation) != len(raw.x):
        raise BadValue("memorised targets need `memorisation` of each image of the pool: unlearnkit.study passes it")
    rows = (memorisation >= MEMORISED).nonzero().squeeze(1)
    if len(rows) < at_least:
        raise BadValue(
            f"{at_least} memorised targets and decoys are asked for, and {len(rows)} of the pool's {len(raw.x)} images are "
            f"memorised (labelled right by {MEMORISED:.0%} more of the models that were trained on them): use fewer, a "
            "larger pool, or a model and recipe that memorise more"
        )
    return rows[torch.randperm(len(rows), generator=generator(0, "mixed", "memorised"))]
