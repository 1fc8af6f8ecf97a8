"""Raw question-answer pairs -> similar-sample tasks of texts: the same roles as for images, with paraphrases as
near-duplicates."""

from data_builders.texts.raw_texts import Answer, RawTexts, Rewriter, text_dataset, text_datasets
from data_builders.texts.sources import find, load

__all__ = ["Answer", "RawTexts", "Rewriter", "find", "load", "text_dataset", "text_datasets"]
