"""Which side of a pair is paraphrased: the question, the answer, both, or each of these in turn."""

from collections.abc import Sequence
from typing import Literal, get_args

from unlearnkit.core.errors import BadValue, unknown

Side = Literal["question", "answer", "both", "mixed"]


def check_side(side: str) -> None:
    """Raises UnknownName, with the nearest name, for a side that does not exist."""
    if side not in get_args(Side):
        raise unknown("side to paraphrase", side, get_args(Side))


def combine_sides(
    pair: tuple[str, str], questions: Sequence[str], answers: Sequence[str], n: int, side: str
) -> list[tuple[str, str]]:
    """At most n paraphrases (question, answer) of `pair`, from other wordings of its question and of its answer;
    paraphrase i is the same for every n.

    question: the answer stays, word for word; answer: the question stays; both: where there are fewer other answers
    than other questions, answers are used again, never with the same question; mixed: paraphrase 0 has another
    question, paraphrase 1 another answer, paraphrase 2 both, and so on.
    """
    question, answer = pair
    by_question = [(other, answer) for other in questions]
    by_answer = [(question, other) for other in answers]
    by_both = [(other, answers[i % len(answers)]) for i, other in enumerate(questions)] if len(answers) else []
    if side == "mixed":  # zip stops at the shortest list
        return [copy for three in zip(by_question, by_answer, by_both) for copy in three][:n]
    return {"question": by_question, "answer": by_answer, "both": by_both}[side][:n]


def too_few_paraphrases(what: str, available: int, wanted: int, side: str, where: str = "", hint: str = "") -> BadValue:
    """The error for a pair with fewer paraphrases than asked for."""
    hint = hint or "ask for fewer copies, or another strength or side"
    return BadValue(
        f"{what}: {wanted} copies asked for, {available} different paraphrases of {side} are there{where}: {hint}"
    )
