"""Similar samples that are found: a target's nearest neighbours among real images.

A natural kind is `(x, features) -> vectors`: the space in which neighbours are near, by cosine. x: (n, channels, height,
width) uint8; features: (n, width) of a model, or None; vectors: (n, d).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from data_builders.perturbations import kind
from data_builders.task import unit
from unlearnkit.core.errors import BadValue

RANKS = "where in the order of neighbours to begin: 0 with the nearest, 0.5 in the middle"


@kind("pixel_neighbours", strength=RANKS, natural=True)
def pixel_neighbours(x: Tensor, features: Tensor | None, *, same_class: bool = True) -> Tensor:
    """The nearest real images by correlation of their pixels.

    same_class: only of the target's class; where classes are people, these are other photographs of the person.
    """
    vectors = unit(x).flatten(1)
    return vectors - vectors.mean(1, keepdim=True)


@kind("feature_neighbours", strength=RANKS, natural=True)
def feature_neighbours(x: Tensor, features: Tensor | None, *, same_class: bool = True) -> Tensor:
    """The nearest real images by the features of a model of the same architecture that was trained on the pool."""
    if features is None:
        raise BadValue("feature_neighbours needs the features of the pool: unlearnkit.study passes them")
    return features


def neighbours(
    vectors: Tensor, y: Tensor, anchors: Tensor, others: Tensor, copies: int, strength: float, same_class: bool
) -> Tensor:
    """(anchors, copies): indices into the pool, each image used once. Anchors choose in turn, one neighbour a round, so
    that fewer copies are among more. Raises BadValue if a class is too small.

    vectors: (n, d); y: (n,); anchors, others: indices of the targets and decoys, and of the candidates.
    """
    found = torch.empty(len(anchors), copies, dtype=torch.long)
    if not copies:
        return found
    vectors = F.normalize(vectors.float(), dim=1)
    lists = []
    for anchor in anchors.tolist():
        mine = others[y[others] == y[anchor]] if same_class else others
        begin = round(strength * max(len(mine) - 1, 0))
        if len(mine) < copies:
            _too_small(int(y[anchor]), len(mine), copies, same_class)
        ranked = mine[(vectors[mine] @ vectors[anchor]).argsort(descending=True, stable=True)]
        lists.append(iter([*ranked[begin:].tolist(), *ranked[:begin].flip(0).tolist()]))
    taken: set[int] = set()
    for turn in range(copies):
        for row, candidates in enumerate(lists):
            chosen = next((c for c in candidates if c not in taken), None)
            if chosen is None:
                _too_small(int(y[anchors[row]]), turn, copies, same_class)
            taken.add(chosen)
            found[row, turn] = chosen
    return found


def _too_small(label: int, n: int, copies: int, same_class: bool) -> None:
    where = f"class {label}" if same_class else "the pool"
    raise BadValue(
        f"{where} is too small: {n} images are left for a target that is to have {copies} neighbours. Use fewer copies, "
        "fewer targets, a larger pool" + (", or same_class=False" if same_class else "")
    )
