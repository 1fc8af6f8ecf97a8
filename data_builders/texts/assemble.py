"""The assembly of a text task, of one arm or of many: paraphrases, roles, sources, arms, and the table of pairs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from data_builders.arms import linked_by_arm
from data_builders.task import COPIED, ROLES, role_column
from data_builders.texts.arms import TextArm
from data_builders.texts.given_paraphrases import GivenParaphrases
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import Encoder, columns, pair_similarities
from data_builders.texts.task import Answer, Texts, TextTask
from unlearnkit.core.compute import generator


@dataclass(frozen=True)
class Anchor:
    """A target or decoy, pair number `row` of the pool, as models are asked for it, and its paraphrases.

    sources: rows of the pool that these are made from, one each; arm: its place in the list of arms.
    """

    row: int
    pair: Texts
    similar: Texts
    sources: Sequence[int]
    strength: float
    arm: int


def anchor(
    raw: RawTexts,
    row: int,
    targets: str,
    *,
    side: str,
    seed: int,
    copies: int = 0,
    strength: float = 0.0,
    of: Sequence[int] = (),
    arm: int = -1,
) -> Anchor:
    """A pair with the answer of its kind of targets and paraphrases of it, or, as a control, one of each other pair in `of`,
    with that pair's own answer. Raises BadValue where there are not enough."""
    answer = _answer(raw, row, targets, seed, side)
    made_from = [(r, _answer(raw, r, "random", seed, side), 1) for r in of] or [(row, answer, copies)]
    similar = [_paraphrases(raw, r, a, n, strength=strength, side=side, seed=seed) for r, a, n in made_from]
    pair = Texts([raw.train.question[row]], *([part] for part in answer))
    return Anchor(row, pair, _joined(similar), of or [row] * copies, strength, arm)


def assemble(
    raw: RawTexts,
    targets: Sequence[Anchor],
    decoys: Sequence[Anchor],
    rows: Mapping[str, Sequence[int]],
    test_size: int,
    encode: Encoder | None,
    arms: Sequence[TextArm] = (),
) -> TextTask:
    """The task of these samples, checked: raises BadValue as TextTask.check.

    rows: of the pool, in the roles filler, validation and refill; test_size: test pairs, at most, the same for all seeds, 0
    takes all; encode: to measure embedding_cosine as well; arms: of a mixed task, whose samples know their arm.
    """
    order = torch.randperm(len(raw.test), generator=generator(0, "pool", "test texts")).tolist()
    test = sorted(order[:test_size] if test_size else order)
    parts = {role: (raw.train[of], [raw.ids[row] for row in of], [-1] * len(of)) for role, of in rows.items()}
    parts["test"] = (raw.test[test], [raw.test_ids[row] for row in test], [-1] * len(test))
    for role, group in (("target", targets), ("decoy", decoys)):
        parts[role] = (_joined(a.pair for a in group), [raw.ids[a.row] for a in group], [a.arm for a in group])
        sources = [(raw.ids[row], a.arm) for a in group for row in a.sources]
        parts[COPIED[role]] = (_joined(a.similar for a in group), [i for i, _ in sources], [arm for _, arm in sources])
    texts = _joined(parts[role][0] for role in ROLES)
    role = role_column((role, len(parts[role][0])) for role in ROLES)
    source = torch.tensor([i for role in ROLES for i in parts[role][1]], dtype=torch.int64)
    arm = torch.tensor([i for role in ROLES for i in parts[role][2]], dtype=torch.int16)
    anchors, similars = linked_by_arm(role, arm, {a.arm: len(a.sources) for a in targets})
    strengths = [a.strength for a in sorted([*targets, *decoys], key=lambda a: a.arm) for _ in a.sources]
    pairs = _pairs(texts, anchors.tolist(), similars.tolist(), strengths, raw, encode)
    if not arms:
        return TextTask(texts, role, source, pairs, dict(raw.facts)).check()
    facts = dict(raw.facts) | {"arms": [one.as_dict() for one in arms]}
    return TextTask(texts, role, source, pairs, facts, arm).check()


def _joined(parts: Iterable[Texts]) -> Texts:
    return Texts((), ()).joined(*parts)


def _answer(raw: RawTexts, row: int, targets: str, seed: int, side: str) -> Answer:
    """The answer that a target or decoy is trained with: its own, or a canary's wrong one."""
    if targets == "random":
        return raw.train.answer_of(row)
    if raw.rewriter is None:
        none = ((),) * len(raw.train)
        return GivenParaphrases(raw.train, none, none).wrong_answer(row, seed, "question")
    return raw.rewriter.wrong_answer(row, seed, side)


def _paraphrases(raw: RawTexts, row: int, answer: Answer, n: int, *, strength: float, side: str, seed: int) -> Texts:
    """n paraphrases of a pair, with the fact, the restated and the wrong answers of the pair itself."""
    if not n:
        return Texts((), ())
    paraphrases = raw.rewriter.paraphrases(row, n, strength=strength, side=side, seed=seed, answer=answer)
    return Texts(*zip(*paraphrases), *([value] * n for value in (answer.fact, answer.restated, answer.wrong)))


def _pairs(
    texts: Texts,
    anchors: list[int],
    similars: list[int],
    strengths: Sequence[float],
    raw: RawTexts,
    encode: Encoder | None,
) -> pd.DataFrame:
    """One row per anchor and each of its paraphrases, with every measure on each side. anchors, similars: row numbers."""
    perturbation, graded = (raw.rewriter.name, raw.rewriter.graded) if raw.rewriter else ("", False)
    table = pd.DataFrame({"anchor": anchors, "similar": similars}, dtype="int64")
    strength = pd.Series(strengths if graded else [float("nan")] * len(anchors), dtype="float64")
    table = table.assign(perturbation=perturbation, strength=strength)
    a, b = texts[anchors], texts[similars]
    similarities = pair_similarities((a.question, a.answer), (b.question, b.answer), encode)
    return pd.concat([table, similarities[columns(encode)]], axis=1)
