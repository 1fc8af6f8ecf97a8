"""The similar-sample task: what is to be forgotten, what is similar to it and stays, what no model is trained on."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

ROLES = ("target", "similar", "filler", "decoy", "decoy_similar", "test", "validation", "refill")
COPIED = {"target": "similar", "decoy": "decoy_similar"}  # role of the anchors -> role of their near-duplicates
VALIDATION_SHARE = 5  # as many validation samples as a fifth of the training set, if the pool has them left

# which roles each reference model is trained on
TRAINED_ON = {
    "original": ("target", "similar", "filler"),
    "retrain": ("similar", "filler"),
    "clean": ("filler", "refill"),  # which takes the near-duplicates' place where there is any
}
# what must not share a sample
DISJOINT = {
    "trained": (*TRAINED_ON["original"], "refill"),
    "decoy": ("decoy", "decoy_similar"),
    "test": ("test",),
    "validation": ("validation",),
}


def role_column(sizes: Iterable[tuple[str, int]]) -> Tensor:
    """(n,) int8, indices into ROLES: as many of each role as it says, in this order."""
    return torch.cat([torch.full((n,), ROLES.index(role), dtype=torch.int8) for role, n in sizes])


def linked_rows(role: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    """Row numbers of each anchor (target or decoy), once for each of its `copies`, and of these; decoys beyond those that
    have near-duplicates stand behind them. role: (n,) int8."""
    anchors, similars = [], []
    for anchor, similar in COPIED.items():
        similars.append((role == ROLES.index(similar)).nonzero().squeeze(1))
        with_copies = len(similars[-1]) // copies if copies else 0
        anchors.append((role == ROLES.index(anchor)).nonzero().squeeze(1)[:with_copies].repeat_interleave(copies))
    return torch.cat(anchors), torch.cat(similars)


def validation_as_test(role: Tensor, able: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(which samples stay, (n,) bool, and their roles, int8): the trained samples, and the validation samples in the
    role of test samples. able: (n,) bool, which validation samples can be used; role: (n,) int8. Raises BadValue
    without any."""
    test, held_out = ROLES.index("test"), ROLES.index("validation")
    trained = torch.isin(role, torch.tensor([ROLES.index(r) for r in TRAINED_ON["original"]]))
    validation = (role == held_out) if able is None else (role == held_out) & able
    if not validation.any():
        raise BadValue(
            "tuning needs validation samples, and the pool has none left: use a larger pool (0 takes all images) or a "
            "smaller train_size"
        )
    kept = trained | validation
    return kept, role.masked_fill(validation, test)[kept]


def unit(x: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]; floats unchanged."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Samples:
    """Labelled samples in memory. stored: (n, channels, height, width) uint8 or float32; y: (n,) int64.

    x is what models are fed: float32, computed from the bytes at each access, so that a set takes a quarter of the
    memory.
    """

    domain = "image"  # which wing serves them

    stored: Tensor
    y: Tensor

    @property
    def x(self) -> Tensor:
        return unit(self.stored)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index) -> "Samples":
        return Samples(self.stored[index], self.y[index])

    def to(self, device) -> "Samples":
        return Samples(self.stored.to(device), self.y.to(device))

    def joined(self, *others: "Samples") -> "Samples":
        """These and the others as one."""
        parts = (self, *others)
        return Samples(torch.cat([p.stored for p in parts]), torch.cat([p.y for p in parts]))

    def label_index(self, index: Tensor) -> Tensor:
        """Positions, among all labels, of the labels of these samples: an image has one (texts: one per answer
        token)."""
        return index

    def relabelled(self, y: Tensor) -> "Samples":
        return Samples(self.stored, y)

    def batches(self, size: int, seed: int, *labels: object) -> Iterator["Samples"]:
        """One shuffled pass in batches of `size` (the last may be smaller); the order depends on seed and labels."""
        order = torch.randperm(len(self), generator=generator(seed, "order", *labels)).to(self.y.device)
        for index in order.split(size):
            yield self[index]

    def digest(self) -> str:
        """Hash of content, order included."""
        return digest(self.stored, self.y)


class WithRoles:
    """What image and text tasks share: samples by role, and the checks of roles and pairs.

    A subclass has role, (n,) int8; source, (n,) int64; pairs; facts; arm, (n,) int16 or None; `of` and `part`.
    """

    role: Tensor
    source: Tensor
    pairs: pd.DataFrame
    facts: Mapping
    arm: Tensor | None

    def of(self, *roles: str):
        """The samples in these roles."""
        raise NotImplementedError

    def part(self, rows: Tensor, role: Tensor):
        """These samples, in these roles, without pairs. rows: (k,) row numbers; role: (k,) int8."""
        raise NotImplementedError

    def index(self, *roles: str) -> Tensor:
        """Row numbers of the samples in these roles, in order."""
        wanted = torch.tensor([ROLES.index(r) for r in roles])
        return torch.isin(self.role, wanted).nonzero().squeeze(1)

    def training_set(self, reference: str):
        """What `original`, `retrain` or `clean` is trained on."""
        return self.of(*TRAINED_ON[reference])

    def _check_disjoint(self, contents: Mapping[str, Mapping[str, set]], hint: str) -> None:
        """contents: what must be disjoint ("images") -> group of DISJOINT -> hashes or texts. Source ids are checked too."""
        ids = {group: set(self.source[self.index(*roles)].tolist()) for group, roles in DISJOINT.items()}
        for a, b in combinations(DISJOINT, 2):
            for what, sets in ({"ids": ids} | contents).items():
                if shared := sets[a] & sets[b]:
                    example = min(shared)
                    example = "" if isinstance(example, bytes) else f", for example {example!r}"
                    raise BadValue(
                        f"{len(shared)} {what} are in both the {a} and the {b} samples{example}; they must be disjoint. "
                        f"{hint}"
                    )

    def _check_pairs(self) -> None:
        for column, allowed in (("anchor", [*COPIED]), ("similar", [*COPIED.values()])):
            rows = self.pairs[column].to_numpy(dtype=np.int64)
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.role):
                raise BadValue(f"column {column!r} of the pair table names samples that are not there")
            if extra := {ROLES[r] for r in self.role[torch.from_numpy(rows.copy())].tolist()} - set(allowed):
                raise BadValue(f"column {column!r} of the pair table names samples of role {', '.join(sorted(extra))}")


@dataclass(frozen=True)
class SimilarityTask(WithRoles):
    """Images with roles, and a table of which is similar to which.

    x: (n, channels, height, width) uint8; y: (n,) int64, the label trained on; role: (n,) int8, index into ROLES;
    source: (n,) int64, the id of the raw image that a sample is or was made from.
    pairs: one row per (target or decoy, similar): anchor, similar (row numbers here), perturbation, strength, and the
    measures. facts: what a dataset card shows. A sample's id is its row number. arm: (n,) int16, which of facts["arms"] a
    target, near-duplicate or decoy belongs to, else -1 (data_builders.build_mixed_task); None for a task of one arm.
    """

    x: Tensor
    y: Tensor
    role: Tensor
    source: Tensor
    pairs: pd.DataFrame
    n_classes: int
    facts: Mapping = field(default_factory=dict)
    arm: Tensor | None = None

    def of(self, *roles: str) -> Samples:
        index = self.index(*roles)
        return Samples(self.x[index], self.y[index])

    def part(self, rows: Tensor, role: Tensor) -> "SimilarityTask":
        """These samples, in these roles, without pairs. rows: (k,) row numbers; role: (k,) int8."""
        kept = {"x": self.x[rows], "y": self.y[rows], "role": role, "source": self.source[rows]}
        return replace(self, **kept, pairs=self.pairs.iloc[:0], arm=None if self.arm is None else self.arm[rows])

    def digest(self) -> str:
        """Hash of all content: pixels, labels, roles, sources and pairs."""
        text = self.pairs.to_csv(index=False, float_format="%.6g").encode()
        arm = () if self.arm is None else (self.arm,)
        return digest(
            self.x, self.y, self.role, self.source, torch.frombuffer(bytearray(text), dtype=torch.uint8), *arm
        )

    def check(self) -> "SimilarityTask":
        """Itself. Raises BadValue if held-out samples leaked into training, by id or by pixels, or a pair is wrong."""
        compared = DISJOINT | {
            "decoy": ("decoy",)
        }  # without copies: two different digits, masked to a dot, may be equal
        pixels = {group: set(hashes(self.x[self.index(*roles)])) for group, roles in compared.items()}
        self._check_disjoint({"images": pixels}, "RawImages.distinct() drops exact duplicates from the raw data")
        self._check_pairs()
        return self


def digest(*tensors: Tensor) -> str:
    """One hash of the content of all tensors."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.contiguous().numpy())
    return sha256.hexdigest()[:20]


def hashes(x: Tensor) -> list[bytes]:
    """One hash of content per image, 16 bytes each. x: (n, ...)."""
    return [hashlib.blake2b(image, digest_size=16).digest() for image in x.contiguous().numpy()]
