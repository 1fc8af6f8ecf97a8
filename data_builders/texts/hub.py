"""Sets from the Hugging Face hub, through `datasets`: PKU-SafeRLHF, the source of P1's question-answer set [digest].

Read from a copy in `UNLEARNKIT_DATA` if there is one, else downloaded.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_builders.texts import RawTexts, text_dataset
from data_builders.texts.given_paraphrases import distinct
from data_builders.texts.similarity import words
from data_builders.texts.task import Texts
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError

PKU = "PKU-Alignment/PKU-SafeRLHF"
RESPONSES = ("response_0", "response_1")


def local(name: str) -> Path:
    """Where a copy of the hub's set `owner/name` is looked for: below the data folder, by its name."""
    return paths.data() / name.split("/")[-1]


def rows(name: str, split: str, config: str | None = None) -> Iterable[Mapping]:
    """The rows of a split. Raises UnlearnkitError where there is neither `datasets`, nor a copy, nor a network."""
    try:
        import datasets
    except ImportError as error:
        raise UnlearnkitError(f"{name} is read by the library datasets: pip install datasets") from error
    folder, cache = local(name), str(paths.cache() / "hub")
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if folder.is_dir() and any(folder.iterdir()):
            return datasets.load_dataset(str(folder), config, split=split, cache_dir=cache)
        return datasets.load_dataset(name, config, split=split, cache_dir=cache)
    except Exception as error:  # the hub's libraries have errors of many kinds, some of them not OSErrors
        said = " ".join(str(error).split())[:200]
        raise UnlearnkitError(
            f"{name} (split {split}) is not in the data folder as {folder.name}/, and cannot be read from the hub: connect "
            f"to the network once, or put a copy there. The library said: {type(error).__name__}: {said}"
        ) from error
    finally:
        if bars:
            datasets.enable_progress_bars()


@text_dataset(
    "pku_saferlhf",
    licence="CC BY-NC 4.0",
    source=f"{PKU} on the Hugging Face hub; Ji et al. 2024, arXiv 2406.15513",
    files=lambda: sorted(p for p in local(PKU).rglob("*") if p.is_file()),
)
def pku_saferlhf() -> RawTexts:
    """Prompts and the response that annotators called the better one. It holds offensive text.

    Which rows and which of the two responses P1 takes is not known: ours is each prompt's first row, `better_response_id`.
    It has no paraphrases: `data_builders.texts.paraphraser` makes them by a model.
    """
    return prompts(rows(PKU, "train"), rows(PKU, "test"))


def prompts(train: Iterable[Mapping], test: Iterable[Mapping]) -> RawTexts:
    """RawTexts from rows with prompt, response_0, response_1, better_response_id; of a prompt that comes again, the first.

    Rows whose prompt or response has no words are left out. Raises BadValue for a missing column.
    """
    seen: set[str] = set()
    parts, lost = [], 0
    for part in (test, train):  # test first: what is asked there is not trained on
        questions, answers = [], []
        for number, row in enumerate(part):
            if missing := [c for c in ("prompt", *RESPONSES, "better_response_id") if c not in row]:
                raise BadValue(
                    f"PKU-SafeRLHF: row {number} has no column {missing[0]!r}; it has {', '.join(sorted(row))}"
                )
            if row["better_response_id"] not in (0, 1):
                raise BadValue(
                    f"PKU-SafeRLHF: row {number}: better_response_id must be 0 or 1, got {row['better_response_id']!r}"
                )
            question, answer = row["prompt"] or "", row[RESPONSES[row["better_response_id"]]] or ""
            key = " ".join(words(question))
            if key in seen or not distinct([question]) or not distinct([answer]):
                lost += 1
                continue
            seen.add(key)
            questions.append(question)
            answers.append(answer)
        parts.append(Texts(questions, answers))
    return RawTexts(parts[1], parts[0], facts={"rows_dropped": lost})
