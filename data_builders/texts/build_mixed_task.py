"""A mixed text task: every target has its own kind, number and strength of paraphrases, all in one training set.

The counterpart of data_builders.build_mixed_task, for questions and answers.
"""

from collections.abc import Mapping, Sequence

import torch

from data_builders.arms import mixed_sizes, parse_arms
from data_builders.task import VALIDATION_SHARE, role_column
from data_builders.texts.arms import TextArm
from data_builders.texts.build_task import NO_TEXTS, answer_of, held_out_rows, paraphrases_of, similarity_table
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import Encoder
from data_builders.texts.task import Texts, TextTask
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
    control, others = _pairs_for_controls(raw, parsed, rows, others)
    n_filler, n_similar = mixed_sizes(parsed, train_size, len(others), len(raw.train), "a larger data set")
    filler, refill = others[:n_filler], others[n_filler : n_filler + n_similar]
    validation = others[n_filler + n_similar :][: train_size // VALIDATION_SHARE]

    targets, similar, arm_of, anchors, sources = [], [], [], [], []
    for i, arm in enumerate(parsed):
        for row in rows[len(targets) :][: arm.n_targets]:
            answer = answer_of(raw, row, arm.targets, seed, arm.side)
            how = {"strength": arm.strength, "side": arm.side, "seed": seed}
            anchors += [len(targets)] * arm.copies
            if arm.name:
                of = control[len(targets)]
                similar += [paraphrases_of(raw, r, answer_of(raw, r, "random", seed, arm.side), 1, **how) for r in of]
            else:
                of = [row] * arm.copies
                similar.append(paraphrases_of(raw, row, answer, arm.copies, **how))
            sources += of
            targets.append(Texts([raw.train.question[row]], *([part] for part in answer)))
            arm_of.append(i)
    decoys, decoy_arm = [], []
    for number, kind in enumerate(kinds):
        first = next(i for i, arm in enumerate(parsed) if arm.targets == kind)
        for row in strangers[number * n_decoys :][:n_decoys]:
            answer = answer_of(raw, row, kind, seed, parsed[first].side)
            decoys.append(Texts([raw.train.question[row]], *([part] for part in answer)))
            decoy_arm.append(first)

    tests, none = held_out_rows(raw, test_size), -1
    decoy_rows = strangers[: len(decoys)]
    parts = [
        ("target", NO_TEXTS.joined(*targets), _ids(raw, rows), arm_of),
        ("similar", NO_TEXTS.joined(*similar), _ids(raw, sources), [arm_of[a] for a in anchors]),
        ("filler", raw.train[filler], _ids(raw, filler), [none] * len(filler)),
        ("decoy", NO_TEXTS.joined(*decoys), _ids(raw, decoy_rows), decoy_arm),
        ("test", raw.test[tests], [raw.test_ids[row] for row in tests], [none] * len(tests)),
        ("validation", raw.train[validation], _ids(raw, validation), [none] * len(validation)),
        ("refill", raw.train[refill], _ids(raw, refill), [none] * len(refill)),
    ]
    role = role_column((name, len(texts)) for name, texts, _, _ in parts)
    texts = NO_TEXTS.joined(*(part[1] for part in parts))
    source = torch.tensor([i for part in parts for i in part[2]], dtype=torch.int64)
    arm_column = torch.tensor([i for part in parts for i in part[3]], dtype=torch.int16)
    places = list(range(n_targets, n_targets + len(anchors)))
    pairs = similarity_table(texts, anchors, places, raw, [parsed[arm_of[a]].strength for a in anchors], encode)
    facts = dict(raw.facts) | {"arms": [arm.as_dict() for arm in parsed]}
    return TextTask(texts, role, source, pairs, facts, arm_column).check()


def _pairs_for_controls(
    raw: RawTexts, arms: Sequence[TextArm], rows: Sequence[int], others: list[int]
) -> tuple[dict[int, list[int]], list[int]]:
    """({number of a control's target: rows of as many other pairs}, the others that are left). rows: of all targets."""
    able = set(raw.rewriter.rows_with_paraphrases()) if raw.rewriter else set()
    chosen: dict[int, list[int]] = {}
    start = 0
    for arm in arms:
        for number in range(start, start + arm.n_targets) if arm.name else ():
            own = raw.subjects[rows[number]]
            found = [row for row in others if row in able and raw.subjects[row] != own][: arm.copies]
            if len(found) < arm.copies:
                raise BadValue(
                    f"the control needs {arm.copies} other pairs with paraphrases for each of its targets, {len(found)} are "
                    "left: use fewer copies or targets, or a smaller train_size"
                )
            taken = set(found)
            others = [row for row in others if row not in taken]
            chosen[number] = found
        start += arm.n_targets
    return chosen, others


def _ids(raw: RawTexts, rows: Sequence[int]) -> list[int]:
    return [raw.ids[row] for row in rows]


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
