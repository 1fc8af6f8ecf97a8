"""The assembly of an image task, of one arm or of many: roles, labels, sources, arms, and the table of pairs."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from data_builders.anchors import Anchors, Images, of_pool
from data_builders.arms import Arm, linked_by_arm
from data_builders.raw_images import RawImages
from data_builders.similarity import MEASURES
from data_builders.task import COPIED, ROLES, SimilarityTask, role_column


def assemble(
    raw: RawImages,
    targets: Sequence[Anchors],
    decoys: Sequence[Anchors],
    rows: Mapping[str, Tensor],
    test: Tensor,
    facts: Mapping,
    arms: Sequence[Arm] = (),
) -> SimilarityTask:
    """The task of these samples, checked: raises BadValue as SimilarityTask.check.

    rows: of the pool, (n,) each, in the roles filler, validation and refill; test: (n,) rows of the test set; facts: of the
    dataset card; arms: of a mixed task, whose samples know their arm.
    """
    held_out = Images(raw.test_x[test], raw.test_y[test], raw.test_ids[test])
    groups = {"target": targets, "decoy": decoys}
    parts = {role: [(of_pool(raw, of), -1)] for role, of in rows.items()} | {"test": [(held_out, -1)]}
    for role, group in groups.items():
        parts[role] = [(a.images, a.arm) for a in group]
        parts[COPIED[role]] = [(a.similar, a.arm) for a in group]
    images, arm = zip(*(part for role in ROLES for part in parts[role]), strict=True)
    x, y, source = (torch.cat(column) for column in zip(*images, strict=True))
    role = role_column((role, len(images.y)) for role in ROLES for images, _ in parts[role])
    column = torch.tensor(arm, dtype=torch.int16).repeat_interleave(torch.tensor([len(part.y) for part in images]))
    anchor, similar = linked_by_arm(role, column, {a.arm: a.copies for a in targets})
    pairs = _pairs(x, anchor, similar, sorted([*targets, *decoys], key=lambda a: a.arm))
    if not arms:
        return SimilarityTask(x, y, role, source, pairs, raw.n_classes, facts).check()
    facts = dict(facts) | {"arms": [one.as_dict() for one in arms]}
    return SimilarityTask(x, y, role, source, pairs, raw.n_classes, facts, column).check()


def _pairs(x: Tensor, anchor: Tensor, similar: Tensor, anchors: Sequence[Anchors]) -> pd.DataFrame:
    """One row per anchor and each of its near-duplicates, with every measure. anchors: arm by arm, targets first."""
    names = pd.Series([a.perturbation for a in anchors for _ in a.strengths], dtype="str")
    strength = torch.cat([a.strengths for a in anchors])
    columns = {
        "anchor": anchor.numpy(),
        "similar": similar.numpy(),
        "perturbation": names,
        "strength": strength.numpy(),
    }
    table = pd.DataFrame(columns)
    for name, measure in MEASURES.items():
        table[name] = measure(x[anchor], x[similar]).numpy() if len(anchor) else pd.Series(dtype="float32")
    return table
