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
from data_builders.texts.rows import Row, read_rows
from data_builders.texts.task import Texts
from data_builders.texts.words import words
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

TEST_SHARE = 5  # one pair in five
KEYS = {"id", "question", "answer", "paraphrases", "fact", "wrong", "split"}


def is_path(name: str) -> bool:
    """Whether a dataset's name is a path."""
    return Path(name).suffix == ".jsonl"


def read(path: Path) -> RawTexts:
    """The pairs of a file. Raises BadValue, naming file and line, for what is malformed, missing, empty or repeated."""
    pairs = [_pair(row) for row in read_rows(path)]
    _check_unique(pairs)
    train, test = ([p for p in pairs if p["split"] == split] for split in ("train", "test"))
    if not train:
        raise BadValue(f"{path.name} has test pairs, but none to train on")
    if not test:
        if len(train) < 2:
            raise BadValue(f"{path.name} has one pair; it needs two, one to train on, one to test")
        order = torch.randperm(len(train), generator=generator(0, "own texts", "test split")).tolist()
        held_out = set(order[: max(len(train) // TEST_SHARE, 1)])
        train, test = (
            [p for i, p in enumerate(train) if (i in held_out) == (split == "test")] for split in ("train", "test")
        )
    texts, others = (
        Texts(*([p[k] for p in part] for k in ("question", "answer", "fact")), wrong=[p["wrong"] for p in part])
        for part in (train, test)
    )
    rewriter = None
    if any(p["paraphrases"] for p in train):
        lists = ([[q[k] for q in p["paraphrases"] if k in q] for p in train] for k in ("question", "answer"))
        rewriter = GivenParaphrases(texts, *lists)
    return RawTexts(texts, others, rewriter, [p["id"] for p in train], [p["id"] for p in test])


def _pair(row: Row) -> dict:
    """The pair of a line, checked, with its row."""
    if extra := sorted(set(row.values) - KEYS):
        row.text("question"), row.text("answer")  # what is missing, before what is too much
        raise row.error(f"has an unknown key {extra[0]!r}; known: {', '.join(sorted(KEYS))}")
    pair: dict = {
        "row": row,
        "question": row.text("question"),
        "answer": row.text("answer"),
        "wrong": row.texts("wrong"),
    }
    pair |= {"id": row.whole_number("id", 0)} if "id" in row.values else {}
    if (split := row.values.get("split", "train")) not in ("train", "test"):
        raise row.error(f"split must be train or test, got {split!r:.80}", colon=True)
    fact = row.checked("fact", row.values.get("fact", ""))
    if fact.lower() not in pair["answer"].lower():
        raise row.error(f"the fact must be text that the answer contains, got {fact!r:.80}", colon=True)
    return pair | {"fact": fact, "split": split, "paraphrases": _paraphrases(row, fact)}


def _paraphrases(row: Row, fact: str) -> list[dict[str, str]]:
    given = row.values.get("paraphrases", [])
    if not isinstance(given, list):
        raise row.error(f"paraphrases must be a list, got {type(given).__name__}", colon=True)
    paraphrases = [{"question": p} if isinstance(p, str) else p for p in given]
    for i, p in enumerate(paraphrases):
        good = isinstance(p, dict) and p and set(p) <= {"question", "answer"}
        if not good or not all(isinstance(v, str) and words(v) for v in p.values()):
            raise row.error(
                f"a paraphrase must be text, or an object with question or answer, not empty; got {p!r:.80}", colon=True
            )
        paraphrases[i] = {key: row.checked("a paraphrase", text) for key, text in p.items()}
        if fact.lower() not in (answer := paraphrases[i].get("answer", fact)).lower():
            raise row.error(f"a paraphrased answer lacks its fact {fact!r}: {answer!r:.80}", colon=True)
    return paraphrases


def _check_unique(pairs: list[dict]) -> None:
    """Sets ids if no pair has one. Raises BadValue for an id or a question that comes twice."""
    without = [p for p in pairs if "id" not in p]
    if 0 < len(without) < len(pairs):
        raise without[0]["row"].error("has no id, and other lines have one: give one to all, or to none")
    for i, pair in enumerate(pairs):
        pair.setdefault("id", i)
    for what, key in (("id", lambda p: p["id"]), ("question", lambda p: " ".join(words(p["question"])))):
        first: dict = {}
        for pair in pairs:
            if (before := first.setdefault(key(pair), pair["row"])) is not pair["row"]:
                place = before.where.rsplit(", ", 1)[-1]
                raise pair["row"].error(f"has the {what} of {place}, {pair[what]!r:.80}: each must be unique")


def write(raw: RawTexts, path: Path) -> None:
    """Write a data set in this form; `read` gives the same pairs back. Paraphrases are written if they were given with
    the data (GivenParaphrases), by question and answer in turn. Raises BadValue for another ending than .jsonl."""
    if not is_path(str(path)):
        raise BadValue(f"a file of question-answer pairs ends in .jsonl, got {path.name}")
    given = raw.rewriter if isinstance(raw.rewriter, GivenParaphrases) else None
    lines = []
    for split, texts, ids in (("train", raw.train, raw.ids), ("test", raw.test, raw.test_ids)):
        for row, (question, answer, fact, wrong) in enumerate(
            zip(texts.question, texts.answer, texts.fact, texts.wrong)
        ):
            pair: dict = {"id": ids[row], "split": split, "question": question, "answer": answer, "fact": fact}
            pair["wrong"] = list(wrong)
            if given and split == "train":
                pair["paraphrases"] = [
                    {side: text} for side in ("question", "answer") for text in getattr(given, f"{side}s")[row]
                ]
            lines.append(json.dumps({k: v for k, v in pair.items() if v not in ("", [])}, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
