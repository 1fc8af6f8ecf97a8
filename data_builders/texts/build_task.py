"""A text task: which pairs are targets, paraphrases of them, filler, decoys, test and validation."""

from typing import Literal, get_args

import torch

from data_builders.arms import share_out
from data_builders.task import VALIDATION_SHARE
from data_builders.texts.assemble import anchor, assemble
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.sides import Side, check_side
from data_builders.texts.similarity import Encoder
from data_builders.texts.task import TextTask
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, unknown

Targets = Literal["random", "canary"]
N_DECOYS = 60  # on which targets are standardised; each is a question that every model answers, which takes time
LARGER = "a larger data set"  # the way out where it has too few pairs


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
    _check(raw, targets, n_targets, copies, strength, side)
    order = torch.randperm(len(raw.train), generator=generator(seed, "draw")).tolist()
    candidates = set(raw.rewriter.rows_with_paraphrases()) if raw.rewriter else set(order)
    chosen = [row for row in order if row in candidates][: 2 * n_targets]
    if len(chosen) < 2 * n_targets:
        raise BadValue(
            f"{n_targets} targets and as many decoys need {2 * n_targets} pairs that have paraphrases, and there are "
            f"{len(chosen)}: use fewer targets"
        )
    used = set(chosen)
    others = [row for row in order if row not in used]
    filler, refill, _ = share_out(others, [(n_targets, copies)], train_size, len(order), LARGER)
    used |= {*filler, *refill}
    rest = torch.randperm(len(raw.train), generator=generator(seed, "validation")).tolist()
    validation = [row for row in rest if row not in used][: train_size // VALIDATION_SHARE]
    used |= {*validation}
    more = [row for row in reversed(order) if row not in used][: max(N_DECOYS - n_targets, 0)]
    how = {"side": side, "seed": seed, "strength": strength}
    anchors = [anchor(raw, row, targets, copies=copies, **how) for row in chosen]
    decoys = anchors[n_targets:] + [anchor(raw, row, targets, **how) for row in more]
    rows = {"filler": filler, "validation": validation, "refill": refill}
    return assemble(raw, anchors[:n_targets], decoys, rows, test_size, encode)


def _check(raw, targets: str, n_targets: int, copies: int, strength: float, side: str) -> None:
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
    if copies < 0:
        raise BadValue(f"copies must be 0 or more, got {copies}")
    if n_targets < 1:
        raise BadValue(f"n_targets must be at least 1, got {n_targets}")
