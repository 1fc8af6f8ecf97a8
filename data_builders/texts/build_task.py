"""A text task: which pairs are targets, paraphrases of them, filler, decoys, test and validation."""

from collections.abc import Sequence
from typing import Literal, get_args

import pandas as pd
import torch

from data_builders.arms import enough
from data_builders.select_targets import check_sizes
from data_builders.task import VALIDATION_SHARE, linked_rows, role_column
from data_builders.texts.given_paraphrases import GivenParaphrases
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.sides import Side, check_side
from data_builders.texts.similarity import Encoder, columns, pair_similarities
from data_builders.texts.task import Answer, Texts, TextTask
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, unknown

Targets = Literal["random", "canary"]
N_DECOYS = 60  # on which targets are standardised; each is a question that every model answers, which takes time
NO_TEXTS = Texts((), ())


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
    """The similar-sample task of one seed.

    targets: "random" (P1), or "canary", random pairs with a wrong answer, which their paraphrases share; copies:
    paraphrases per target; strength: how far a paraphrase is from its pair, if the rewriter can choose (the grammar: the
    share of words that differ); side: what is paraphrased, see sides.py (which side P1 paraphrases is not known);
    test_size: test pairs, at most, the same for all seeds, 0 takes all; encode: an encoder, to measure embedding_cosine
    of the pairs as well.

    As many decoys are drawn like the targets, get paraphrases like the targets, and are never trained on; there are more
    decoys without paraphrases, N_DECOYS if the pool has them left. The training
    set keeps its size: each paraphrase takes a filler's place, and in `clean`'s a pair of the role "refill" takes that of
    each paraphrase. A seed's targets and decoys are the same for every number
    of copies, strength and side, and so are its first fillers; few copies are the first of many.

    Raises BadValue, naming the culprit, for values out of range and for more samples or paraphrases than there are.
    """
    _check(raw, targets, n_targets, copies, strength, side, train_size)
    order = torch.randperm(len(raw.train), generator=generator(seed, "draw")).tolist()
    candidates = set(raw.rewriter.rows_with_paraphrases()) if raw.rewriter else set(order)
    chosen = [row for row in order if row in candidates][: 2 * n_targets]
    if len(chosen) < 2 * n_targets:
        raise BadValue(
            f"{n_targets} targets and as many decoys need {2 * n_targets} pairs that have paraphrases, and there are "
            f"{len(chosen)}: use fewer targets"
        )
    used = set(chosen)
    others, m = [row for row in order if row not in used], n_targets * copies
    larger = "a larger data set"
    n_filler = enough(train_size, train_size - n_targets - m, m, len(others), len(order), larger)
    filler, refill = others[:n_filler], others[n_filler : n_filler + m]
    answers = [answer_of(raw, row, targets, seed, side) for row in chosen]
    anchors = Texts([raw.train.question[row] for row in chosen], *zip(*answers))
    similar = [
        paraphrases_of(raw, row, a, copies, strength=strength, side=side, seed=seed) for row, a in zip(chosen, answers)
    ]
    used |= {*filler, *refill}
    rest = torch.randperm(len(raw.train), generator=generator(seed, "validation")).tolist()
    validation = [row for row in rest if row not in used][: train_size // VALIDATION_SHARE]
    more = [row for row in reversed(order) if row not in used and row not in {*validation}][
        : max(N_DECOYS - n_targets, 0)
    ]
    more_answers = [answer_of(raw, row, targets, seed, side) for row in more]
    more_decoys = Texts([raw.train.question[row] for row in more], *zip(*more_answers)) if more else NO_TEXTS
    test = held_out_rows(raw, test_size)

    def ids(rows: list[int], times: int = 1) -> list[int]:
        return [raw.ids[row] for row in rows for _ in range(times)]

    n = n_targets
    parts = [
        ("target", anchors[:n], ids(chosen[:n])),
        ("similar", NO_TEXTS.joined(*similar[:n]), ids(chosen[:n], copies)),
        ("filler", raw.train[filler], ids(filler)),
        ("decoy", anchors[n:], ids(chosen[n:])),
        ("decoy", more_decoys, ids(more)),
        ("decoy_similar", NO_TEXTS.joined(*similar[n:]), ids(chosen[n:], copies)),
        ("test", raw.test[test], [raw.test_ids[row] for row in test]),
        ("validation", raw.train[validation], ids(validation)),
        ("refill", raw.train[refill], ids(refill)),
    ]
    role = role_column((part[0], len(part[1])) for part in parts)
    texts = NO_TEXTS.joined(*(part[1] for part in parts))
    source = torch.tensor([i for part in parts for i in part[2]], dtype=torch.int64)
    anchored, similars = (rows.tolist() for rows in linked_rows(role, copies))
    pairs = similarity_table(texts, anchored, similars, raw, [strength] * len(anchored), encode)
    return TextTask(texts, role, source, pairs, dict(raw.facts)).check()


def _check(raw, targets: str, n_targets: int, copies: int, strength: float, side: str, train_size: int) -> None:
    if targets not in get_args(Targets):
        raise unknown("kind of targets", targets, get_args(Targets))
    check_side(side)
    if not 0 <= strength <= 1:
        raise BadValue(f"strength is how far a paraphrase is from its pair, from 0 to 1, got {strength}")
    if copies > 0 and raw.rewriter is None:
        raise BadValue(
            "this data set has no paraphrases: list them in the file (paraphrases), have a model make them "
            "(data_builders.texts.paraphraser), or use copies=0"
        )
    check_sizes(n_targets, copies, train_size, n_targets, len(raw.train), larger_pool="a larger data set")


def answer_of(raw: RawTexts, row: int, targets: str, seed: int, side: str) -> Answer:
    """The answer that a target or decoy is trained with: its own, or a canary's wrong one."""
    if targets == "random":
        return raw.train.answer_of(row)
    if raw.rewriter is None:
        none = ((),) * len(raw.train)
        return GivenParaphrases(raw.train, none, none).wrong_answer(row, seed, "question")
    return raw.rewriter.wrong_answer(row, seed, side)


def paraphrases_of(raw: RawTexts, row: int, answer: Answer, n: int, *, strength: float, side: str, seed: int) -> Texts:
    """n paraphrases of a pair, with the fact, the restated and the wrong answers of the pair itself."""
    if not n:
        return NO_TEXTS
    paraphrases = raw.rewriter.paraphrases(row, n, strength=strength, side=side, seed=seed, answer=answer)
    return Texts(*zip(*paraphrases), *([value] * n for value in (answer.fact, answer.restated, answer.wrong)))


def held_out_rows(raw: RawTexts, size: int) -> list[int]:
    """Rows of the test pairs, at most `size`, the same for all seeds; 0 takes all."""
    order = torch.randperm(len(raw.test), generator=generator(0, "pool", "test texts")).tolist()
    return sorted(order[:size] if size else order)


def similarity_table(
    texts: Texts,
    anchors: list[int],
    similars: list[int],
    raw: RawTexts,
    strengths: Sequence[float],
    encode: Encoder | None,
) -> pd.DataFrame:
    """One row per target or decoy and each of its paraphrases, with every measure on each side. anchors, similars,
    strengths: of each pair, row numbers of `texts`."""
    perturbation, graded = (raw.rewriter.name, raw.rewriter.graded) if raw.rewriter else ("", False)
    table = pd.DataFrame({"anchor": anchors, "similar": similars}, dtype="int64")
    strength = pd.Series(strengths if graded else [float("nan")] * len(anchors), dtype="float64")
    table = table.assign(perturbation=perturbation, strength=strength)
    a, b = texts[anchors], texts[similars]
    similarities = pair_similarities((a.question, a.answer), (b.question, b.answer), encode)
    return pd.concat([table, similarities[columns(encode)]], axis=1)
