"""Text data sets of the Hugging Face hub, read by `datasets`: PKU-SafeRLHF, the source of P1's question-answer set
[digest].

Read from a copy in `UNLEARNKIT_DATA` if there is one, else downloaded.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_builders.texts.raw_texts import RawTexts, text_dataset
from data_builders.texts.rows import Row, numbered
from data_builders.texts.task import Texts
from data_builders.texts.words import words
from unlearnkit.core import paths
from unlearnkit.core.errors import UnlearnkitError

PKU = "PKU-Alignment/PKU-SafeRLHF"
RESPONSES = ("response_0", "response_1")


def local_copy(name: str) -> Path:
    """Where a copy of the hub's set `owner/name` is expected: the folder `name` in the data folder."""
    return paths.data() / name.split("/")[-1]


def read_rows(name: str, split: str, config: str | None = None) -> Iterable[Mapping]:
    """The rows of a split. Raises UnlearnkitError where there is neither `datasets`, nor a copy, nor a network."""
    try:
        import datasets
    except ImportError as error:
        raise UnlearnkitError(f"{name} is read by the library datasets: pip install datasets") from error
    folder, cache = local_copy(name), str(paths.cache() / "hub")
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if folder.is_dir() and any(folder.iterdir()):
            return datasets.load_dataset(str(folder), config, split=split, cache_dir=cache)
        return datasets.load_dataset(name, config, split=split, cache_dir=cache)
    except Exception as error:  # the hub's libraries raise many types, not only OSError
        message = " ".join(str(error).split())[:200]
        raise UnlearnkitError(
            f"{name} (split {split}) is not in the data folder as {folder.name}/, and cannot be read from the hub: "
            f"connect to the network once, or put a copy there. The library said: {type(error).__name__}: {message}"
        ) from error
    finally:
        if bars:
            datasets.enable_progress_bars()


@text_dataset(
    "pku_saferlhf",
    licence="CC BY-NC 4.0",
    source=f"{PKU} on the Hugging Face hub; Ji et al. 2024, arXiv 2406.15513",
    files=lambda: sorted(p for p in local_copy(PKU).rglob("*") if p.is_file()),
)
def pku_saferlhf() -> RawTexts:
    """Prompts and the response that annotators judged better. It holds offensive text.

    Which rows and which of the two responses P1 takes is not known; ours: each prompt's first row,
    `better_response_id`. It has no paraphrases: `data_builders.texts.paraphraser` makes them with a model.
    """
    return from_rows(*(numbered(f"PKU-SafeRLHF ({split})", read_rows(PKU, split)) for split in ("train", "test")))


def from_rows(train: Iterable[Row], test: Iterable[Row]) -> RawTexts:
    """RawTexts from rows with prompt, response_0, response_1, better_response_id; of a repeated prompt, the first row.

    Rows whose prompt or response has no words are left out. Raises BadValue, naming the row, for a missing column and
    for what is no text.
    """
    known: set[str] = set()
    parts, dropped = [], 0
    for part in (test, train):  # test first, so that its prompts are not trained on
        questions, answers = [], []
        for row in part:
            for column in ("prompt", *RESPONSES):
                row.value(column)
            if (better := row.value("better_response_id")) not in (0, 1):
                raise row.error(f"better_response_id must be 0 or 1, got {better!r:.80}", colon=True)
            question, answer = (row.text(column, optional=True) for column in ("prompt", RESPONSES[better]))
            key = " ".join(words(question))
            if key in known or not words(question) or not words(answer):
                dropped += 1
                continue
            known.add(key)
            questions.append(question)
            answers.append(answer)
        parts.append(Texts(questions, answers))
    return RawTexts(parts[1], parts[0], facts={"rows_dropped": dropped})
