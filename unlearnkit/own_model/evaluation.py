"""`unlearnkit.evaluate`: what a single unlearned model shows, in one table of plain words, and what it cannot show."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from torch import nn

from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.own_model import classifier, language, samples
from unlearnkit.own_model.intervals import Interval, difference, less, ratio, share
from unlearnkit.own_model.prepare import check_shapes
from unlearnkit.own_model.readings import Reading, ranks, readings, standardised

EQUAL = 0.1  # of the scale: closer than that counts as equal, further as different, and between neither is said
USABLE = 0.05  # of accuracy: a model that loses more cannot be used in place of its reference
MOVED = 0.01  # of the probability of a label: less is no change
COLUMNS = ("question", "answer", "measure", "value", "low", "high", "n", "in words")
TOLD = {"image": "given their label", "text": "answer tokens that are the likeliest"}
Row = tuple[str, str, str, Interval, str]  # question, answer, measure, interval, in words
NONE = Interval(np.nan, np.nan, np.nan, 0)


def evaluate(
    model: nn.Module,
    *,
    forget,
    retain,
    test,
    original: nn.Module,
    retrain: nn.Module | None = None,
    unseen=None,
    tokenizer=None,
    prompt: str | None = None,
    device: str | None = None,
) -> pd.DataFrame:
    """One table: has `model` forgotten, is it usable, has it moved, is it near retraining, and what cannot be said.

    Args:
        model: the unlearned model; original: the model before; retrain: one trained without the forget set, if there is.
        forget, retain, test: as of `unlearnkit.unlearn`; test: samples that no model was trained on.
        unseen: samples drawn and labelled like the forget set that no model was trained on; None: the test set, which is
            right if the forget set was drawn like it. Wrongly labelled targets need samples that are wrongly labelled.
        tokenizer, prompt, device: as of `unlearnkit.unlearn`.

    Returns:
        One row per measure, indexed by `question`: answer ("yes", "no", "unclear": the interval is too wide to say,
        "cannot be said"; empty for a row that stands beside), measure, value, low, high, n, and the same in words.

    All intervals are 95%, over the n samples of a set, and say nothing of other seeds. "forgot?" ranks each forget
    sample among unseen samples of its label by the label's score, which no scaling of logits moves: 0.5 is like unseen.
    Where whole classes are forgotten it is the share that is still given its label, and "usable?" is about the classes
    that stay. "near retrain?" is the influence
    left, standardised by unseen samples: 1 as in the original, 0 as in retrain; masked where these two do not differ.

    Raises BadValue for models or sets that cannot be used, and where a forget sample stands in test; NonFiniteLoss for
    a model whose outputs are not finite.
    """
    models = {"model": model, "original": original} | ({} if retrain is None else {"retrain": retrain})
    own = {name: classifier.check_model(net, name) for name, net in models.items()}["model"]
    where = str(own if device is None else resolve_device(device))
    given = {"forget": forget, "retain": retain, "test": test} | ({} if unseen is None else {"unseen": unseen})
    nets, sets = _prepared(models, given, tokenizer, prompt)
    read = {name: dict(zip(sets, readings(net, list(sets.values()), where))) for name, net in nets.items()}
    for name, parts in read.items():
        if not all(part.finite for part in parts.values()):
            raise NonFiniteLoss(f"{name} gives outputs that are not finite: it diverged")
    for parts in read.values():
        parts.setdefault("unseen", parts["test"])
    whole = not {*read["model"]["forget"].label.tolist()} & {*read["model"]["retain"].label.tolist()}
    if whole:  # what is to be forgotten is not to be judged as useful
        for parts in read.values():
            parts["test"] = parts["test"].of(parts["retain"].label)
    kind = TOLD[sets["forget"].domain]
    rows = [*_forgot(read, whole, kind), *_usable(read, kind), *_moved(read), *_near(read, whole, kind), *_unsaid(read)]
    table = [(q, a, m, i.value, i.low, i.high, i.n, words) for q, a, m, i, words in _gated(rows)]
    return pd.DataFrame(table, columns=COLUMNS).set_index("question")


def _prepared(models: dict, given: dict, tokenizer, prompt: str | None) -> tuple[dict, dict]:
    """Models and sets as they are read, checked."""
    advice = "{} must hold samples that no model was trained on"
    if language.is_texts(given["forget"]):
        texts = {name: language.read_pairs(data, name) for name, data in given.items()}
        for name in sorted({"test", "unseen"} & {*texts}):
            language.check_disjoint(texts["forget"], texts[name], ("forget", name), advice.format(name))
        spelling = language.tokenizer_of(tokenizer, prompt)
        nets = {name: language.language_model(net, spelling, name) for name, net in models.items()}
        context = min((net.context for net in nets.values() if net.context), default=None)
        return nets, {name: language.tokens(part, spelling, context, name) for name, part in texts.items()}
    read = {name: samples.read(data, name) for name, data in given.items()}
    check_shapes(read)
    for name in sorted({"test", "unseen"} & {*read}):
        samples.check_disjoint(read["forget"], read[name], ("forget", name), advice.format(name))
    nets = {name: classifier.classifier(net, read["forget"].stored.shape[1:]) for name, net in models.items()}
    widths = {name: classifier.n_classes(net, read["forget"], "forget", name) for name, net in nets.items()}
    if len({*widths.values()}) > 1:
        raise BadValue(f"the models give logits of different width: {widths}")
    for name, part in read.items():
        classifier.check_labels(part, widths["model"], name)
    return nets, {name: classifier.as_maps(part) for name, part in read.items()}


def _answer(found: Interval, low: float, high: float) -> str:
    """ "yes" if the interval lies within low to high, "no" if outside, else "unclear"."""
    if np.isnan(found.value):
        return "cannot be said"
    if low <= found.low and found.high <= high:
        return "yes"
    return "no" if found.low > high or found.high < low else "unclear"


def _gated(rows: list[Row]) -> list[Row]:
    """The rows, in which no model that cannot be used is said to have forgotten: one of noise knows nothing."""
    if "no" not in [answer for question, answer, *_ in rows if question == "usable?"]:
        return rows
    return [
        (q, "no, not usable" if a == "yes" and q in ("forgot?", "near retrain?") else a, *rest) for q, a, *rest in rows
    ]


def _forgot(read: dict, whole: bool, kind: str) -> Iterator[Row]:
    told = {name: share(parts["forget"].told) for name, parts in read.items()}
    beside = ", ".join(f"{name} {told[name].value:.2f}" for name in told if name != "model")
    in_words = f"{kind}: {told['model'].value:.2f} of the forget set ({beside})"
    if whole:
        limit = EQUAL + told["retrain"].value if "retrain" in told else EQUAL
        yield "forgot?", _answer(told["model"], 0, limit), f"{kind}, whole classes", told["model"], in_words
        return
    rank = _ranks(read)
    found = share(rank["model"])
    if "retrain" in rank:
        like = "retrain's"
        before, after = (difference(rank[name], rank["retrain"]) for name in ("original", "model"))
    else:
        like = "that of unseen samples, 0.5"
        before, after = (less(share(rank[name]), 0.5) for name in ("original", "model"))
    if not found.n:
        answer, words = "cannot be said", "no unseen sample has a label of forget"
    elif before.low <= 0 <= before.high:
        answer = "cannot be said"
        words = f"nothing to measure: original ranks the forget set {before} from {like}, which is no difference"
        words += "; near-duplicates that stay may be why" if "retrain" in rank else ""
    elif after.low > EQUAL:
        answer, words = "no", f"still ranked above {like}, by {after}; original by {before}"
    elif after.high < -EQUAL:
        answer, words = "too far", f"ranked below {like}, by {after}, which gives the forget set away"
    else:
        answer = _answer(after, -EQUAL, EQUAL)
        words = f"ranked {after} from {like}; original {before}"
    yield "forgot?", answer, "rank among unseen samples", found, words
    test = share(read["model"]["test"].told)
    yield "forgot?", "", f"{kind}, forget set", told["model"], f"{in_words}, {test.value:.2f} of the test set"


def _usable(read: dict, kind: str) -> Iterator[Row]:
    name = "retrain" if "retrain" in read else "original"
    for part in ("test", "retain"):
        found = difference(read["model"][part].told, read[name][part].told)
        answer = "" if part == "retain" else _answer(found, -USABLE, 1)
        levels = f"{share(read['model'][part].told).value:.2f}, {name} {share(read[name][part].told).value:.2f}"
        yield "usable?", answer, f"{kind}, {part} set, less {name}'s", found, f"{part} set: {levels}"


def _moved(read: dict) -> Iterator[Row]:
    change = {
        part: np.abs(read["model"][part].probability - read["original"][part].probability)
        for part in ("forget", "test")
    }
    forget, test = (share(values) for values in change.values())
    same = all(np.array_equal(read["model"][part].score, read["original"][part].score) for part in read["model"])
    answer = "no" if same or forget.value < MOVED else "yes"  # of this forget set itself, not of others like it
    more = "more than" if forget.low > test.high else "no more than"
    words = "no output changed" if same else f"the forget set {more} the test set ({test})"
    yield "moved?", answer, "change of a sample's probability, forget set", forget, words


def _near(read: dict, whole: bool, kind: str) -> Iterator[Row]:
    if "retrain" not in read:
        words = "pass retrain=, a model trained without the forget set"
        yield "near retrain?", "cannot be said", "influence left", NONE, words
        return
    told = {name: parts["forget"].told for name, parts in read.items()}
    gap = difference(told["model"], told["retrain"])
    same = f"{kind}, forget set, less retrain's", gap, f"retrain {told['retrain'].mean():.2f}"
    if whole:
        yield "near retrain?", _answer(gap, -EQUAL, EQUAL), *same
        return
    left = {name: _standardised(parts) for name, parts in read.items()}
    found = ratio(left["model"] - left["retrain"], left["original"] - left["retrain"])
    by_rank = _ranks(read)
    apart = difference(by_rank["original"], by_rank["retrain"])
    if np.isnan(found.value) or np.isnan(apart.value) or apart.low <= 0 <= apart.high:
        found, words = Interval(np.nan, np.nan, np.nan, found.n), "original and retrain do not differ on the forget set"
    else:
        words = f"{found.value:.2f} of what original knows beyond retrain is left (0: as retrain, 1: as original)"
    answer = _answer(found, -EQUAL, EQUAL)
    if answer == "no" and found.value * apart.value * np.mean(by_rank["model"] - by_rank["retrain"]) < 0:
        answer, words = "depends on the measure", f"{words}; by ranks it has the other sign"
    yield "near retrain?", answer, "influence left", found, words
    yield "near retrain?", "", *same


def _ranks(read: dict) -> dict[str, np.ndarray]:
    """The rank of each forget sample among unseen samples, by model; without those whose label no unseen sample has."""
    rank = {name: ranks(parts["forget"], parts["unseen"]) for name, parts in read.items()}
    return {name: values[~np.isnan(values)] for name, values in rank.items()}


def _standardised(parts: dict[str, Reading]) -> np.ndarray:
    asked, unseen = parts["forget"], parts["unseen"]
    if np.isin(unseen.label, asked.label).sum() < 2:
        return np.zeros(len(asked.score))  # no scale: the ratio is masked
    return standardised(asked, unseen)


def _unsaid(read: dict) -> Iterator[Row]:
    if "retrain" not in read:
        words = "whether a model that never saw the forget set would answer like this one: only retraining shows it"
        yield "not said", "", "", NONE, words
    else:
        words = "whether the differences to retrain are more than those of two retrainings: train two"
        yield "not said", "", "", NONE, words
    words = (
        "whether near-duplicates in the retain set keep the influence alive, in retrain, too: "
        "find_near_duplicates(forget, retain, model)"
    )
    yield "not said", "", "", NONE, words
