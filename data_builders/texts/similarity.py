"""Measures of how similar two texts are, for pairs in batches.

a, b: n texts each. Every measure returns (n,) float32 in [0, 1] (the cosine of embeddings in [-1, 1]); 1 for a text and
itself. They compare words (data_builders.texts.words): case and punctuation make no difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from data_builders.texts.words import words
from unlearnkit.core.errors import BadValue, UnlearnkitError

SIDES = ("question", "answer", "both")
EMBEDDING = "BAAI/bge-small-en-v1.5"
AT_ONCE = 4096  # texts whose n-grams are counted at a time, to bound memory

Encoder = Callable[[list[str]], np.ndarray]  # n texts -> (n, width)


def lcs(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence of two lists of words.

    One integer holds a row of the table, one bit per word of a; source: Hyyrö 2004, Bit-parallel LCS-length computation
    revisited.
    """
    place: dict[str, int] = {}
    for i, word in enumerate(a):
        place[word] = place.get(word, 0) | 1 << i
    full = row = (1 << len(a)) - 1
    for word in b:
        if match := place.get(word, 0):
            both = row & match
            row = ((row + both) | (row - both)) & full
    return len(a) - row.bit_count()


def rouge_l(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """ROUGE-L F: twice the longest common subsequence of words, over the words of both (Lin 2004, with beta = 1)."""
    return _shared(a, b, lambda common, n, m: 2 * common / (n + m))


def rouge_l_recall(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """ROUGE-L recall: the share of a's words that are in b, in this order; measure(b, a) is the precision."""
    return _shared(a, b, lambda common, n, m: common / n if n else 0.0)


def _shared(a: Sequence[str], b: Sequence[str], score: Callable[[int, int, int], float]) -> np.ndarray:
    _check(a, b)
    split = {text: words(text) for text in {*a, *b}}
    scores = np.empty(len(a), np.float32)
    for i, (left, right) in enumerate(zip(a, b)):
        x, y = split[left], split[right]
        scores[i] = 1.0 if x == y else score(lcs(x, y), len(x), len(y))
    return scores


def char_cosine(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """Cosine of the counts of runs of 3 letters, word by word, each word between spaces."""
    return _cosine(a, b, analyzer="char_wb", ngram_range=(3, 3))


def char_vectors(texts: Sequence[str], width: int = 4096) -> np.ndarray:
    """The vectors whose cosine `char_cosine` is, (n, width) float64. Each run of letters is counted at its hash; where
    two share one, the cosine is a little larger."""
    from sklearn.feature_extraction.text import HashingVectorizer

    count = HashingVectorizer(
        n_features=width, analyzer="char_wb", ngram_range=(3, 3), lowercase=False, norm=None, alternate_sign=False
    )
    return count.transform([" ".join(words(text)) for text in texts]).toarray()


def word_cosine(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """Cosine of the counts of words and pairs of neighbouring words."""
    return _cosine(a, b, analyzer="word", ngram_range=(1, 2), token_pattern=None, tokenizer=str.split)


def _cosine(a: Sequence[str], b: Sequence[str], **options) -> np.ndarray:
    """Without weights by rarity, so that a value depends on its two texts alone, not on what else is measured."""
    from sklearn.feature_extraction.text import CountVectorizer

    _check(a, b)
    count = CountVectorizer(lowercase=False, dtype=np.float32, **options)
    cosine = np.empty(len(a), np.float32)
    split: dict[str, str] = {text: " ".join(words(text)) for text in {*a, *b}}
    for start in range(0, len(a), AT_ONCE):
        left, right = ([split[text] for text in part[start : start + AT_ONCE]] for part in (a, b))
        row_of = {
            text: row for row, text in enumerate(dict.fromkeys([*left, *right, "a"]))
        }  # "a": never without n-grams
        counts = count.fit_transform(row_of)
        norm = np.sqrt(np.asarray(counts.multiply(counts).sum(1)).ravel())
        i, j = (np.array([row_of[text] for text in part]) for part in (left, right))
        product = np.asarray(counts[i].multiply(counts[j]).sum(1)).ravel()
        value = np.divide(product, norm[i] * norm[j], out=np.zeros_like(product), where=product > 0)
        cosine[start : start + len(i)] = np.where(i == j, 1.0, np.minimum(value, 1.0))
    return cosine


def embedding_cosine(a: Sequence[str], b: Sequence[str], encode: Encoder | None = None) -> np.ndarray:
    """Cosine of sentence embeddings; `encode` makes them, by default BAAI/bge-small-en-v1.5 (see `encoder`)."""
    _check(a, b)
    if not len(a):
        return np.empty(0, np.float32)
    row_of = {text: row for row, text in enumerate(dict.fromkeys([*a, *b]))}
    vectors = np.asarray((encode or encoder())(list(row_of)), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(row_of) or not np.isfinite(vectors).all():
        raise BadValue(
            f"an encoder must return one finite vector per text: got {vectors.shape} for {len(row_of)} texts"
        )
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
    i, j = (np.array([row_of[text] for text in part]) for part in (a, b))
    return np.where(i == j, 1.0, (vectors[i] * vectors[j]).sum(1)).astype(np.float32)


@cache
def encoder(name: str = EMBEDDING, device: str | None = None) -> Encoder:
    """Sentence embeddings by sentence-transformers, an optional extra. P1 is linked to BAAI/bge-small-en [digest].

    Raises UnlearnkitError if the library is not installed, or the model is not here and cannot be downloaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UnlearnkitError(
            "sentence embeddings need sentence-transformers, which is not installed: pip install "
            "sentence-transformers, or use the measures that need no model: rouge_l, char_cosine, word_cosine"
        ) from error
    try:
        model = SentenceTransformer(name, device=device)
    except (OSError, ValueError, RuntimeError) as error:
        raise UnlearnkitError(
            f"the embedding model {name!r} is not here and cannot be downloaded: connect to the network once, or name "
            f"a folder that holds it. The library said: {' '.join(str(error).split())[:300]}"
        ) from error
    return lambda texts: model.encode(texts, batch_size=64, show_progress_bar=False, convert_to_numpy=True)


def _check(a: Sequence[str], b: Sequence[str]) -> None:
    if len(a) != len(b):
        raise BadValue(f"texts are compared pair by pair: got {len(a)} and {len(b)}")


@dataclass(frozen=True)
class Measure:
    """A measure, and whether measure(a, b) is measure(b, a)."""

    function: Callable[[Sequence[str], Sequence[str]], np.ndarray]
    symmetric: bool = True

    def __call__(self, a: Sequence[str], b: Sequence[str]) -> np.ndarray:
        return self.function(a, b)


MEASURES = {
    "rouge_l": Measure(rouge_l),
    "rouge_l_recall": Measure(rouge_l_recall, symmetric=False),
    "char_cosine": Measure(char_cosine),
    "word_cosine": Measure(word_cosine),
}


def columns(encode: Encoder | None = None) -> list[str]:
    """The columns of `pair_similarities`: side, then measure."""
    names = [*MEASURES, *(["embedding_cosine"] if encode else [])]
    return [f"{side}_{name}" for side in SIDES for name in names]


def pair_similarities(
    a: tuple[Sequence[str], Sequence[str]], b: tuple[Sequence[str], Sequence[str]], encode: Encoder | None = None
) -> pd.DataFrame:
    """All measures of n pairs on the side of the question, of the answer, and of both as one text.

    a, b: (n questions, n answers); encode: an encoder, to have embedding_cosine as well. Columns: see `columns`.
    """
    functions = dict(MEASURES)
    if encode:
        functions["embedding_cosine"] = lambda x, y: embedding_cosine(x, y, encode)
    sides = []
    for questions, answers in (a, b):
        _check(questions, answers)
        sides.append((questions, answers, [f"{q}\n{s}" for q, s in zip(questions, answers)]))
    table = {}
    for side, x, y in zip(SIDES, *sides):
        table |= {f"{side}_{name}": function(x, y) for name, function in functions.items()}
    return pd.DataFrame(table, columns=columns(encode), dtype=np.float32)
