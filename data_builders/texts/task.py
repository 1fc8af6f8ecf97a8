"""The similar-sample task in language: question-answer pairs with roles, and which resembles which."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_builders.task import ROLES, TRAINED_ON
from data_builders.texts.similarity import words
from unlearnkit.core.errors import BadValue

FORMAT = 1
SAMPLES, PAIRS, TASK = "samples.parquet", "pairs.parquet", "task.json"


@dataclass(frozen=True)
class Texts:
    """Question-answer pairs. question, answer: n texts; what follows may be left out, and is then empty for each.

    fact: what an answer must hold to be the right one, "Torvik"; restated: the answer in other words, which no one is
    trained on where it can be helped; wrong: answers of the same form that are not right, for the truth ratio.

    Raises BadValue, naming the number of the pair, for an empty question or answer, one without words, an answer that
    lacks its fact, and other lengths.
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
            if odd := [i for i, text in enumerate(column) if not isinstance(text, str)]:
                raise BadValue(f"{name} of pair {odd[0]} must be text, got {type(column[odd[0]]).__name__}")
            object.__setattr__(self, name, column)
        wrong = tuple(tuple(group) for group in self.wrong) or ((),) * n
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

    def joined(self, *others: "Texts") -> "Texts":
        """These and the others as one."""
        parts = (self, *others)
        return Texts(*(tuple(v for p in parts for v in getattr(p, f.name)) for f in fields(self)))

    def digest(self) -> str:
        """Hash of content, order included."""
        text = json.dumps([getattr(self, f.name) for f in fields(self)], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class TextTask:
    """Question-answer pairs with roles, and a table of which is similar to which: `data_builders.task.SimilarityTask`'s
    counterpart.

    texts: (n,) pairs; role: (n,) int8, index into ROLES; source: (n,) int64, the id of the raw pair that a sample is or
    was made from. pairs: one row per (target or decoy, similar): anchor, similar (row numbers here), kind, strength, and
    the measures by side. facts: what a dataset card shows. A sample's id is its row number.
    """

    texts: Texts
    role: Tensor
    source: Tensor
    pairs: pd.DataFrame
    facts: Mapping = field(default_factory=dict)

    def __post_init__(self):
        n = len(self.texts)
        for name, dtype in (("role", torch.int8), ("source", torch.int64)):
            v = getattr(self, name)
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

    def index(self, *roles: str) -> Tensor:
        """Row numbers of the samples in these roles, in order."""
        wanted = torch.tensor([ROLES.index(r) for r in roles])
        return torch.isin(self.role, wanted).nonzero().squeeze(1)

    def of(self, *roles: str) -> Texts:
        return self.texts[self.index(*roles)]

    def training_set(self, reference: str) -> Texts:
        """What `original`, `retrain` or `clean` is trained on."""
        return self.of(*TRAINED_ON[reference])

    def digest(self) -> str:
        """Hash of all content: texts, roles, sources and pairs."""
        found = hashlib.sha256(self.texts.digest().encode())
        for tensor in (self.role, self.source):
            found.update(tensor.contiguous().numpy())
        found.update(self.pairs.to_csv(index=False, float_format="%.6g").encode())
        return found.hexdigest()[:20]

    def check(self) -> "TextTask":
        """Raises BadValue if held-out samples leaked into training, by id or by question, or a pair is wrong.

        Two questions are one if they have the same words in the same order: case and punctuation do not tell them apart.
        """
        groups = {
            "trained": TRAINED_ON["original"],
            "decoy": ("decoy", "decoy_similar"),
            "test": ("test",),
            "validation": ("validation",),
        }
        rows = {g: self.index(*r).tolist() for g, r in groups.items()}
        ids = {g: set(self.source[r].tolist()) for g, r in rows.items()}
        asked = {g: {" ".join(words(self.question[i])) for i in r} for g, r in rows.items()}
        for a, b in combinations(groups, 2):
            for what, sets in (("ids", ids), ("questions", asked)):
                if shared := sets[a] & sets[b]:
                    raise BadValue(
                        f"{len(shared)} {what} are in both the {a} and the {b} samples, say {min(shared)!r}; they must be "
                        "disjoint: no question may be asked twice, paraphrases included"
                    )
        for column, allowed in (("anchor", ("target", "decoy")), ("similar", ("similar", "decoy_similar"))):
            named = self.pairs[column].to_numpy(dtype=np.int64)
            if len(named) and not 0 <= named.min() <= named.max() < len(self):
                raise BadValue(f"column {column!r} of the pair table names samples that are not there")
            if extra := {ROLES[r] for r in self.role[named.tolist()].tolist()} - set(allowed):
                raise BadValue(f"column {column!r} of the pair table names samples of role {', '.join(sorted(extra))}")
        return self

    def save(self, folder: Path) -> None:
        """samples.parquet, pairs.parquet and task.json into a folder that is there."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            f.name: [list(v) if f.name == "wrong" else v for v in getattr(self.texts, f.name)] for f in fields(Texts)
        }
        table = {"id": range(len(self)), **columns, "role": [ROLES[r] for r in self.role.tolist()]}
        table["source"] = self.source.tolist()
        text, number = pa.string(), pa.int64()
        types = dict.fromkeys(table, text) | {"id": number, "source": number, "wrong": pa.list_(text)}
        pq.write_table(pa.table({k: pa.array(v, types[k]) for k, v in table.items()}), folder / SAMPLES)
        self.pairs.to_parquet(folder / PAIRS)
        info = {"format": FORMAT, "digest": self.digest(), "facts": dict(self.facts)}
        (folder / TASK).write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path) -> TextTask:
    """The task that `TextTask.save` wrote. Raises BadValue for what is missing, damaged or of another version."""
    import pyarrow.parquet as pq

    folder = Path(folder)
    for name in (TASK, SAMPLES, PAIRS):
        if not (folder / name).is_file():
            raise BadValue(f"{folder.name} has no {name}: it is not a stored text task, or not a whole one")
    try:
        info = json.loads((folder / TASK).read_text(encoding="utf-8"))
        if info["format"] != FORMAT:
            raise BadValue(
                f"{folder.name} is of another version: format {info['format']!r}, the one read here is {FORMAT}"
            )
        table = pq.read_table(folder / SAMPLES).to_pydict()
        texts = Texts(*(table[f.name] for f in fields(Texts)))
        role = torch.tensor([ROLES.index(r) for r in table["role"]], dtype=torch.int8)
        source = torch.tensor(table["source"], dtype=torch.int64)
        task = TextTask(texts, role, source, pd.read_parquet(folder / PAIRS), info["facts"])
    except BadValue:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadValue(
            f"{folder.name} is damaged, or no stored text task: {' '.join(str(error).split())[:200]}"
        ) from error
    if task.digest() != info["digest"]:
        raise BadValue(f"{folder.name} is damaged: its digest is {info['digest']}, and reads as {task.digest()}")
    return task
