"""A mixed task: every target has its own kind, number and similarity of near-duplicates, all in one training set.

One model then carries the whole dose-response: targets hardly touch each other where they are few among many images.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from data_builders.arms import Arm, by_arm, mixed_sizes, parse_arms
from data_builders.build_task import MIX, perturbed
from data_builders.perturbations import perturbations
from data_builders.raw_images import RawImages
from data_builders.similarity import MEASURES
from data_builders.task import VALIDATION_SHARE, SimilarityTask, role_column
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

    labels = {kind: _labels(raw, kind, rows, seed) for kind, (rows, _) in drawn.items()}
    control, others = _images_for_controls(raw, parsed, drawn, others)
    n_targets, larger = sum(arm.n_targets for arm in parsed), "a larger pool (0 takes all images)"
    n_filler, n_similar = mixed_sizes(parsed, train_size, len(others), len(raw.x), larger)
    filler, refill = others[:n_filler], others[n_filler : n_filler + n_similar]
    validation = others[n_filler + n_similar :][: train_size // VALIDATION_SHARE]

    targets, similar, strengths = _arms(raw, parsed, drawn, labels, control, raw.x[others[:MIX]], seed)
    decoys = [_decoys(raw, parsed, kind, rows, seed) for kind, (_, rows) in drawn.items()]
    parts = {
        "target": targets,
        "similar": similar,
        "filler": _plain(raw, filler),
        "decoy": tuple(torch.cat(v) for v in zip(*decoys, strict=True)),
        "test": (raw.test_x, raw.test_y, raw.test_ids, torch.full_like(raw.test_y, -1)),
        "validation": _plain(raw, validation),
        "refill": _plain(raw, refill),
    }
    role = role_column((name, len(part[1])) for name, part in parts.items())
    x, y, source, arm = (torch.cat([part[i] for part in parts.values()]) for i in range(4))
    facts = dict(raw.facts) | {"arms": [arm.as_dict() for arm in parsed]}
    anchors = torch.arange(n_targets).repeat_interleave(
        torch.tensor([a.copies for a in parsed for _ in range(a.n_targets)])
    )
    pairs = _pairs(x, anchors, n_targets, [parsed[i].perturbation for i in arm[anchors]], strengths)
    return SimilarityTask(x, y, role, source, pairs, raw.n_classes, facts, arm.to(torch.int16)).check()


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


def _labels(raw: RawImages, kind: str, rows: Tensor, seed: int, *purpose: str) -> Tensor:
    if kind != "canary":
        return raw.y[rows].clone()
    shift = torch.randint(1, raw.n_classes, (len(rows),), generator=generator(seed, "canary", *purpose))
    return (raw.y[rows] + shift) % raw.n_classes


def _plain(raw: RawImages, rows: Tensor) -> tuple[Tensor, ...]:
    return raw.x[rows], raw.y[rows], raw.ids[rows], torch.full_like(rows, -1)


def _decoys(raw: RawImages, arms: list[Arm], kind: str, rows: Tensor, seed: int) -> tuple[Tensor, ...]:
    first = next(i for i, arm in enumerate(arms) if arm.targets == kind)
    return raw.x[rows], _labels(raw, kind, rows, seed, "decoys"), raw.ids[rows], torch.full_like(rows, first)


def _images_for_controls(
    raw: RawImages, arms: list[Arm], drawn: Mapping[str, tuple[Tensor, Tensor]], others: Tensor
) -> tuple[dict[int, Tensor], Tensor]:
    """({arm: rows of other images, those for one target together}, the others that are left)."""
    chosen: dict[int, Tensor] = {}
    for i, arm, part in by_arm(arms):
        if not arm.name:
            continue
        rows = []
        for target in drawn[arm.targets][0][part]:
            same = others[raw.y[others] == raw.y[target]][: arm.copies]
            if len(same) < arm.copies:
                raise BadValue(
                    f"the control needs {arm.copies} other images of class {int(raw.y[target])}, {len(same)} are left"
                )
            others = others[~torch.isin(others, same)]
            rows.append(same)
        chosen[i] = torch.cat(rows)
    return chosen, others


def _arms(raw, arms, drawn, labels, control, fillers, seed):
    """(targets, similar, strengths): each of the first two x, labels, ids and arm, arm by arm, in one order."""
    targets, similar, strengths = [], [], []
    for i, arm, part in by_arm(arms):
        rows, own = drawn[arm.targets][0][part], labels[arm.targets][part]
        targets.append((raw.x[rows], own, raw.ids[rows], torch.full_like(rows, i)))
        entry = perturbations[arm.perturbation]
        how = (arm.strength, arm.similarity_level, entry.resolve(dict(arm.perturbation_options)), fillers)
        if i in control:
            sources = control[i]
            made, reached = perturbed(entry, raw.x[sources], 1, *how, derive(seed, "arm", i))
        else:
            sources = rows.repeat_interleave(arm.copies)
            made, reached = perturbed(entry, raw.x[rows], arm.copies, *how, derive(seed, "arm", i))
        similar.append((made, own.repeat_interleave(arm.copies), raw.ids[sources], torch.full_like(sources, i)))
        strengths.append(reached)
    joined = [tuple(torch.cat(v) for v in zip(*parts, strict=True)) for parts in (targets, similar)]
    return *joined, torch.cat(strengths)


def _pairs(x: Tensor, anchors: Tensor, n_targets: int, names: list[str], strengths: Tensor) -> pd.DataFrame:
    """One row per target and each of its near-duplicates, which stand behind all targets in the targets' order."""
    similar = n_targets + torch.arange(len(anchors))
    table = pd.DataFrame(
        {"anchor": anchors.numpy(), "similar": similar.numpy(), "perturbation": names, "strength": strengths.numpy()}
    )
    for name, measure in MEASURES.items():
        table[name] = measure(x[anchors], x[similar]).numpy() if len(anchors) else pd.Series(dtype="float32")
    return table
