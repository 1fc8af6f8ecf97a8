"""Which images are the targets, which are decoys, and what else there is to train on."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from data_builders import RawImages
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, unknown

Targets = Literal["random", "spread", "hard", "canary", "backdoor", "ids", "class", "subclass", "tenth"]
WHOLE = ("class", "subclass")  # targets that are all there is of something
HARD_SHARE = 3  # hard targets and decoys are drawn from the 3 x (targets + decoys) samples of highest held-out loss


@dataclass(frozen=True)
class Drawn:
    """Indices into the pool: targets, decoys, and all others in random order. Indices into the test set: those that
    are decoys, and those that are test. labels: of targets, decoys, and decoys from the test set, in this order."""

    targets: Tensor
    decoys: Tensor
    others: Tensor
    test_decoys: Tensor
    test: Tensor
    labels: Tensor


def draw(
    raw: RawImages,
    targets: str,
    n_targets: int,
    forget_ids: list[int],
    copies: int,
    train_size: int,
    seed: int,
    difficulty: Tensor | None,
) -> Drawn:
    """targets: "random" (P1); "spread", random but as evenly over the classes as can be; "hard", of high held-out loss;
    "canary", random images with a random wrong label, which copies of them share; "ids", those that `which` names;
    "class", all images of the classes in `which`, or of one drawn class; "subclass", likewise of parts of classes (all
    of a breed of dog, while dogs stay); "tenth", a tenth of the training set; "backdoor", random images of all classes
    but the attack's, labelled as that one: the class that `which` names, or one drawn.

    n_targets counts random, spread, hard, canary and backdoor targets. As many decoys are drawn in the same way; with
    "ids" from the classes of the targets as far as they go. With "class" and "subclass" the test images of the same ones
    are the decoys, and the test set holds what stays.
    """
    if targets not in get_args(Targets):
        raise unknown("kind of targets", targets, get_args(Targets))
    if forget_ids and targets not in ("ids", "backdoor", *WHOLE):
        raise BadValue(
            "`which` names targets or classes: it goes with targets='ids', 'class', 'subclass' or 'backdoor', not "
            f"{targets!r}"
        )
    order = torch.randperm(len(raw.x), generator=generator(seed, "draw"))
    test = torch.arange(len(raw.test_x))
    n = {"ids": len(forget_ids), "tenth": train_size // 10}.get(targets, n_targets)
    if targets in WHOLE:
        of, test_of = (raw.y, raw.test_y) if targets == "class" else (raw.part, raw.test_part)
        classes = _classes(of, forget_ids, seed, targets)
        base = order[:train_size]  # the training set before anything is copied
        mine = torch.isin(of, classes)
        chosen = base[mine[base]]
        if len(chosen) < 2:
            raise BadValue(
                f"{targets} {classes.tolist()} is too small: {len(chosen)} images in a training set of {train_size}"
            )
        _room(raw, len(chosen), copies, train_size, decoys=0)
        gone = torch.isin(test_of, classes)
        labels = torch.cat([raw.y[chosen], raw.test_y[test[gone]]])
        return Drawn(chosen, order[:0], order[~mine[order]], test[gone], test[~gone], labels)
    if targets == "ids":
        wanted = _named(raw, forget_ids)
    if targets == "tenth" and not n:
        raise BadValue(f"a tenth of a training set of {train_size} is no image: use a train_size of at least 10")
    _room(raw, n, copies, train_size, decoys=n)
    if targets == "ids":
        rest = order[~torch.isin(order, wanted)]
        alike = torch.isin(raw.y[rest], raw.y[wanted])
        pool = torch.cat([rest[alike], rest[~alike]])
        chosen = torch.cat([wanted, pool[:n]])
    elif targets == "hard":
        if difficulty is None or len(difficulty) != len(raw.x):
            raise BadValue(
                "hard targets need `difficulty`, the held-out loss of each image: unlearnkit.study passes it"
            )
        hardest = difficulty.argsort(descending=True)[: HARD_SHARE * 2 * n]
        chosen = hardest[torch.randperm(len(hardest), generator=generator(seed, "hard"))[: 2 * n]]
    elif targets == "spread":
        turn = torch.empty(len(order), dtype=torch.long)  # how many of its class come before it
        for label in raw.y.unique():
            mine = (raw.y[order] == label).nonzero().squeeze(1)
            turn[mine] = torch.arange(len(mine))
        chosen = order[turn.argsort(stable=True)[: 2 * n]]
    elif targets == "backdoor":
        attack = _attacked(raw, forget_ids, seed)
        chosen = order[raw.y[order] != attack][: 2 * n]
        if len(chosen) < 2 * n:
            raise BadValue(f"{n} backdoor targets and as many decoys need {2 * n} images that are not of the attack's "
                           f"class {attack}, the pool has {len(chosen)}: use fewer targets or a larger pool")  # fmt: skip
    else:
        chosen = order[: 2 * n]
    labels = raw.y[chosen].clone()
    if targets == "backdoor":
        labels[:] = attack
    if targets == "canary":
        shift = torch.randint(1, raw.n_classes, (len(chosen),), generator=generator(seed, "canary"))
        labels = (labels + shift) % raw.n_classes
    return Drawn(chosen[:n], chosen[n:], order[~torch.isin(order, chosen)], test[:0], test, labels)


def _attacked(raw: RawImages, forget_ids: list[int], seed: int) -> int:
    """The class that a backdoor leads to."""
    if len(forget_ids) > 1:
        raise BadValue(f"a backdoor leads to one class, `which` names {len(forget_ids)}: {forget_ids}")
    return int(_classes(raw.y, forget_ids, seed, "class"))


def _room(raw: RawImages, n: int, copies: int, train_size: int, decoys: int) -> None:
    if n < 1:
        raise BadValue(f"n_targets must be at least 1, got {n}")
    if n * (1 + copies) >= train_size:
        most = (train_size - 1) // n - 1
        raise BadValue(
            f"{n} targets with {copies} copies each leave no filler in a training set of {train_size}: use at most "
            f"{max(most, 0)} copies, fewer targets or a larger train_size"
        )
    if decoys + train_size > len(raw.x):
        raise BadValue(
            f"train_size={train_size} and {decoys} decoys need {decoys + train_size} images, the pool has "
            f"{len(raw.x)}: use a train_size of at most {len(raw.x) - decoys}, or a larger pool (0 takes all images)"
        )


def _named(raw: RawImages, forget_ids: list[int]) -> Tensor:
    """Raises BadValue for an id that is not there, is a test image's, or is named twice."""
    if not forget_ids:
        raise BadValue("targets='ids' needs the ids of the targets in `which`")
    place = {int(i): row for row, i in enumerate(raw.ids)}
    test = set(raw.test_ids.tolist())
    for i in forget_ids:
        if i in test:
            raise BadValue(f"target {i} is in the test split: a target must be a training image")
        if i not in place:
            raise BadValue(
                f"there is no training image with id {i}; ids go from {int(raw.ids.min())} to {int(raw.ids.max())}"
            )
    if len(set(forget_ids)) < len(forget_ids):
        raise BadValue(f"targets are named twice: {sorted({i for i in forget_ids if forget_ids.count(i) > 1})}")
    return torch.tensor([place[i] for i in forget_ids])


def _classes(of: Tensor, forget_ids: list[int], seed: int, kind: str) -> Tensor:
    known = of.unique()
    if not forget_ids:
        return known[torch.randint(len(known), (1,), generator=generator(seed, kind))]
    if unknown_ := sorted(set(forget_ids) - set(known.tolist())):
        raise BadValue(
            f"there is no {kind} {unknown_[0]}; {kind} names go from {int(known.min())} to {int(known.max())}"
        )
    if len(set(forget_ids)) >= len(known):
        raise BadValue(f"to forget every {kind} leaves nothing to train on")
    return torch.tensor(sorted(set(forget_ids)))
