"""Roles: which samples are targets, which are copied, which fill up the training set, which are never seen."""

from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from data_builders import RawImages
from data_builders.kinds import kinds
from unlearnkit.compute import generator
from unlearnkit.errors import BadValue
from unlearnkit.similarity import MEASURES
from unlearnkit.task import ROLES, SimilarityTask

Targets = Literal["random", "hard", "canary"]
HARD_SHARE = 3  # hard targets and decoys are drawn from the 3 x (targets + decoys) samples of highest held-out loss


def compose(
    raw: RawImages,
    *,
    targets: Targets = "random",
    n_targets: int = 12,
    copies: int = 5,
    kind: str = "block_mask",
    strength: float = 0.3,
    kind_options: dict | None = None,
    train_size: int = 640,
    seed: int = 0,
    difficulty: Tensor | None = None,
) -> SimilarityTask:
    """The similar-sample task of one draw.

    targets: "random" (P1); "hard", of high held-out loss (`difficulty`, (n,), is then needed); "canary", random images
    with a random wrong label, which their copies share. As many decoys are drawn in the same way, copied in the same
    way, and never trained on. The training set keeps its size: each copy takes a filler's place. A seed's targets,
    decoys and first fillers are the same for every number of copies and strength.

    Raises BadValue, naming the culprit, for values out of range and for more samples than there are.
    """
    _check(raw, targets, n_targets, copies, train_size, difficulty)
    wanted = kinds[kind]
    options = wanted.resolve(kind_options or {})
    chosen, rest = _choose(raw, targets, 2 * n_targets, seed, difficulty)
    filler = rest[: train_size - n_targets * (1 + copies)]
    labels = raw.y[chosen].clone()
    if targets == "canary":
        shift = torch.randint(1, raw.n_classes, (len(chosen),), generator=generator(seed, "canary"))
        labels = (labels + shift) % raw.n_classes

    made = [
        wanted(raw.x[i], copies, strength, generator(seed, "copies", kind, a), **options) for a, i in enumerate(chosen)
    ]
    n, shape = n_targets, raw.x.shape[1:]
    halves = {"target": slice(0, n), "decoy": slice(n, 2 * n)}
    parts = []  # (role, x, y, source)
    for role, half in halves.items():
        copied = "similar" if role == "target" else "decoy_similar"
        parts += [
            (role, raw.x[chosen[half]], labels[half], chosen[half]),
            (
                copied,
                torch.cat(made[half]) if copies else raw.x.new_empty(0, *shape),
                labels[half].repeat_interleave(copies),
                chosen[half].repeat_interleave(copies),
            ),
        ]
    parts.insert(2, ("filler", raw.x[filler], raw.y[filler], filler))
    parts.append(("test", raw.test_x, raw.test_y, len(raw.x) + torch.arange(len(raw.test_x))))
    role = torch.cat([torch.full((len(p[1]),), ROLES.index(p[0]), dtype=torch.int8) for p in parts])
    x, y, source = (torch.cat([p[i] for p in parts]) for i in (1, 2, 3))
    task = SimilarityTask(x, y, role, source, _pairs(x, role, copies, kind, strength), raw.n_classes, dict(raw.facts))
    return task.check()


def _check(raw: RawImages, targets, n_targets, copies, train_size, difficulty) -> None:
    if n_targets < 1:
        raise BadValue(f"n_targets must be at least 1, got {n_targets}")
    if copies < 0:
        raise BadValue(f"copies must be 0 or more, got {copies}")
    if raw.n_classes < 2:
        raise BadValue(f"a dataset needs at least 2 classes, this one has {raw.n_classes}")
    if missing := set(range(raw.n_classes)) - set(raw.y.tolist()):
        raise BadValue(
            f"the dataset says it has {raw.n_classes} classes, but has no training image of {sorted(missing)}"
        )
    if n_targets * (1 + copies) >= train_size:
        most = (train_size - 1) // n_targets - 1
        raise BadValue(
            f"{n_targets} targets with {copies} copies each leave no filler in a training set of {train_size}: use at "
            f"most {max(most, 0)} copies, fewer targets or a larger train_size"
        )
    if n_targets + train_size > len(raw.x):
        raise BadValue(
            f"train_size={train_size} and {n_targets} decoys need {n_targets + train_size} images, the pool has "
            f"{len(raw.x)}: use a train_size of at most {len(raw.x) - n_targets}"
        )
    if targets == "hard" and (difficulty is None or len(difficulty) != len(raw.x)):
        raise BadValue("hard targets need `difficulty`, the held-out loss of each image: unlearnkit.study passes it")
    if targets not in Targets.__args__:
        raise BadValue(f"targets must be one of {', '.join(Targets.__args__)}, got {targets!r}")


def _choose(raw: RawImages, targets: str, n: int, seed: int, difficulty) -> tuple[Tensor, Tensor]:
    """(n indices of targets and decoys, all others), both shuffled."""
    order = torch.randperm(len(raw.x), generator=generator(seed, "draw"))
    if targets == "hard":
        hardest = difficulty.argsort(descending=True)[: HARD_SHARE * n]
        chosen = hardest[torch.randperm(len(hardest), generator=generator(seed, "hard"))[:n]]
        return chosen, order[~torch.isin(order, chosen)]
    return order[:n], order[n:]


def _pairs(x: Tensor, role: Tensor, copies: int, kind: str, strength: float) -> pd.DataFrame:
    """One row per target or decoy and each of its copies, with every measure."""
    anchors, similars = [], []
    for of, copied in (("target", "similar"), ("decoy", "decoy_similar")):
        anchors.append((role == ROLES.index(of)).nonzero().squeeze(1).repeat_interleave(copies))
        similars.append((role == ROLES.index(copied)).nonzero().squeeze(1))
    anchor, similar = torch.cat(anchors), torch.cat(similars)
    table = pd.DataFrame({"anchor": anchor.numpy(), "similar": similar.numpy(), "kind": kind, "strength": strength})
    for name, measure in MEASURES.items():
        table[name] = measure(x[anchor], x[similar]).numpy() if len(anchor) else pd.Series(dtype="float32")
    return table
