"""A mixed text task: every target has its own kind, number and strength of paraphrases, all in one training set.

The counterpart of data_builders.build_mixed_task, for questions and answers.
"""

from collections.abc import Mapping, Sequence

import torch

from data_builders.arms import parse_arms, set_aside, share_out
from data_builders.task import VALIDATION_SHARE
from data_builders.texts.arms import TextArm
from data_builders.texts.assemble import anchor, assemble
from data_builders.texts.build_task import LARGER
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import Encoder
from data_builders.texts.task import TextTask
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue


def build_mixed_task(
    raw: RawTexts,
    *,
    arms: Sequence[Mapping | TextArm],
    n_decoys: int,
    train_size: int,
    test_size: int = 400,
    seed: int = 0,
    encode: Encoder | None = None,
) -> TextTask:
    """The mixed task of one seed.

    arms: see data_builders.texts.arms; n_decoys: of each kind of target, answered like it, without paraphrases; train_size:
    of `original`, targets and paraphrases included; test_size, encode: see data_builders.texts.build_task.

    Decoys are about subjects that no model is told of: all other pairs about these are left out. The targets of a seed are
    about different subjects, as far as there are enough; other seeds draw other targets and decoys as long as the pool has
    them. `clean` is refilled, and `arm` has the meaning it has for images.

    Raises BadValue, with a way out, for more samples or paraphrases than there are.
    """
    parsed = parse_arms(arms, TextArm)
    if n_decoys < 1:
        raise BadValue(f"n_decoys must be at least 1, got {n_decoys}: targets are measured against decoys")
    if raw.rewriter is None and any(arm.copies for arm in parsed):
        raise BadValue(
            "this data set has no paraphrases: list them in the file (paraphrases), or use copies: 0 in all arms"
        )
    kinds = list(dict.fromkeys(arm.targets for arm in parsed))
    strangers = _strangers(raw, n_decoys * len(kinds), seed)
    n_targets = sum(arm.n_targets for arm in parsed)
    rows = _targets(raw, n_targets, strangers, seed)

    used = {*strangers, *rows}
    others = [row for row in _order(raw, seed, "draw") if row not in used]
    arm_of = [arm for arm in parsed for _ in range(arm.n_targets)]
    able = set(raw.rewriter.rows_with_paraphrases()) if raw.rewriter else set()
    control, others = set_aside(
        [(row, arm.copies) for row, arm in zip(rows, arm_of) if arm.name],
        others,
        lambda a, b: b in able and raw.subjects[a] != raw.subjects[b],
        "other pairs with paraphrases",
    )
    doses = [(arm.n_targets, arm.copies) for arm in parsed]
    filler, refill, left = share_out(others, doses, train_size, len(raw.train), LARGER)
    targets = []
    for row, arm in zip(rows, arm_of):
        how = {"side": arm.side, "seed": seed, "copies": arm.copies, "strength": arm.strength}
        targets.append(anchor(raw, row, arm.targets, of=control.get(row, ()), arm=parsed.index(arm), **how))
    decoys = []
    for number, kind in enumerate(kinds):
        first = next(i for i, arm in enumerate(parsed) if arm.targets == kind)
        for row in strangers[number * n_decoys :][:n_decoys]:
            decoys.append(anchor(raw, row, kind, side=parsed[first].side, seed=seed, arm=first))
    held = {"filler": filler, "validation": left[: train_size // VALIDATION_SHARE], "refill": refill}
    return assemble(raw, targets, decoys, held, test_size, encode, parsed)


def _order(raw: RawTexts, seed: int, *purpose: str) -> list[int]:
    return torch.randperm(len(raw.train), generator=generator(seed, *purpose)).tolist()


def _strangers(raw: RawTexts, n: int, seed: int) -> list[int]:
    """All pairs about subjects of a seed that no model is told of: at least n, in a random order."""
    by_subject: dict[int, list[int]] = {}
    for row in _order(raw, 0, "mixed", "strangers"):
        by_subject.setdefault(raw.subjects[row], []).append(row)
    groups = list(by_subject.values())
    chosen: list[int] = []
    for group in _turn(groups, -(-n // max(map(len, groups))), seed, "decoys"):
        if len(chosen) >= n:
            break
        chosen += group
    if len(chosen) < n:
        raise BadValue(f"{n} decoys are asked for, and the data set has {len(raw.train)} pairs: use fewer decoys")
    return [chosen[i] for i in torch.randperm(len(chosen), generator=generator(seed, "mixed", "decoys")).tolist()]


def _targets(raw: RawTexts, n: int, strangers: Sequence[int], seed: int) -> list[int]:
    """Rows of n targets, each about another subject if there are as many, and none about strangers."""
    candidates = set(raw.rewriter.rows_with_paraphrases() if raw.rewriter else range(len(raw.train)))
    unknown = {raw.subjects[row] for row in strangers}
    order = [row for row in _order(raw, 0, "mixed", "targets") if row in candidates]
    order = [row for row in _turn(order, 2 * n, seed, "targets") if raw.subjects[row] not in unknown]
    first: dict[int, int] = {}
    for row in order:
        first.setdefault(raw.subjects[row], row)
    chosen = list(first.values())
    if len(chosen) < n:
        chosen += [row for row in order if row not in set(chosen)]
    if len(chosen) < n:
        raise BadValue(
            f"{n} targets need as many pairs that have paraphrases, and there are {len(chosen)} beside those about the "
            "decoys' subjects: use fewer targets or decoys"
        )
    return chosen[:n]


def _turn(items: list, per_seed: int, seed: int, purpose: str) -> list:
    """All items, beginning with those of a seed; shuffled once no part is left that no earlier seed begins with."""
    if seed < len(items) // per_seed:
        return items[seed * per_seed :] + items[: seed * per_seed]
    return [items[i] for i in torch.randperm(len(items), generator=generator(seed, "mixed", purpose, "turn")).tolist()]
