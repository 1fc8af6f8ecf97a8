"""Which images are the targets, which are the decoys, and what else there is to train on."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from data_builders.class_names import class_names, labels_of
from data_builders.raw_images import RawImages
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, unknown

Targets = Literal["random", "spread", "hard", "canary", "backdoor", "ids", "class", "subclass", "tenth"]
WHOLE = ("class", "subclass")  # here the targets are all images of a class, or of a part of one
HARD_SHARE = 3  # hard targets and decoys are drawn from the 3 x (targets + decoys) samples of highest held-out loss


@dataclass(frozen=True)
class Selection:
    """Indices into the pool: targets, decoys, and all others in random order. Indices into the test set: test_decoys,
    and test, which stays. labels: (n,) int64, of targets, decoys and test_decoys, in this order."""

    targets: Tensor
    decoys: Tensor
    others: Tensor
    test_decoys: Tensor
    test: Tensor
    labels: Tensor


def select_targets(
    raw: RawImages,
    targets: str,
    n_targets: int,
    forget_ids: list[int | str],
    train_size: int,
    seed: int,
    difficulty: Tensor | None,
) -> Selection:
    """The targets and decoys of one seed. targets:

    - "random" (P1);
    - "spread": random, but as evenly over the classes as possible;
    - "hard": of high held-out loss;
    - "canary": random images with a random wrong label, which their near-duplicates share;
    - "backdoor": random images of all classes but the attack's, labelled as that class: the one that `forget_ids`
      names, or a random one;
    - "ids": those that `forget_ids` names;
    - "class": all images of the classes in `forget_ids`, labels or names, or of one random class;
    - "subclass": likewise of parts of classes (all of a breed of dog, while dogs stay);
    - "tenth": a tenth of the training set.

    n_targets counts random, spread, hard, canary and backdoor targets. As many decoys are drawn in the same way; with
    "ids" from the classes of the targets first. With "class" and "subclass" the test images of the same classes are the
    decoys, and the test set holds the other ones. Raises BadValue and UnknownName.
    """
    if targets not in get_args(Targets):
        raise unknown("kind of targets", targets, get_args(Targets))
    if forget_ids and targets not in ("ids", "backdoor", *WHOLE):
        raise BadValue(
            "`forget_ids` names targets or classes: it goes with targets='ids', 'class', 'subclass' or 'backdoor', not "
            f"{targets!r}"
        )
    if targets in ("backdoor", *WHOLE):
        forget_ids = labels_of(forget_ids, class_names(raw.facts, targets == "subclass"))
    order = torch.randperm(len(raw.x), generator=generator(seed, "draw"))
    if targets in WHOLE:
        return _select_classes(raw, targets, order, forget_ids, train_size, seed)
    n = {"ids": len(forget_ids), "tenth": train_size // 10}.get(targets, n_targets)
    if targets == "ids":
        wanted = _rows_of_ids(raw, forget_ids)
    if n < 1 and targets != "tenth":
        raise BadValue(f"n_targets must be at least 1, got {n}")
    if n < 1:
        raise BadValue(f"a tenth of a training set of {train_size} is no image: use a train_size of at least 10")
    if targets == "ids":
        rest = order[~torch.isin(order, wanted)]
        same_class = torch.isin(raw.y[rest], raw.y[wanted])
        chosen = torch.cat([wanted, torch.cat([rest[same_class], rest[~same_class]])[:n]])
    elif targets == "hard":
        if difficulty is None or len(difficulty) != len(raw.x):
            raise BadValue(
                "hard targets need `difficulty`, the held-out loss of each image: unlearnkit.study passes it"
            )
        hardest = difficulty.argsort(descending=True)[: HARD_SHARE * 2 * n]
        chosen = hardest[torch.randperm(len(hardest), generator=generator(seed, "hard"))[: 2 * n]]
    elif targets == "spread":
        rank = torch.empty(len(order), dtype=torch.long)  # how many images of its class come before it
        for label in raw.y.unique():
            of_class = (raw.y[order] == label).nonzero().squeeze(1)
            rank[of_class] = torch.arange(len(of_class))
        chosen = order[rank.argsort(stable=True)[: 2 * n]]
    elif targets == "backdoor":
        attack = _attack_class(raw, forget_ids, seed)
        chosen = order[raw.y[order] != attack][: 2 * n]
        if len(chosen) < 2 * n:
            raise BadValue(
                f"{n} backdoor targets and as many decoys need {2 * n} images that are not of the attack's class {attack}, "
                f"the pool has {len(chosen)}: use fewer targets or a larger pool"
            )
    else:
        chosen = order[: 2 * n]
    labels = given_labels(raw, targets, chosen, seed)
    if targets == "backdoor":
        labels[:] = attack
    others, test = order[~torch.isin(order, chosen)], torch.arange(len(raw.test_x))
    return Selection(chosen[:n], chosen[n:], others, test[:0], test, labels)


def given_labels(raw: RawImages, targets: str, rows: Tensor, seed: int, *purpose: str) -> Tensor:
    """(n,) labels of targets of a kind, or of their decoys: their own, those of canaries a random wrong one. rows: (n,)."""
    if targets != "canary":
        return raw.y[rows].clone()
    shift = torch.randint(1, raw.n_classes, (len(rows),), generator=generator(seed, "canary", *purpose))
    return (raw.y[rows] + shift) % raw.n_classes


def _select_classes(
    raw: RawImages, targets: str, order: Tensor, forget_ids: list[int], train_size: int, seed: int
) -> Selection:
    """order: (n,), a random order of the pool."""
    part, test_part = (raw.y, raw.test_y) if targets == "class" else (raw.part, raw.test_part)
    classes = _classes_to_forget(part, forget_ids, seed, targets)
    base = order[:train_size]  # the training set before anything is copied
    to_forget, test_to_forget = torch.isin(part, classes), torch.isin(test_part, classes)
    chosen = base[to_forget[base]]
    if len(chosen) < 2:
        raise BadValue(
            f"{targets} {classes.tolist()} is too small: {len(chosen)} images in a training set of {train_size}"
        )
    test = torch.arange(len(raw.test_x))
    test_decoys, test = test[test_to_forget], test[~test_to_forget]
    labels = torch.cat([raw.y[chosen], raw.test_y[test_decoys]])
    return Selection(chosen, order[:0], order[~to_forget[order]], test_decoys, test, labels)


def _attack_class(raw: RawImages, forget_ids: list[int], seed: int) -> int:
    """The class that a backdoor makes a model predict."""
    if len(forget_ids) > 1:
        raise BadValue(f"a backdoor leads to one class, `forget_ids` names {len(forget_ids)}: {forget_ids}")
    return int(_classes_to_forget(raw.y, forget_ids, seed, "class"))


def _rows_of_ids(raw: RawImages, forget_ids: list[int]) -> Tensor:
    """Raises BadValue for an id that does not exist, is a test image's, or is named twice."""
    if not forget_ids:
        raise BadValue("targets='ids' needs the ids of the targets in `forget_ids`")
    row_of = {int(i): row for row, i in enumerate(raw.ids)}
    test = set(raw.test_ids.tolist())
    for i in forget_ids:
        if i in test:
            raise BadValue(f"target {i} is in the test split: a target must be a training image")
        if i not in row_of:
            raise BadValue(
                f"there is no training image with id {i}; ids go from {int(raw.ids.min())} to {int(raw.ids.max())}"
            )
    if len(set(forget_ids)) < len(forget_ids):
        raise BadValue(f"targets are named twice: {sorted(i for i, n in Counter(forget_ids).items() if n > 1)}")
    return torch.tensor([row_of[i] for i in forget_ids])


def _classes_to_forget(part: Tensor, forget_ids: list[int], seed: int, kind: str) -> Tensor:
    """The classes (kind "class") or subclasses in `forget_ids`, sorted; a random one if there are none. part: (n,)
    int64."""
    known = part.unique()
    if not forget_ids:
        return known[torch.randint(len(known), (1,), generator=generator(seed, kind))]
    if missing := sorted(set(forget_ids) - set(known.tolist())):
        raise BadValue(
            f"there is no {kind} {missing[0]}; {kind} names go from {int(known.min())} to {int(known.max())}"
        )
    if len(set(forget_ids)) >= len(known):
        raise BadValue(f"to forget every {kind} leaves nothing to train on")
    return torch.tensor(sorted(set(forget_ids)))
