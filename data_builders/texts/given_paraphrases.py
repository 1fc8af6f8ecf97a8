"""Paraphrases that are there already: a list for each pair, from a data set's authors or from a language model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from data_builders.texts import Told
from data_builders.texts.sides import arranged, check_side, too_few
from data_builders.texts.similarity import words
from data_builders.texts.task import Texts
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue


@dataclass(frozen=True)
class Listed:
    """questions, answers: the paraphrases of each pair of `texts`, in the order in which copies take them.

    Those of the same words as the pair itself, or as an earlier one, do not count.
    """

    texts: Texts
    questions: Sequence[Sequence[str]]
    answers: Sequence[Sequence[str]]
    name: str = "natural"
    graded = False

    def __post_init__(self):
        for side in ("question", "answer"):
            first, lists = getattr(self.texts, side), getattr(self, f"{side}s")
            if len(lists) != len(self.texts):
                raise BadValue(f"{len(self.texts)} pairs need as many lists of paraphrased {side}s, got {len(lists)}")
            object.__setattr__(self, f"{side}s", tuple(distinct(group, [text]) for text, group in zip(first, lists)))
        for row, (fact, group) in enumerate(zip(self.texts.fact, self.answers)):
            if lost := [text for text in group if fact.lower() not in text.lower()]:
                raise BadValue(f"a paraphrased answer of pair {row} lacks its fact {fact!r}: {lost[0]!r}")

    def able(self) -> list[int]:
        """The same for every side and number of copies: those with both sides paraphrased, where any pair has both."""
        some = [row for row in range(len(self.texts)) if self.questions[row] or self.answers[row]]
        return [row for row in some if self.questions[row] and self.answers[row]] or some

    def wronged(self, row: int, seed: int, side: str) -> Told:
        """One of the pair's wrong answers, which then counts as wrong no more; without any, another pair's answer."""
        if side != "question":
            raise BadValue(
                f"canaries of {self.name} paraphrases need side='question': a paraphrased answer, as it is listed, tells "
                "the truth that a canary's copies must not tell"
            )
        rng, wrong = generator(seed, "canary", row), list(self.texts.wrong[row])
        if wrong:
            return Told(wrong.pop(int(torch.randint(len(wrong), (1,), generator=rng))), wrong=tuple(wrong))
        mine = words(self.texts.answer[row])
        for other in torch.randperm(len(self.texts), generator=rng).tolist():
            if words(self.texts.answer[other]) != mine:
                return Told(self.texts.answer[other])
        raise BadValue("canaries need a wrong answer, and all answers here are the same")

    def copies(self, row: int, n: int, *, strength: float, side: str, seed: int, told: Told) -> list[tuple[str, str]]:
        """strength plays no part: listed paraphrases are as similar as they are."""
        check_side(side)
        first = (self.texts.question[row], told.answer)
        found = arranged(first, self.questions[row], self.answers[row], n, side)
        if len(found) < n:
            hint = "ask for fewer copies"
            if len(self.questions[row]) == len(self.answers[row]) == 1:
                hint += "; with one paraphrase of each side, side='mixed' makes three copies: question, answer, both"
            raise too_few(f"pair {row} ({first[0]!r})", len(found), n, side, hint=hint)
        return found


def distinct(texts: Sequence[str], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """Without those that have the same words as an earlier one, or as one of `taken`; in order."""
    seen, found = {tuple(words(text)) for text in taken} | {()}, []
    for text in texts:
        if (key := tuple(words(text))) not in seen:
            seen.add(key)
            found.append(text)
    return tuple(found)
