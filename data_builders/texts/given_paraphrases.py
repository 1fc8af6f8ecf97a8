"""Paraphrases that come with the data: a list for each pair, from a data set's authors or from a language model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from data_builders.texts.sides import check_side, combine_sides, too_few_paraphrases
from data_builders.texts.task import Answer, Texts
from data_builders.texts.words import words
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue


@dataclass(frozen=True)
class GivenParaphrases:
    """A Rewriter. questions, answers: the paraphrases of each pair of `texts`, in the order in which copies take them.

    Those with the same words as the pair itself, or as an earlier one, are dropped. Raises BadValue for lists of
    another length, and for an answer that lacks the pair's fact.
    """

    texts: Texts
    questions: Sequence[Sequence[str]]
    answers: Sequence[Sequence[str]]
    name: str = "natural"
    graded = False

    def __post_init__(self):
        for side in ("question", "answer"):
            originals, lists = getattr(self.texts, side), getattr(self, f"{side}s")
            if len(lists) != len(self.texts):
                raise BadValue(f"{len(self.texts)} pairs need as many lists of paraphrased {side}s, got {len(lists)}")
            object.__setattr__(
                self, f"{side}s", tuple(distinct(group, [text]) for text, group in zip(originals, lists))
            )
        for row, (fact, group) in enumerate(zip(self.texts.fact, self.answers)):
            if wrong := [text for text in group if fact.lower() not in text.lower()]:
                raise BadValue(f"a paraphrased answer of pair {row} lacks its fact {fact!r}: {wrong[0]!r}")

    def rows_with_paraphrases(self) -> list[int]:
        """Rows with both sides paraphrased, or, if there are none, with one: the same for every side and any n."""
        some = [row for row in range(len(self.texts)) if self.questions[row] or self.answers[row]]
        return [row for row in some if self.questions[row] and self.answers[row]] or some

    def wrong_answer(self, row: int, seed: int, side: str) -> Answer:
        """One of the pair's wrong answers, which is then no longer in `wrong`; without any, another pair's answer."""
        if side != "question":
            raise BadValue(
                f"canaries of {self.name} paraphrases need side='question': a given paraphrase of the answer tells the "
                "truth, which a canary's copies must not tell"
            )
        rng, wrong = generator(seed, "canary", row), list(self.texts.wrong[row])
        if wrong:
            return Answer(wrong.pop(int(torch.randint(len(wrong), (1,), generator=rng))), wrong=tuple(wrong))
        true_words = words(self.texts.answer[row])
        for other in torch.randperm(len(self.texts), generator=rng).tolist():
            if words(self.texts.answer[other]) != true_words:
                return Answer(self.texts.answer[other])
        raise BadValue("canaries need a wrong answer, and all answers here are the same")

    def paraphrases(
        self, row: int, n: int, *, strength: float, side: str, seed: int, answer: Answer
    ) -> list[tuple[str, str]]:
        """strength and seed are not used: the similarity of given paraphrases is what it is."""
        check_side(side)
        question = self.texts.question[row]
        paraphrases = combine_sides((question, answer.text), self.questions[row], self.answers[row], n, side)
        if len(paraphrases) < n:
            hint = "ask for fewer copies"
            if len(self.questions[row]) == len(self.answers[row]) == 1:
                hint += "; with one paraphrase of each side, side='mixed' makes three copies: question, answer, both"
            raise too_few_paraphrases(f"pair {row} ({question!r})", len(paraphrases), n, side, hint=hint)
        return paraphrases


def distinct(texts: Sequence[str], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """The texts with other words than every earlier one and every one of `taken`, in order; texts without words go."""
    known, kept = {tuple(words(text)) for text in taken} | {()}, []
    for text in texts:
        if (key := tuple(words(text))) not in known:
            known.add(key)
            kept.append(text)
    return tuple(kept)
