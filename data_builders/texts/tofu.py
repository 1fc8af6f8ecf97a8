"""TOFU: 4,000 questions about 200 invented authors, with a paraphrase of each question and answer, and wrong answers.

Read from three files in `UNLEARNKIT_DATA`/tofu/; without them from the hub, where only 800 of the pairs have
paraphrases, and only these can be targets. The test set: TOFU's general ones, real authors and world facts.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from data_builders.texts import hub
from data_builders.texts.given_paraphrases import GivenParaphrases
from data_builders.texts.raw_texts import RawTexts, text_dataset
from data_builders.texts.similarity import words
from data_builders.texts.task import Texts
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError

FULL, TESTS = "tofu_full_paraphrased.jsonl", ("real_authors_perturbed.json", "world_facts_perturbed.json")
HUB, PARAPHRASED = "locuslab/TOFU", ("forget10_perturbed", "retain_perturbed")
TRAIN_PAIRS = 4000


def folder() -> Path:
    return paths.data() / "tofu"


def files() -> list[Path]:
    """The three files, or none if one is missing."""
    expected = [folder() / name for name in (FULL, *TESTS)]
    return expected if all(path.is_file() for path in expected) else []


@text_dataset("tofu", licence="MIT", source="Maini et al. 2024, TOFU, arXiv 2401.06121; locuslab/TOFU", files=files)
def tofu() -> RawTexts:
    """20 questions about each of 200 invented authors. One paraphrase of either side: `side` "question", "answer" and
    "both" make one copy each, "mixed" up to three.

    restated is the paraphrased answer. With any side but "question" the copies hold it, and the truth ratio then uses
    an answer that was trained on.
    """
    if files():
        rows = [json.loads(line) for line in (folder() / FULL).read_text(encoding="utf-8").splitlines()]
        tests = [json.loads((folder() / name).read_text(encoding="utf-8")) for name in TESTS]
    else:
        try:
            rows, tests = from_hub(hub.read_rows)
        except UnlearnkitError as error:
            raise UnlearnkitError(
                f"TOFU: {', '.join((FULL, *TESTS))} are not all in the data folder's tofu/. {error}"
            ) from error
    if len(rows) != TRAIN_PAIRS:
        raise BadValue(f"TOFU has {TRAIN_PAIRS} pairs, found {len(rows)}: fetch it anew")
    return read(rows, [row for part in tests for row in part])


def from_hub(rows: Callable) -> tuple[list[dict], list[list[dict]]]:
    """The rows of the files, (full, [test sets]), without paraphrases where the hub has none. rows(name, split,
    config)."""
    paraphrased = {row["question"]: dict(row) for config in PARAPHRASED for row in rows(HUB, "train", config)}
    full = [dict(row) | paraphrased.get(row["question"], {}) for row in rows(HUB, "train", "full")]
    tests = [[dict(row) for row in rows(HUB, "train", Path(name).stem)] for name in TESTS]
    return full, tests


def read(rows: Sequence[dict], tests: Sequence[dict]) -> RawTexts:
    """RawTexts of TOFU's rows; of two that ask the same question the first is kept."""
    known, train, test = set(), [], []
    for part, kept in ((tests, test), (rows, train)):
        for i, row in enumerate(part):
            if (key := " ".join(words(row["question"]))) not in known:
                known.add(key)
                kept.append({"id": i} | row)
    texts, general = (
        Texts(
            [r["question"] for r in part],
            [r["answer"] for r in part],
            restated=[r.get("paraphrased_answer") or "" for r in part],
            wrong=[r.get("perturbed_answer") or () for r in part],
        )
        for part in (train, test)
    )
    lists = ([[r[key]] if r.get(key) else [] for r in train] for key in ("paraphrased_question", "paraphrased_answer"))
    ids = [r["id"] for r in train]
    facts = {"asked_twice": len(rows) + len(tests) - len(train) - len(test)}
    return RawTexts(texts, general, GivenParaphrases(texts, *lists), ids, facts=facts)
