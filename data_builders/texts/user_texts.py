"""Question-answer pairs of your own: a .jsonl file, one JSON object a line.

question, answer: text, not empty. Optional: id, a whole number; paraphrases, a list of questions in other words, or of
{"question": ..., "answer": ...} with either or both; fact, what an answer must contain; wrong, a list of wrong answers;
split, "train" or "test". Without a test split a random fifth of the pairs, always the same, becomes one.
"""

import json
from pathlib import Path

import torch

from data_builders.texts.given_paraphrases import GivenParaphrases
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import words
from data_builders.texts.task import Texts
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

TEST_SHARE = 5  # one pair in five
KEYS = {"id", "question", "answer", "paraphrases", "fact", "wrong", "split"}


def is_path(name: str) -> bool:
    """Whether a dataset's name is a path."""
    return Path(name).suffix == ".jsonl"


def read(path: Path) -> RawTexts:
    """The pairs of a file. Raises BadValue, naming file and line, for what is malformed, missing, empty or repeated."""
    rows = [_row(path.name, number, line) for number, line in _lines(path)]
    if not rows:
        raise BadValue(f"{path.name} has no pairs")
    _check_unique(path.name, rows)
    train, test = ([r for r in rows if r["split"] == split] for split in ("train", "test"))
    if not train:
        raise BadValue(f"{path.name} has test pairs, but none to train on")
    if not test:
        if len(train) < 2:
            raise BadValue(f"{path.name} has one pair; it needs two, one to train on, one to test")
        order = torch.randperm(len(train), generator=generator(0, "own texts", "test split")).tolist()
        held_out = set(order[: max(len(train) // TEST_SHARE, 1)])
        train, test = (
            [r for i, r in enumerate(train) if (i in held_out) == (split == "test")] for split in ("train", "test")
        )
    texts, others = (Texts(*([r[k] for r in part] for k in ("question", "answer", "fact")), wrong=[r["wrong"] for r in part])
                     for part in (train, test))  # fmt: skip
    rewriter = None
    if any(r["paraphrases"] for r in train):
        lists = ([[p[k] for p in r["paraphrases"] if k in p] for r in train] for k in ("question", "answer"))
        try:
            rewriter = GivenParaphrases(texts, *lists)
        except BadValue as error:
            raise BadValue(f"{path.name}: {error}") from error
    return RawTexts(texts, others, rewriter, [r["id"] for r in train], [r["id"] for r in test])


def _lines(path: Path):
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"{path.name} cannot be read as UTF-8 text: {error}") from error
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _row(name: str, number: int, line: str) -> dict:
    where = f"{name}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadValue(f"{where} is not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadValue(f"{where} must be an object with question and answer, got {type(row).__name__}")
    for key in ("question", "answer"):
        if key not in row:
            raise BadValue(f"{where} has no {key!r}; it has {', '.join(map(repr, sorted(row))) or 'nothing'}")
        if not isinstance(row[key], str):
            raise BadValue(f"{where}: {key} must be text, got {type(row[key]).__name__}")
        if not words(row[key]):
            raise BadValue(f"{where} has an empty {key}: {row[key]!r}")
    if extra := sorted(set(row) - KEYS):
        raise BadValue(f"{where} has an unknown key {extra[0]!r}; known: {', '.join(sorted(KEYS))}")
    if type(row.get("id", 0)) is not int:
        raise BadValue(f"{where}: id must be a whole number, got {row['id']!r}")
    if row.get("split", "train") not in ("train", "test"):
        raise BadValue(f"{where}: split must be train or test, got {row['split']!r}")
    fact = row.get("fact", "")
    if not isinstance(fact, str) or fact.lower() not in row["answer"].lower():
        raise BadValue(f"{where}: the fact must be text that the answer contains, got {fact!r}")
    wrong = row.get("wrong", [])
    if not isinstance(wrong, list) or not all(isinstance(w, str) and words(w) for w in wrong):
        raise BadValue(f"{where}: wrong must be a list of answers that are not empty, got {wrong!r}")
    return {"split": "train", "number": number} | row | {
        "fact": fact, "wrong": wrong, "paraphrases": _paraphrases(where, row.get("paraphrases", []))}  # fmt: skip


def _paraphrases(where: str, given: object) -> list[dict[str, str]]:
    if not isinstance(given, list):
        raise BadValue(f"{where}: paraphrases must be a list, got {type(given).__name__}")
    paraphrases = [{"question": p} if isinstance(p, str) else p for p in given]
    for p in paraphrases:
        good = isinstance(p, dict) and p and set(p) <= {"question", "answer"}
        if not good or not all(isinstance(v, str) and words(v) for v in p.values()):
            raise BadValue(
                f"{where}: a paraphrase must be text, or an object with question or answer, not empty; got {p!r}"
            )
    return paraphrases


def _check_unique(name: str, rows: list[dict]) -> None:
    """Sets ids if no pair has one. Raises BadValue for an id or a question that comes twice."""
    given = [r for r in rows if "id" in r]
    if given and len(given) < len(rows):
        number = next(r["number"] for r in rows if "id" not in r)
        raise BadValue(f"{name}, line {number} has no id, and other lines have one: give one to all, or to none")
    for i, row in enumerate(rows):
        row.setdefault("id", i)
    for what, key in (("id", lambda r: r["id"]), ("question", lambda r: " ".join(words(r["question"])))):
        first: dict = {}
        for row in rows:
            if (before := first.setdefault(key(row), row["number"])) != row["number"]:
                raise BadValue(
                    f"{name}, line {row['number']} has the {what} of line {before}, {row[what]!r}: each must be unique"
                )
