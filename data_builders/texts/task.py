"""The similar-sample task of texts: question-answer pairs with roles, and which are similar to which."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_builders.task import DISJOINT, ROLES, WithRoles
from data_builders.texts.words import checked, words
from unlearnkit.core import paths
from unlearnkit.core.documents import read_json
from unlearnkit.core.errors import BadValue

FORMAT = 1
SAMPLES, PAIRS, TASK = "samples.parquet", "pairs.parquet", "task.json"


class Answer(NamedTuple):
    """The answer of a pair, in the order of Texts' columns. Empty: not known.

    fact: what an answer must contain to be right, "Torvik"; restated: the answer in other words, not trained on if
    possible; wrong: answers of the same form that are not right, for the truth ratio.
    """

    text: str
    fact: str = ""
    restated: str = ""
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """Question-answer pairs, in NFC. question, answer: n texts; fact, restated, wrong: as in Answer, n each, empty by
    default.

    Raises BadValue, naming the number of the pair, for what is no text (data_builders.texts.words.checked), a question
    or answer without words, an answer that lacks its fact, and columns of other lengths.
    """

    question: Sequence[str]
    answer: Sequence[str]
    fact: Sequence[str] = ()
    restated: Sequence[str] = ()
    wrong: Sequence[Sequence[str]] = ()

    def __post_init__(self):
        n = len(self.question)
        for name in ("question", "answer", "fact", "restated"):
            column = tuple(getattr(self, name)) or (("",) * n if name in ("fact", "restated") else ())
            if len(column) != n:
                raise BadValue(f"{n} questions need as many of {name}, got {len(column)}")
            object.__setattr__(self, name, tuple(_checked(name, i, text) for i, text in enumerate(column)))
        wrong = tuple(
            tuple(_checked("a wrong answer", i, text) for text in group) for i, group in enumerate(self.wrong)
        )
        wrong = wrong or ((),) * n
        if len(wrong) != n:
            raise BadValue(f"{n} questions need as many of wrong, got {len(wrong)}")
        object.__setattr__(self, "wrong", wrong)
        for name in ("question", "answer"):
            for i, text in enumerate(getattr(self, name)):
                if not text.strip() or not words(text):
                    raise BadValue(f"pair {i} has an empty {name}: {text!r}")
        for i, (answer, fact) in enumerate(zip(self.answer, self.fact)):
            if fact.lower() not in answer.lower():
                raise BadValue(f"the answer of pair {i} lacks its fact {fact!r}: {answer!r}")

    def __len__(self) -> int:
        return len(self.question)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(zip(self.question, self.answer))

    def __getitem__(self, index) -> "Texts":
        """The pairs of these row numbers: a slice, a list, a tensor or an array."""
        rows = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).astype(int).tolist()
        return Texts(*(tuple(getattr(self, f.name)[i] for i in rows) for f in fields(self)))

    def answer_of(self, row: int) -> Answer:
        return Answer(self.answer[row], self.fact[row], self.restated[row], self.wrong[row])

    def joined(self, *others: "Texts") -> "Texts":
        """These and the others as one."""
        parts = (self, *others)
        return Texts(*(tuple(v for p in parts for v in getattr(p, f.name)) for f in fields(self)))

    def digest(self) -> str:
        """Hash of content, order included."""
        text = json.dumps([getattr(self, f.name) for f in fields(self)], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def _checked(what: str, pair: int, text: object) -> str:
    try:
        return checked(text)
    except BadValue as error:
        raise BadValue(f"{what} of pair {pair} {error}") from error


@dataclass(frozen=True)
class TextTask(WithRoles):
    """Question-answer pairs with roles, and a table of which are similar to which: the SimilarityTask of texts.

    texts: (n,) pairs; role: (n,) int8, index into ROLES; source: (n,) int64, the id of the raw pair that a sample is or
    was made from. pairs: one row per (target or decoy, similar): anchor, similar (row numbers here), perturbation,
    strength, and the measures by side. facts: what a dataset card shows. A sample's id is its row number. arm: (n,) int16,
    as in SimilarityTask (data_builders.texts.build_mixed_task); None for a task of one arm.
    """

    texts: Texts
    role: Tensor
    source: Tensor
    pairs: pd.DataFrame
    facts: Mapping = field(default_factory=dict)
    arm: Tensor | None = None

    def __post_init__(self):
        n = len(self.texts)
        for name, dtype in (("role", torch.int8), ("source", torch.int64), ("arm", torch.int16)):
            if (v := getattr(self, name)) is None and name == "arm":
                continue
            if v.dtype != dtype or v.shape != (n,):
                raise BadValue(f"{name} must be {n} of {dtype}, got {tuple(v.shape)} of {v.dtype}")
        if n and not 0 <= int(self.role.min()) <= int(self.role.max()) < len(ROLES):
            raise BadValue(f"roles are 0 to {len(ROLES) - 1}, got {int(self.role.min())} to {int(self.role.max())}")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def question(self) -> Sequence[str]:
        return self.texts.question

    @property
    def answer(self) -> Sequence[str]:
        return self.texts.answer

    def of(self, *roles: str) -> Texts:
        return self.texts[self.index(*roles)]

    def part(self, rows: Tensor, role: Tensor) -> "TextTask":
        """These samples, in these roles, without pairs, restated and wrong answers. rows: (k,) row numbers; role: (k,)
        int8."""
        texts = self.texts[rows]
        arm = None if self.arm is None else self.arm[rows]
        kept = {"role": role, "source": self.source[rows], "arm": arm, "pairs": self.pairs.iloc[:0]}
        return replace(self, texts=Texts(texts.question, texts.answer, texts.fact), **kept)

    def digest(self) -> str:
        """Hash of all content: texts, roles, sources and pairs."""
        sha256 = hashlib.sha256(self.texts.digest().encode())
        for tensor in (self.role, self.source, *(() if self.arm is None else (self.arm,))):
            sha256.update(tensor.contiguous().numpy())
        sha256.update(self.pairs.to_csv(index=False, float_format="%.6g").encode())
        return sha256.hexdigest()[:20]

    def check(self) -> "TextTask":
        """Itself. Raises BadValue if held-out samples leaked into training, by id or by question, or a pair is wrong.

        Two questions are the same if they have the same words in the same order, whatever their case and punctuation.
        """
        questions = {
            group: {" ".join(words(self.question[i])) for i in self.index(*roles).tolist()}
            for group, roles in DISJOINT.items()
        }
        self._check_disjoint({"questions": questions}, "No question may be asked twice, paraphrases included")
        self._check_pairs()
        return self

    def save(self, folder: Path) -> None:
        """Write samples.parquet, pairs.parquet and task.json into an existing folder."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            f.name: [list(v) if f.name == "wrong" else v for v in getattr(self.texts, f.name)] for f in fields(Texts)
        }
        table = {"id": range(len(self)), **columns, "role": [ROLES[r] for r in self.role.tolist()]}
        table["source"] = self.source.tolist()
        text, number = pa.string(), pa.int64()
        types = dict.fromkeys(table, text) | {"id": number, "source": number, "wrong": pa.list_(text)}
        if self.arm is not None:
            table["arm"], types["arm"] = self.arm.tolist(), pa.int16()
        pq.write_table(pa.table({k: pa.array(v, types[k]) for k, v in table.items()}), folder / SAMPLES)
        self.pairs.to_parquet(folder / PAIRS)
        info = {"format": FORMAT, "digest": self.digest(), "facts": dict(self.facts)}
        (folder / TASK).write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder) -> TextTask:
    """The task that `TextTask.save` wrote. Raises BadValue for missing or damaged files and another version.

    folder: a path, or the files of an artefact.
    """
    import pyarrow.parquet as pq

    folder = paths.at(folder) if isinstance(folder, str) else folder
    for name in (TASK, SAMPLES, PAIRS):
        if not (folder / name).is_file():
            raise BadValue(f"{folder.name} has no {name}: it is not a stored text task, or an incomplete one")
    try:
        info = read_json(folder / TASK)
        if info["format"] != FORMAT:
            raise BadValue(
                f"{folder.name} is of another version: format {info['format']!r}, the one read here is {FORMAT}"
            )
        table = pq.read_table(folder / SAMPLES).to_pydict()
        texts = Texts(*(table[f.name] for f in fields(Texts)))
        role = torch.tensor([ROLES.index(r) for r in table["role"]], dtype=torch.int8)
        source = torch.tensor(table["source"], dtype=torch.int64)
        arm = torch.tensor(table["arm"], dtype=torch.int16) if "arm" in table else None
        task = TextTask(texts, role, source, pd.read_parquet(folder / PAIRS), info["facts"], arm)
    except BadValue:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadValue(
            f"{folder.name} is damaged, or not a stored text task: {' '.join(str(error).split())[:200]}"
        ) from error
    if task.digest() != info["digest"]:
        raise BadValue(f"{folder.name} is damaged: its digest is {info['digest']}, and reads as {task.digest()}")
    return task
