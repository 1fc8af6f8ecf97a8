"""Texts -> tokens, and a dataset's own tokenizer for models trained from scratch; a pretrained model's: chat.py.

A dataset's own is a byte-level BPE trained on all its texts, before any task is drawn. It learns which letters often
stand together and nothing else of a pair, and the three reference models of a config share it, so that they differ only
in their training sets; a vocabulary of the training texts alone would differ between original and clean, and spell
decoys and test pairs in more tokens than targets, which would make their likelihoods incomparable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from data_builders.texts import RawTexts
from data_builders.texts.task import Texts
from data_builders.texts.words import nfc
from unlearnkit.core.errors import BadValue
from unlearnkit.core.store import Artefact, Spec, Store
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.tasks import load_pool, pool_params
from unlearnkit.texts.tokens import Tokens

END = "<end>"
QUESTION = "{question}"
PROMPT = f"Q: {QUESTION}\nA:"  # ours; an answer follows after a space, and then the end token
BEFORE, AFTER = PROMPT.split(QUESTION)


@dataclass(frozen=True)
class Tokenizer:
    """Maps texts to ids and back. In a text the name of a control token is text like any other: an answer has one end.

    backend: a tokenizers.Tokenizer that reads no control tokens in text (`reads_text_alone`); end: the id of the end
    token. A prompt is [head, the text `before` + question + `after`, tail], head and tail ids; an answer follows as the
    text `lead` + answer. Some tokenizers put a space before all that they read: these texts are then encoded as if
    they followed the texts `opening` and `anchor`. unknown: the id of what the vocabulary lacks, if it has one.
    """

    backend: Any  # of the tokenizers library
    end: int
    head: tuple[int, ...] = ()
    before: str = BEFORE
    after: str = AFTER
    tail: tuple[int, ...] = ()
    lead: str = " "
    anchor: str = ""
    opening: str = ""
    unknown: int | None = None

    @property
    def size(self) -> int:
        """The number of ids: the rows that an embedding needs."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def control(self) -> set[int]:
        """Ids that no text may hold: the special ones, but not the one for letters that the vocabulary lacks."""
        special = {i for i, token in self.backend.get_added_tokens_decoder().items() if token.special}
        return special - {self.unknown} | {self.end}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Raises BadValue for a text that would hold a control token, where the tokenizer cannot but read it so."""
        encoded = [e.ids for e in self.backend.encode_batch([nfc(t) for t in texts], add_special_tokens=False)]
        for text, ids in zip(texts, encoded):
            if not self.control.isdisjoint(ids):
                raise BadValue(f"this tokenizer reads a control token in the text {text!r:.200}: change the text")
        return encoded

    def prompts(self, questions: Sequence[str]) -> list[list[int]]:
        encoded = self._following(self.opening, [f"{self.before}{question}{self.after}" for question in questions])
        return [[*self.head, *ids, *self.tail] for ids in encoded]

    def questions(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The questions of these prompts: the inverse of `prompts`."""
        texts = [self.decode(ids[len(self.head) : len(ids) - len(self.tail)]) for ids in prompts]
        return [text.removeprefix(self.before.strip()).removesuffix(self.after.strip()).strip() for text in texts]

    def answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Ids of answers, as they follow a prompt, and the end token behind."""
        encoded = self._following(self.anchor, [f"{self.lead}{answer}" for answer in answers])
        return [[*ids, self.end] for ids in encoded]

    def _following(self, anchor: str, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts that follow the text `anchor`; as if they stood alone where both make one token."""
        if not anchor:
            return self.encode(texts)
        (start,) = self.encode([anchor])
        encoded = self.encode([f"{anchor}{text}" for text in texts])
        apart = [ids[: len(start)] == start for ids in encoded]
        return [ids[len(start) :] if a else self.encode([text])[0] for ids, a, text in zip(encoded, apart, texts)]

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
    return Tokenizer(reads_text_alone(backend), backend.token_to_id(END))


def reads_text_alone(backend):
    """The same backend, which from now on reads the name of a control token as text. Not stored in its file."""
    backend.encode_special_tokens = True
    return backend


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
    return stored_tokenizer(str(tokenizer_artefact(dataset, size).folder / "tokenizer.json"))


@lru_cache(maxsize=16)
def stored_tokenizer(file: str) -> Tokenizer:
    """The dataset's own tokenizer that was written to a file."""
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(file)
    return Tokenizer(reads_text_alone(backend), backend.token_to_id(END))
