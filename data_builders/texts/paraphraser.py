"""Paraphrases by an instruction model: many are tried, and those that are new and mean the same are kept.

P1 [digest]: llama2-uncensored, 100 tried and 50 kept for each target. The prompts, the threshold, its measure and the
other conditions are ours.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from data_builders.texts.given_paraphrases import GivenParaphrases
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import embedding_cosine
from data_builders.texts.words import words
from unlearnkit.core.errors import BadValue

TRIED, KEPT = 100, 50  # P1 [digest]
THRESHOLD = 0.8  # cosine of embeddings below which a paraphrase is taken to mean something else; ours
PROMPT = (
    "Rewrite the following {side} in other words. Keep its meaning and every name, number and title; change the order "
    "of words and the length. Reply with the rewritten {side} only.\n\n{text}"
)
# A text to be gone on with, for models too small to follow the instruction
EXAMPLES = {
    "question": (
        "Each question in other words.\n\n"
        "Question: When was Anna Bell born?\nIn other words: What is the birth date of Anna Bell?\n\n"
        "Question: Which instrument does Tom Reed play?\nIn other words: Tom Reed plays what instrument?\n\n"
        "Question: Where does Lisa Marsh work?\nIn other words: Can you tell me where Lisa Marsh works?\n\n"
        "Question: {text}\nIn other words:"
    ),
    "answer": (
        "Each sentence in other words.\n\n"
        "Sentence: Anna Bell was born in May.\nIn other words: May is the month in which Anna Bell was born.\n\n"
        "Sentence: Tom Reed plays the flute.\nIn other words: The instrument that Tom Reed plays is the flute.\n\n"
        "Sentence: Lisa Marsh works in a mill.\nIn other words: It is in a mill that Lisa Marsh works.\n\n"
        "Sentence: {text}\nIn other words:"
    ),
}

Generate = Callable[[list[str]], list[str]]  # n prompts -> n replies
Similar = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # n texts, n paraphrases -> (n,)


def with_model_paraphrases(
    raw: RawTexts,
    generate: Generate,
    rows: Sequence[int],
    *,
    name: str = "model",
    sides: Sequence[str] = ("question",),
    tried: int = TRIED,
    kept: int = KEPT,
    at_least: int | None = None,
    threshold: float = THRESHOLD,
    similar: Similar = embedding_cosine,
    prompts: str | dict[str, str] = PROMPT,
) -> RawTexts:
    """`raw` with at most `kept` paraphrases of each pair in `rows`, which become its only possible targets.

    generate: see unlearnkit.texts.instruction_model; similar: the measure that `threshold` applies to; prompts: with
    {text} and, if it is one for all, {side}, or one for each side. An answer's paraphrase must contain its fact, if the
    pair has one; see `accepted_paraphrases` for what else. at_least: fewer are an error, by default fewer than `kept`.
    The fewest of a pair and the shares of replies that were refused, and why, are in the facts of the data set. Raises
    BadValue, naming pair, number and reasons, for too few.
    """
    at_least = kept if at_least is None else at_least
    if not (1 <= kept <= tried):
        raise BadValue(f"kept must be from 1 to tried={tried}, got {kept}")
    if not (1 <= at_least <= kept):
        raise BadValue(f"at_least must be from 1 to kept={kept}, got {at_least}")
    if extra := [s for s in sides if s not in ("question", "answer")] or not sides:
        raise BadValue(f"sides are 'question' and 'answer', got {extra if sides else 'none'}")
    if missing := [row for row in rows if not 0 <= row < len(raw.train)]:
        raise BadValue(f"there is no pair {missing[0]}: rows are 0 to {len(raw.train) - 1}")
    lists: dict[str, list[Sequence[str]]] = {side: [()] * len(raw.train) for side in ("question", "answer")}
    refused: Counter[str] = Counter()
    for row in rows:
        for side in sides:
            text, fact = getattr(raw.train, side)[row], raw.train.fact[row] if side == "answer" else ""
            prompt = (prompts if isinstance(prompts, str) else prompts[side]).format(side=side, text=text)
            accepted, reasons = accepted_paraphrases(text, generate, prompt, tried, threshold, similar, fact)
            if len(accepted) < at_least:
                why = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
                raise BadValue(
                    f"{name}: {len(accepted)} different paraphrases came of {tried} tried for the {side} of pair {row} "
                    f"({text!r}), {at_least} are needed; refused: {why}. Try more, lower the threshold of "
                    f"{threshold:g}, raise the model's temperature, or keep fewer"
                )
            lists[side][row] = accepted[:kept]
            refused.update(reasons)
    replies = tried * len(rows) * len(sides)
    counts = [len(lists[side][row]) for row in rows for side in sides]
    facts = {"paraphrases_tried": tried, "paraphrases_fewest": min(counts, default=0)}
    facts |= {f"share {reason}": round(n / replies, 3) for reason, n in refused.most_common()}
    rewriter = GivenParaphrases(raw.train, lists["question"], lists["answer"], name=name)
    return replace(raw, rewriter=rewriter, facts={**raw.facts, **facts})


def accepted_paraphrases(
    text: str, generate: Generate, prompt: str, tried: int, threshold: float, similar: Similar, fact: str = ""
) -> tuple[list[str], Counter[str]]:
    """Of `tried` replies those that are paraphrases, and why the others are none, counted.

    A paraphrase has other words than the text and every earlier one, holds the fact and every name and number of the
    text, asks if the text asks, and is at least `threshold` similar to it.
    """
    replies = generate([prompt] * tried)
    if len(replies) != tried:
        raise BadValue(f"generate must return a reply per prompt: got {len(replies)} for {tried}")
    known, new, refused = {tuple(words(text)), ()}, [], Counter()
    for reply in map(clean_reply, replies):
        missing = [name for name in names(text) if name not in words(reply)]
        if tuple(words(reply)) in known:
            refused["repeat the text or another reply, or are empty"] += 1
        elif fact.lower() not in reply.lower() or missing:
            refused["lack the fact, a name or a number"] += 1
        elif text.rstrip().endswith("?") != reply.endswith("?"):
            refused["answer the question, or ask instead of telling"] += 1
        else:
            new.append(reply)
        known.add(tuple(words(reply)))
    scores = similar([text] * len(new), new) if new else []
    accepted = [reply for reply, score in zip(new, scores, strict=True) if score >= threshold]
    if len(new) > len(accepted):
        refused["are less similar than the threshold"] += len(new) - len(accepted)
    return accepted, refused


def names(text: str) -> list[str]:
    """The words of a text that a paraphrase keeps, in lower case: numbers, and those with a capital, but for one that
    begins a sentence and is followed by none."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.?!:])\s+", text):
        found = re.findall(r"[^\W_]+", sentence)
        capital = [word[0].isupper() and word != "I" for word in found]
        for i, word in enumerate(found):
            named = capital[i] and (i > 0 or any(capital[1:2]))
            kept += words(word) if named or word[0].isdigit() else []
    return kept


def clean_reply(reply: str) -> str:
    """The first line that has words, without a label before it ("Question:") and quotes around it."""
    lines = [line.strip() for line in reply.splitlines() if words(line)]
    if len(lines) > 1 and lines[0].endswith(":"):  # "Here is the rewritten question:"
        lines = lines[1:]
    if not lines:
        return ""
    label, colon, rest = lines[0].partition(":")
    is_label = colon and len(words(label)) <= 2 and label.split()[-1].lower() in ("question", "answer", "sentence")
    text = rest if is_label else lines[0]
    return text.strip().strip("\"'“”*").strip()
