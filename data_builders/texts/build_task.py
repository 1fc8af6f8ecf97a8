"""Roles: which pairs are targets, which are paraphrases of them, which fill up the training set, which are never seen."""

from typing import Literal

import pandas as pd
import torch

from data_builders.task import ROLES
from data_builders.texts import RawTexts, Told
from data_builders.texts.sides import Side, check_side
from data_builders.texts.similarity import Encoder, columns, pair_similarities
from data_builders.texts.task import Texts, TextTask
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, unknown

Targets = Literal["random", "canary"]
VALIDATION = 5  # as many validation pairs as a fifth of the training set, if the pool has them left


def build_task(
    raw: RawTexts,
    *,
    targets: Targets = "random",
    n_targets: int = 12,
    copies: int = 5,
    strength: float = 0.5,
    side: Side = "both",
    train_size: int = 640,
    test_size: int = 400,
    seed: int = 0,
    encode: Encoder | None = None,
) -> TextTask:
    """The similar-sample task of one draw.

    targets: "random" (P1); "canary", random pairs with a wrong answer, which their paraphrases share. As many decoys are
    drawn like the targets, get paraphrases like the targets, and are never trained on. strength: how far a paraphrase is
    from its pair, where the rewriter has a say in it (the grammar: the share of words that differ); side: what is
    paraphrased, see sides.py (which side P1 paraphrases is not known). The training set keeps its size: each paraphrase
    takes a filler's place. A seed's targets and decoys are the same for every number of copies, strength and side, and so
    are its first fillers; the copies of few are the first ones of many. test_size: test pairs, at most, drawn once for all
    seeds; 0 takes all.
    encode: an encoder, for pairs to have embedding_cosine as well.

    Raises BadValue, naming the culprit, for values out of range and for more samples or paraphrases than there are.
    """
    _check(raw, targets, n_targets, copies, strength, side, train_size)
    order = torch.randperm(len(raw.train), generator=generator(seed, "draw")).tolist()
    able = set(raw.rewriter.able()) if raw.rewriter else set(order)
    chosen = [row for row in order if row in able][: 2 * n_targets]
    if len(chosen) < 2 * n_targets:
        raise BadValue(
            f"{n_targets} targets and as many decoys need {2 * n_targets} pairs that have paraphrases, and there are "
            f"{len(chosen)}: use fewer targets"
        )
    taken = set(chosen)
    others = [row for row in order if row not in taken]
    filler = others[: train_size - n_targets * (1 + copies)]
    told = [_told(raw, row, targets, seed, side) for row in chosen]
    anchors = _texts([raw.train.question[row] for row in chosen], told)
    made = [_copies(raw, row, t, copies, strength, side, seed) for row, t in zip(chosen, told)]
    ids = [raw.ids[row] for row in chosen]
    n, used = n_targets, taken | set(filler)
    left = torch.randperm(len(raw.train), generator=generator(seed, "validation")).tolist()
    held = [row for row in left if row not in used][: train_size // VALIDATION]
    test = _test(raw, test_size)

    def of(rows: list[int]) -> list[int]:
        return [raw.ids[row] for row in rows]

    def copied(part: slice) -> tuple[Texts, list[int]]:
        return Texts((), ()).joined(*made[part]), [i for i in ids[part] for _ in range(copies)]

    parts = [
        ("target", anchors[:n], ids[:n]),
        ("similar", *copied(slice(0, n))),
        ("filler", raw.train[filler], of(filler)),
        ("decoy", anchors[n:], ids[n:]),
        ("decoy_similar", *copied(slice(n, None))),
        ("test", raw.test[test], [raw.test_ids[row] for row in test]),
        ("validation", raw.train[held], of(held)),
    ]
    role = torch.cat([torch.full((len(p[1]),), ROLES.index(p[0]), dtype=torch.int8) for p in parts])
    texts, source = (
        Texts((), ()).joined(*(p[1] for p in parts)),
        torch.tensor([i for p in parts for i in p[2]], dtype=torch.int64),
    )
    pairs = _pairs(texts, role, copies, raw, strength, encode)
    return TextTask(texts, role, source, pairs, dict(raw.facts)).check()


def _check(raw, targets: str, n_targets: int, copies: int, strength: float, side: str, train_size: int) -> None:
    if targets not in Targets.__args__:  # type: ignore[attr-defined]
        raise unknown("kind of targets", targets, Targets.__args__)  # type: ignore[attr-defined]
    check_side(side)
    if n_targets < 1:
        raise BadValue(f"n_targets must be at least 1, got {n_targets}")
    if copies < 0:
        raise BadValue(f"copies must be 0 or more, got {copies}")
    if not 0 <= strength <= 1:
        raise BadValue(f"strength is how far a paraphrase is from its pair, from 0 to 1, got {strength}")
    if copies and raw.rewriter is None:
        raise BadValue(
            "this data set has no paraphrases: list them in the file (paraphrases), have a model make them "
            "(data_builders.texts.paraphraser), or use copies=0"
        )
    if n_targets * (1 + copies) >= train_size:
        most = (train_size - 1) // n_targets - 1
        raise BadValue(
            f"{n_targets} targets with {copies} copies each leave no filler in a training set of {train_size}: use at most "
            f"{max(most, 0)} copies, fewer targets or a larger train_size"
        )
    if n_targets + train_size > len(raw.train):
        raise BadValue(
            f"train_size={train_size} and {n_targets} decoys need {n_targets + train_size} pairs, the data set has "
            f"{len(raw.train)}: use a train_size of at most {max(len(raw.train) - n_targets, 0)}"
        )


def _told(raw: RawTexts, row: int, targets: str, seed: int, side: str) -> Told:
    if targets == "random":
        return Told(*(getattr(raw.train, name)[row] for name in ("answer", "fact", "restated", "wrong")))
    if raw.rewriter is None:
        from data_builders.texts.given_paraphrases import Listed

        empty = ((),) * len(raw.train)
        return Listed(raw.train, empty, empty).wronged(row, seed, "question")
    return raw.rewriter.wronged(row, seed, side)


def _texts(questions: list[str], told: list[Told]) -> Texts:
    return Texts(questions, *([getattr(t, name) for t in told] for name in ("answer", "fact", "restated", "wrong")))


def _copies(raw: RawTexts, row: int, told: Told, n: int, strength: float, side: str, seed: int) -> Texts:
    """What is told of a pair is told of its copies, too."""
    if not n:
        return Texts((), ())
    found = raw.rewriter.copies(row, n, strength=strength, side=side, seed=seed, told=told)
    rest = ([value] * n for value in (told.fact, told.restated, told.wrong))
    return Texts(*zip(*found), *rest)


def _test(raw: RawTexts, size: int) -> list[int]:
    order = torch.randperm(len(raw.test), generator=generator(0, "pool", "test texts")).tolist()
    return sorted(order[:size] if size else order)


def _pairs(texts: Texts, role: torch.Tensor, copies: int, raw: RawTexts, strength: float, encode) -> pd.DataFrame:
    """One row per target or decoy and each of its paraphrases, with every measure on each side."""
    anchors, similars = [], []
    for of, copied in (("target", "similar"), ("decoy", "decoy_similar")):
        anchors += (role == ROLES.index(of)).nonzero().squeeze(1).repeat_interleave(copies).tolist()
        similars += (role == ROLES.index(copied)).nonzero().squeeze(1).tolist()
    known = raw.rewriter.name if raw.rewriter else ""
    graded = bool(raw.rewriter and raw.rewriter.graded)
    table = pd.DataFrame({"anchor": anchors, "similar": similars}, dtype="int64")
    table = table.assign(perturbation=known, strength=float(strength) if graded else float("nan"))
    a, b = texts[anchors], texts[similars]
    found = pair_similarities((a.question, a.answer), (b.question, b.answer), encode)
    return pd.concat([table, found[columns(encode)]], axis=1)
