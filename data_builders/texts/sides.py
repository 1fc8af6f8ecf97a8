"""Which side of a pair is paraphrased: the question, the answer, both, or each of these in turn."""

from collections.abc import Sequence
from typing import Literal

from unlearnkit.core.errors import BadValue, unknown

Side = Literal["question", "answer", "both", "mixed"]


def check_side(side: str) -> None:
    if side not in Side.__args__:  # type: ignore[attr-defined]
        raise unknown("side to paraphrase", side, Side.__args__)  # type: ignore[attr-defined]


def arranged(first: tuple[str, str], questions: Sequence[str], answers: Sequence[str], n: int, side: str):
    """At most n copies of the pair `first`, [(question, answer)]; copy i is the same for every n.

    question: the answer stays, word for word; answer: the question stays; both: where there are fewer other answers than
    other questions, answers come again, never with the same question; mixed: copy 0 has another question, copy 1 another
    answer, copy 2 both, and so on.
    """
    q, a = first
    by_question = [(question, a) for question in questions]
    by_answer = [(q, answer) for answer in answers]
    by_both = [(question, answers[i % len(answers)]) for i, question in enumerate(questions)] if len(answers) else []
    if side == "mixed":
        whole = min(len(by_question), len(by_answer), len(by_both))
        turns = [copy for three in zip(by_question, by_answer, by_both) for copy in three]
        return turns[: min(n, 3 * whole)]
    return {"question": by_question, "answer": by_answer, "both": by_both}[side][:n]


def too_few(what: str, have: int, wanted: int, side: str, where: str = "", hint: str = "") -> BadValue:
    """The error for a pair with fewer paraphrases than asked for."""
    way = hint or "ask for fewer copies, or another strength or side"
    return BadValue(
        f"{what}: {wanted} copies asked for, {have} different paraphrases of {side} are there{where}: {way}"
    )
