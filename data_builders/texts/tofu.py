"""TOFU: 4,000 questions about 200 invented authors, with a paraphrase of each question and answer, and wrong answers.

Read from three files in `UNLEARNKIT_DATA`/tofu/; without them from the hub, where only 800 of the pairs have
paraphrases, and only these can be targets. The test set: TOFU's general ones, real authors and world facts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from data_builders.texts import hub
from data_builders.texts.given_paraphrases import GivenParaphrases
from data_builders.texts.raw_texts import RawTexts, text_dataset
from data_builders.texts.rows import Row, numbered, read_rows
from data_builders.texts.task import Texts
from data_builders.texts.words import words
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError

FULL, TESTS = "tofu_full_paraphrased.jsonl", ("real_authors_perturbed.json", "world_facts_perturbed.json")
HUB, PARAPHRASED = "locuslab/TOFU", ("forget10_perturbed", "retain_perturbed")
PARAPHRASES = ("paraphrased_question", "paraphrased_answer")
TRAIN_PAIRS, PER_AUTHOR = 4000, 20


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
        rows, *tests = ([replace(row, where=f"tofu/{row.where}") for row in rows]
                        for rows in map(read_rows, files()))  # fmt: skip
    else:
        try:
            rows, tests = from_hub(hub.read_rows)
        except UnlearnkitError as error:
            raise UnlearnkitError(
                f"TOFU: {', '.join((FULL, *TESTS))} are not all in the data folder's tofu/. {error}"
            ) from error
    if len(rows) != TRAIN_PAIRS:
        raise BadValue(f"TOFU has {TRAIN_PAIRS} pairs, {FULL} has {len(rows)}: fetch it anew")
    return read(rows, [row for part in tests for row in part])


def from_hub(rows: Callable) -> tuple[list[Row], list[list[Row]]]:
    """The rows of the files, (full, [test sets]), without paraphrases where the hub has none. rows(name, split,
    config)."""

    def of(config: str) -> list[Row]:
        return numbered(f"{HUB} ({config})", rows(HUB, "train", config))

    paraphrased = {row.text("question"): row.values for config in PARAPHRASED for row in of(config)}
    full = [replace(row, values={**row.values, **paraphrased.get(row.text("question"), {})}) for row in of("full")]
    return full, [of(Path(name).stem) for name in TESTS]


def read(rows: Sequence[Row], tests: Sequence[Row]) -> RawTexts:
    """RawTexts of TOFU's rows; of two that ask the same question the first is kept. Raises BadValue, naming the row,
    for what is missing or no text."""
    known, train, test = set(), [], []
    for part, kept in ((tests, test), (rows, train)):
        for i, row in enumerate(part):
            if (key := " ".join(words(row.text("question")))) not in known:
                known.add(key)
                kept.append((row.whole_number("id", i), row))
    texts, general = (
        Texts(
            [row.text("question") for _, row in part],
            [row.text("answer") for _, row in part],
            restated=[row.text("paraphrased_answer", optional=True) for _, row in part],
            wrong=[row.texts("perturbed_answer") for _, row in part],
        )
        for part in (train, test)
    )
    optional = ([row.text(key, optional=True) for _, row in train] for key in PARAPHRASES)
    lists = ([[text] if text else [] for text in column] for column in optional)
    ids = [i for i, _ in train]
    facts = {"asked_twice": len(rows) + len(tests) - len(train) - len(test)}
    subjects = [i // PER_AUTHOR for i in ids]
    return RawTexts(texts, general, GivenParaphrases(texts, *lists), ids, facts=facts, subjects=subjects)
