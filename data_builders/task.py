"""The similar-sample task: what is to be forgotten, what resembles it and stays, and what was never seen."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import pandas as pd
import torch
from torch import Tensor

from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

ROLES = ("target", "similar", "filler", "decoy", "decoy_similar", "test", "validation")

# which roles each reference model is trained on
TRAINED_ON = {
    "original": ("target", "similar", "filler"),
    "retrain": ("similar", "filler"),
    "clean": ("filler",),
}


def validation_as_test(role: Tensor, able: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(which samples stay, (n,) bool, and the roles of these): those that are trained on, and of the validation samples
    those that are `able`, (n,) bool, now in the role of test samples. role: (n,) int8. Raises BadValue without any."""
    test, held = ROLES.index("test"), ROLES.index("validation")
    trained = torch.isin(role, torch.tensor([ROLES.index(r) for r in TRAINED_ON["original"]]))
    validation = (role == held) if able is None else (role == held) & able
    if not validation.any():
        raise BadValue(
            "tuning needs validation samples, and the pool has none left: use a larger pool (0 takes all images) or a "
            "smaller train_size"
        )
    kept = trained | validation
    return kept, role.masked_fill(validation, test)[kept]


def unit(x: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]; floats as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Samples:
    """Labelled samples in memory. stored: (n, channels, height, width) uint8 or float32; y: (n,) int64.

    x is what models are fed: float32, made of bytes when it is asked for, so that a set takes a quarter of the room.
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
        """Where the labels of these samples stand among all labels: an image has one (texts: one per answer token)."""
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


@dataclass(frozen=True)
class SimilarityTask:
    """Samples with roles, and a table of which sample is similar to which.

    x: (n, channels, height, width) uint8; y: (n,) int64, the label trained on; role: (n,) int8, index into ROLES;
    source: (n,) int64, the id of the raw image that a sample is or was made from.
    pairs: one row per (target or decoy, similar): anchor, similar (row numbers here), kind, strength, and the measures.
    facts: what a dataset card shows. A sample's id is its row number.
    """

    x: Tensor
    y: Tensor
    role: Tensor
    source: Tensor
    pairs: pd.DataFrame
    n_classes: int
    facts: Mapping = field(default_factory=dict)

    def index(self, *roles: str) -> Tensor:
        """Row numbers of the samples in these roles, in order."""
        wanted = torch.tensor([ROLES.index(r) for r in roles])
        return torch.isin(self.role, wanted).nonzero().squeeze(1)

    def of(self, *roles: str) -> Samples:
        index = self.index(*roles)
        return Samples(self.x[index], self.y[index])

    def training_set(self, reference: str) -> Samples:
        """What `original`, `retrain` or `clean` is trained on."""
        return self.of(*TRAINED_ON[reference])

    def digest(self) -> str:
        """Hash of all content: pixels, labels, roles, sources and pairs."""
        text = self.pairs.to_csv(index=False, float_format="%.6g").encode()
        return digest(self.x, self.y, self.role, self.source, torch.frombuffer(bytearray(text), dtype=torch.uint8))

    def check(self) -> "SimilarityTask":
        """Raises BadValue if held-out samples leaked into training, by id or by pixels, or a pair is wrong."""
        groups = {
            "trained": TRAINED_ON["original"],
            "decoy": ("decoy",),
            "test": ("test",),
            "validation": ("validation",),
        }
        pixels = {g: set(hashes(self.x[self.index(*r)])) for g, r in groups.items()}
        groups["decoy"] += ("decoy_similar",)  # by id: two different digits, masked to a dot, may be equal
        ids = {g: set(self.source[self.index(*r)].tolist()) for g, r in groups.items()}
        for a, b in combinations(groups, 2):
            for what, sets in (("ids", ids), ("images", pixels)):
                if shared := len(sets[a] & sets[b]):
                    raise BadValue(
                        f"{shared} {what} are in both the {a} and the {b} samples; they must be disjoint. Exact "
                        "duplicates in the raw data are dropped by RawImages.distinct()"
                    )
        for column, allowed in (("anchor", ("target", "decoy")), ("similar", ("similar", "decoy_similar"))):
            found = {ROLES[r] for r in self.role[torch.tensor(self.pairs[column].to_numpy())].tolist()}
            if extra := found - set(allowed):
                raise BadValue(f"column {column!r} of the pair table names samples of role {', '.join(sorted(extra))}")
        return self


def digest(*tensors: Tensor) -> str:
    """One hash of the content of all."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy())
    return found.hexdigest()[:20]


def hashes(x: Tensor) -> list[bytes]:
    """One hash of content per image, 16 bytes each. x: (n, ...)."""
    return [hashlib.blake2b(image, digest_size=16).digest() for image in x.contiguous().numpy()]
