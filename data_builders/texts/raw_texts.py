"""Question-answer pairs as a data set has them, before any task is made of them, and the registry of the text data
sets.

One file per family registers its loaders (`@text_dataset(...)`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from data_builders.texts.task import Answer, Texts
from data_builders.texts.words import words
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Registry

text_datasets = Registry("text dataset", "data_builders.texts")


class Rewriter(Protocol):
    """Where the paraphrases of a data set come from.

    name: stands in the pair table as `perturbation`; graded: whether its paraphrases have a strength.
    """

    name: str
    graded: bool

    def rows_with_paraphrases(self) -> list[int]:
        """Rows that can be targets."""

    def paraphrases(
        self, row: int, n: int, *, strength: float, side: str, seed: int, answer: Answer
    ) -> list[tuple[str, str]]:
        """n paraphrases (question, answer) of a pair with this answer; the first ones are the same for every n.

        Raises BadValue, with the number there is, for more than that.
        """

    def wrong_answer(self, row: int, seed: int, side: str) -> Answer:
        """A wrong answer for a canary."""


@dataclass(frozen=True)
class RawTexts:
    """The training and test pairs of a data set.

    ids, test_ids: by default 0, 1, ... over training, then test pairs; rewriter: where paraphrases come from, None if
    there are none; facts: what a dataset card says beside licence and source; subjects: whom each training pair is about,
    a number each; by default each is about somebody else.

    Raises BadValue for two questions with the same words, for ids that are not unique, and for subjects of another number.
    """

    train: Texts
    test: Texts
    rewriter: Rewriter | None = None
    ids: Sequence[int] = ()
    test_ids: Sequence[int] = ()
    facts: Mapping = field(default_factory=dict)
    subjects: Sequence[int] = ()

    def __post_init__(self):
        n, m = len(self.train), len(self.test)
        subjects = tuple(self.subjects) or tuple(range(n))
        if len(subjects) != n:
            raise BadValue(f"{n} training pairs need a subject each, got {len(subjects)}")
        object.__setattr__(self, "subjects", subjects)
        ids = tuple(self.ids) or tuple(range(n))
        test_ids = tuple(self.test_ids) or tuple(range(max(ids, default=-1) + 1, max(ids, default=-1) + 1 + m))
        if (len(ids), len(test_ids)) != (n, m) or len({*ids, *test_ids}) != n + m:
            raise BadValue(f"{n} training and {m} test pairs need an id each, all different")
        id_of: dict[str, int] = {}
        for i, question in zip((*ids, *test_ids), (*self.train.question, *self.test.question)):
            if (first := id_of.setdefault(" ".join(words(question)), i)) != i:
                raise BadValue(f"pairs {first} and {i} ask the same question: {question!r}; keep one of them")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "test_ids", test_ids)

    def digest(self) -> str:
        """Hash of all texts and ids. Paraphrases are not in it: they depend on the code, or on files of their own."""
        text = repr((self.train.digest(), self.test.digest(), self.ids, self.test_ids))
        return sha256(text.encode()).hexdigest()[:20]


def text_dataset(name: str, *, licence: str, source: str, files: Callable[[], list[Path]] | None = None):
    """Register `function() -> RawTexts` as `name`. files: what it reads, so that changed files are noticed."""
    return text_datasets.register(name, licence=licence, source=source, files=files)
