"""Raw question-answer pairs -> TextTask: targets, paraphrases linked to them, filler, decoys, test.

One file per family registers a loader (`@text_dataset(...)`); `find(name)` finds it by name, or reads a JSONL file of
your own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from data_builders.texts.similarity import words
from data_builders.texts.task import Texts
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Registry

text_datasets = Registry("text dataset", "data_builders.texts")


@dataclass(frozen=True)
class Told:
    """What a pair says: the answer, its fact, the answer in other words, and wrong answers of the same form."""

    answer: str
    fact: str = ""
    restated: str = ""
    wrong: tuple[str, ...] = ()


class Rewriter(Protocol):
    """Where paraphrases come from. name: the kind of similarity that the pair table states; graded: it has a strength."""

    name: str
    graded: bool

    def able(self) -> list[int]:
        """Rows that can be targets: those that have paraphrases."""

    def copies(self, row: int, n: int, *, strength: float, side: str, seed: int, told: Told) -> list[tuple[str, str]]:
        """n paraphrases (question, answer) of a pair that says what is `told`; the first ones are the same for every n.

        Raises BadValue, with how many there are, for more than that.
        """

    def wronged(self, row: int, seed: int, side: str) -> Told:
        """A wrong answer for a canary."""


@dataclass(frozen=True)
class RawTexts:
    """Question-answer pairs as they come.

    train, test: Texts; ids, test_ids: 0, 1, ... over training, then test pairs, if not given; rewriter: where
    paraphrases come from, None if there are none; facts: what a dataset card says beside licence and source.

    Raises BadValue for two questions of the same words, and ids that are not unique.
    """

    train: Texts
    test: Texts
    rewriter: Rewriter | None = None
    ids: Sequence[int] = ()
    test_ids: Sequence[int] = ()
    facts: Mapping = field(default_factory=dict)

    def __post_init__(self):
        n, m = len(self.train), len(self.test)
        ids = tuple(self.ids) or tuple(range(n))
        test_ids = tuple(self.test_ids) or tuple(range(max(ids, default=-1) + 1, max(ids, default=-1) + 1 + m))
        if (len(ids), len(test_ids)) != (n, m) or len({*ids, *test_ids}) != n + m:
            raise BadValue(f"{n} training and {m} test pairs need an id each, all different")
        seen: dict[str, int] = {}
        for i, question in zip((*ids, *test_ids), (*self.train.question, *self.test.question)):
            if (first := seen.setdefault(" ".join(words(question)), i)) != i:
                raise BadValue(f"pairs {first} and {i} ask the same question: {question!r}; keep one of them")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "test_ids", test_ids)

    def digest(self) -> str:
        """Hash of all texts and ids; paraphrases are of the code, or of the files that they were read from."""
        text = repr((self.train.digest(), self.test.digest(), self.ids, self.test_ids))
        return sha256(text.encode()).hexdigest()[:20]


def text_dataset(name: str, *, licence: str, source: str, files: Callable[[], list[Path]] | None = None):
    """Register `function() -> RawTexts` as `name`. files: what it reads, so that a change of them shows."""
    return text_datasets.register(name, licence=licence, source=source, files=files)


@dataclass(frozen=True)
class TextSource:
    """Where a set of texts comes from: `load()` reads it, `files()` lists what that reads, `code` is what does it."""

    name: str
    load: Callable[[], RawTexts]
    files: Callable[[], list[Path]]
    code: Callable
    licence: str
    source: str

    def fingerprint(self) -> dict[str, str]:
        """File name -> hash of its content."""
        return {path.name: _hash(path, path.stat().st_mtime_ns, path.stat().st_size) for path in self.files()}


@cache
def _hash(path: Path, changed: int, size: int) -> str:
    return sha256(path.read_bytes()).hexdigest()[:20]


def find(name: str) -> TextSource:
    """The text dataset registered as `name`; or else, if `name` ends in .jsonl, that file of your own.

    Raises UnknownName with the nearest name, BadValue if there is no such file.
    """
    from data_builders.texts import user_texts as own  # it registers nothing, and needs this module

    if name not in text_datasets and own.is_path(name):
        path = own.resolve(name)
        return TextSource(path.stem, lambda: own.read(path), lambda: [path], own.read, "your own", path.name)
    entry = text_datasets[name]
    files = entry.info.get("files") or (lambda: [])
    return TextSource(name, entry.function, files, entry, entry.info["licence"], entry.info["source"])


def load(name: str) -> RawTexts:
    """The pairs of a text dataset, by its name or path."""
    return find(name).load()
