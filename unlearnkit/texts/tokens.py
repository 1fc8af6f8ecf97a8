"""Questions and answers as token ids, with the interface of data_builders.task.Samples.

A sample is [prompt, answer, end], padded on the right. Every answer token has a label, the end token included; prompt
and padding have none, so that nothing can count them by mistake. A causal model never sees the padding that follows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from data_builders.task import digest
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

JITTER = 0.15  # of lengths, before samples are sorted by them: batches differ from pass to pass and waste little


@dataclass(frozen=True)
class Tokens:
    """n samples in memory.

    ids: (n, longest) int32, the model's input; start, stop: (n,) int64, where the answer begins, and the place after
    its end token; y: (answer tokens of all samples,) int64, the label of each, one sample after the other: the tokens
    of the answers themselves, or others (`relabelled`).
    """

    domain = "text"  # which wing serves them

    ids: Tensor
    start: Tensor
    stop: Tensor
    y: Tensor

    def __post_init__(self):
        n = len(self.ids)
        if self.start.shape != (n,) or self.stop.shape != (n,) or self.y.ndim != 1:
            raise BadValue(f"{n} samples need a start and a stop each, and labels in one row")

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> "Tokens":
        """Tokens from lists of ids, end tokens included. Raises BadValue for an empty prompt or answer, naming the
        sample: the first token of an answer is predicted from the last one of its prompt."""
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            if not len(prompt) or not len(answer):
                raise BadValue(f"sample {i} has no {'answer' if len(prompt) else 'prompt'}")
        start = torch.tensor([len(p) for p in prompts], dtype=torch.int64)
        stop = start + torch.tensor([len(a) for a in answers], dtype=torch.int64)
        ids = torch.zeros(len(prompts), int(stop.max()) if len(prompts) else 0, dtype=torch.int32)
        for row, prompt, answer in zip(ids, prompts, answers):
            row[: len(prompt) + len(answer)] = torch.tensor([*prompt, *answer], dtype=torch.int32)
        y = torch.tensor([token for answer in answers for token in answer], dtype=torch.int64)
        return cls(ids, start, stop, y)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def x(self) -> "Tokens":
        """The model's input: the samples themselves."""
        return self

    @cached_property
    def count(self) -> Tensor:
        """Answer tokens of each sample, (n,) int64, the end token included."""
        return self.stop - self.start

    @cached_property
    def sample(self) -> Tensor:
        """The sample that each answer token belongs to, (answer tokens,) int64."""
        return torch.arange(len(self), device=self.ids.device).repeat_interleave(self.count)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """(row, column) of the token before each answer token, which it is predicted from: (answer tokens,) each."""
        return self.sample, self._within + self.start[self.sample] - 1

    @cached_property
    def _within(self) -> Tensor:
        """The place of each answer token within its answer, from 0."""
        first = self.count.cumsum(0) - self.count
        return torch.arange(len(self.y), device=self.ids.device) - first[self.sample]

    def label_index(self, index: Tensor) -> Tensor:
        """Where the labels of these samples stand among all labels, in the order of `index`: values that were computed
        once for all answer tokens are those of `self[index]` at these places."""
        return run_index(self.count, index)

    def __getitem__(self, index) -> "Tokens":
        """The samples at a slice, a mask or row numbers, padded no further than the longest of them."""
        index = torch.as_tensor(index) if isinstance(index, list) else index
        rows = torch.arange(len(self), device=self.ids.device)[index]
        stop = self.stop[rows]
        longest = int(stop.max()) if len(rows) else 0
        return Tokens(self.ids[rows, :longest], self.start[rows], stop, self.y[self.label_index(rows)])

    def to(self, device) -> "Tokens":
        return Tokens(*(v.to(device) for v in (self.ids, self.start, self.stop, self.y)))

    def relabelled(self, y: Tensor) -> "Tokens":
        """The same samples with other labels; the model's input stays as it is. y: (answer tokens,)."""
        if y.shape != self.y.shape:
            raise BadValue(f"{len(self.y)} answer tokens need as many labels, got {tuple(y.shape)}")
        return replace(self, y=y)

    def joined(self, *others: "Tokens") -> "Tokens":
        """These and the others as one."""
        parts = (self, *others)
        longest = max(p.ids.shape[1] for p in parts)
        ids = [torch.nn.functional.pad(p.ids, (0, longest - p.ids.shape[1])) for p in parts]
        return Tokens(torch.cat(ids), *(torch.cat([getattr(p, k) for p in parts]) for k in ("start", "stop", "y")))

    def answered(self, answers: Sequence[Sequence[int]]) -> "Tokens":
        """The same prompts with these answers, token ids with their end token: "I don't know", or another's answer."""
        return Tokens.of(self.prompts(), answers).to(self.ids.device)

    def prompts(self) -> list[list[int]]:
        return [row[:i] for row, i in zip(self.ids.tolist(), self.start.tolist())]

    def answers(self) -> list[list[int]]:
        """The answers in the model's input, end token included, whatever the labels are."""
        return [row[i:j] for row, i, j in zip(self.ids.tolist(), self.start.tolist(), self.stop.tolist())]

    def summed(self, values: Tensor) -> Tensor:
        """Sum over each sample's answer tokens, (n,). values: (answer tokens,)."""
        return values.new_zeros(len(self)).index_add(0, self.sample, values)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each sample's answer tokens, (n,). values: (answer tokens,)."""
        return self.summed(values) / self.count

    def batches(self, size: int, seed: int, *labels: object) -> Iterator["Tokens"]:
        """One shuffled pass in batches of `size` samples (the last drawn may be smaller), each of samples of about one
        length; composition and order depend on seed and labels."""
        g = generator(seed, "order", *labels)
        length = self.stop.cpu() * (1 + JITTER * torch.rand(len(self), generator=g))
        parts = length.argsort().split(size)
        for i in torch.randperm(len(parts), generator=g).tolist():
            yield self[parts[i].to(self.ids.device)]

    def digest(self) -> str:
        """Hash of content, order included."""
        return digest(*(v.cpu() for v in (self.ids, self.start, self.stop, self.y)))


def run_index(count: Tensor, runs: Tensor) -> Tensor:
    """Where the values of `runs`, (k,), stand, one run after the other, among values of which run i has count[i]."""
    length = count[runs]
    offset = (count.cumsum(0)[runs] - length) - (length.cumsum(0) - length)
    return torch.arange(int(length.sum()), device=runs.device) + offset.repeat_interleave(length)


def padding(batches: Sequence[Tokens]) -> float:
    """The share of all tokens in these batches that is padding."""
    computed = sum(b.ids.numel() for b in batches)
    return 1 - sum(int(b.stop.sum()) for b in batches) / computed
