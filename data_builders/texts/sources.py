"""Where question-answer pairs come from: registered by name, or a .jsonl file of your own."""

from data_builders.sources import Source, find_source
from data_builders.texts import user_texts
from data_builders.texts.raw_texts import RawTexts, text_datasets


def find(name: str) -> Source:
    """The text dataset registered as `name`; or else, if `name` ends in .jsonl, that file of your own.

    Raises UnknownName with the nearest name, BadValue if there is no such file.
    """
    return find_source(name, text_datasets, user_texts)


def load(name: str) -> RawTexts:
    """The pairs of a text dataset, by its name or path."""
    return find(name).load()
