"""Texts -> tokens: a dataset's own tokenizer for models trained from scratch, and the one of a pretrained model.

A dataset's own is a byte-level BPE trained on all its texts, before any task is drawn. It learns which letters often
stand together and nothing else of a pair, and the three reference models of a config share it, so that they differ only
in their training sets; a vocabulary of the training texts alone would differ between original and clean, and spell
decoys and test pairs in more tokens than targets, which would make their likelihoods incomparable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_builders.texts import RawTexts
from data_builders.texts.task import Texts
from unlearnkit.core.errors import BadValue
from unlearnkit.core.store import Artefact, Spec, Store
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.tasks import load_pool, pool_params
from unlearnkit.texts.tokens import Tokens

END = "<end>"
PROMPT = "Q: {question}\nA:"  # ours; an answer follows after a space, and then the end token


@dataclass(frozen=True)
class Tokenizer:
    """Maps texts to ids and back. backend: a tokenizers.Tokenizer; end: the id of the end token; first: ids that every
    prompt begins with, if any."""

    backend: Any  # of the tokenizers library
    end: int
    first: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """The number of ids: the rows that an embedding needs."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self.backend.encode_batch(list(texts), add_special_tokens=False)]

    def prompts(self, questions: Sequence[str]) -> list[list[int]]:
        return [[*self.first, *ids] for ids in self.encode([PROMPT.format(question=q) for q in questions])]

    def questions(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The questions of these prompts: the inverse of `prompts`."""
        before, after = PROMPT.split("{question}")
        return [self.decode(ids).removeprefix(before).removesuffix(after) for ids in prompts]

    def answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Ids of answers, with the space before and the end token behind."""
        return [[*ids, self.end] for ids in self.encode([f" {a}" for a in answers])]

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first end token, without spaces around it."""
        ids = list(ids)
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        return self.backend.decode(ids, skip_special_tokens=True).strip()

    def tokens(self, texts: Texts, context: int) -> Tokens:
        """Tokens of all pairs. Raises BadValue, naming the pair, for one longer than the context."""
        return self.paired(texts.question, texts.answer, context)

    def paired(self, questions: Sequence[str], answers: Sequence[str], context: int) -> Tokens:
        """Tokens of n questions, each with its answer; errors as of `tokens`."""
        prompt_ids, answer_ids = self.prompts(questions), self.answers(answers)
        for i, (p, a) in enumerate(zip(prompt_ids, answer_ids, strict=True)):
            if len(p) + len(a) > context:
                raise BadValue(
                    f"pair {i} takes {len(p)} tokens for its question and {len(a)} for its answer, and the context is "
                    f"{context}: raise `context` to {len(p) + len(a)} or more, if the model can, or shorten or drop "
                    f"the pair {questions[i]!r}"
                )
        return Tokens.of(prompt_ids, answer_ids)


def trained(raw: RawTexts, size: int = TextConfig.vocabulary) -> Tokenizer:
    """Byte-level BPE of at most `size` ids from all texts of a dataset, the same at every call; it encodes any text,
    whatever its letters. Raises BadValue for a size that does not hold all bytes and the end token."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if size < len(alphabet) + 1:
        raise BadValue(f"vocabulary must be at least {len(alphabet) + 1}, for all bytes and the end token, got {size}")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(_all_texts(raw), trainer)
    return Tokenizer(backend, backend.token_to_id(END))


def _all_texts(raw: RawTexts) -> Iterator[str]:
    for texts in (raw.train, raw.test):
        for question, answer, restated, wrong in zip(texts.question, texts.answer, texts.restated, texts.wrong):
            yield PROMPT.format(question=question)
            yield from (f" {text}" for text in (answer, restated, *wrong) if text)


def tokenizer_artefact(dataset: str, size: int) -> Artefact:
    """The stored tokenizer of a dataset."""

    def make(folder: Path) -> None:
        (folder / "tokenizer.json").write_text(trained(load_pool(dataset), size).backend.to_str(), encoding="utf-8")

    params, code = pool_params(dataset)
    return Store().get(Spec("tokenizer", params | {"size": size}, (trained, code), ()), make)


def own(dataset: str, size: int) -> Tokenizer:
    """The dataset's own tokenizer; trained at the first call."""
    return _read(str(tokenizer_artefact(dataset, size).folder / "tokenizer.json"))


@lru_cache(maxsize=16)
def _read(file: str) -> Tokenizer:
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(file)
    return Tokenizer(backend, backend.token_to_id(END))


def of_pretrained(tokenizer) -> Tokenizer:
    """A Tokenizer around one of transformers'. Raises BadValue if it has no end token or no fast version."""
    if tokenizer.eos_token_id is None or not getattr(tokenizer, "backend_tokenizer", None):
        raise BadValue(
            "the tokenizer of this model has no end token, or no fast version (tokenizer.json): an answer needs an "
            "end; use another model, or save its tokenizer with both"
        )
    begin = tokenizer.bos_token_id
    first = (begin,) if begin is not None and begin in tokenizer("a")["input_ids"][:1] else ()
    return Tokenizer(tokenizer.backend_tokenizer, tokenizer.eos_token_id, first)
