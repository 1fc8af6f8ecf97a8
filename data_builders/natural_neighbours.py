"""Near-duplicates that are found rather than made: a target's nearest neighbours among real images.

A natural perturbation is `(x, features) -> vectors`, and neighbours are nearest by the cosine of these vectors. x: (n,
channels, height, width) uint8; features: (n, width) of a model, or None; vectors: (n, d).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from data_builders.perturbations import perturbation
from data_builders.task import unit
from unlearnkit.core.errors import BadValue

RANKS = "where in the order of neighbours to begin: 0 with the nearest, 0.5 in the middle"


@perturbation("pixel_neighbours", strength=RANKS, natural=True)
def pixel_neighbours(x: Tensor, features: Tensor | None, *, same_class: bool = True) -> Tensor:
    """The nearest real images by correlation of their pixels.

    same_class: only of the target's class; where classes are people, these are other photographs of the same person.
    """
    vectors = unit(x).flatten(1)
    return vectors - vectors.mean(1, keepdim=True)


@perturbation("feature_neighbours", strength=RANKS, natural=True)
def feature_neighbours(x: Tensor, features: Tensor | None, *, same_class: bool = True) -> Tensor:
    """The nearest real images by the features of a model of the same architecture that was trained on the pool."""
    if features is None:
        raise BadValue("feature_neighbours needs the features of the pool: unlearnkit.study passes them")
    return features


def neighbours(
    vectors: Tensor, y: Tensor, anchors: Tensor, others: Tensor, copies: int, strength: float, same_class: bool
) -> Tensor:
    """(anchors, copies): indices into the pool, each image used once. In each round every anchor takes one neighbour,
    so that the neighbours for few copies are among those for more. Raises BadValue if a class is too small.

    vectors: (n, d); y: (n,); anchors, others: indices of the targets and decoys, and of the candidates.
    """
    chosen = torch.empty(len(anchors), copies, dtype=torch.long)
    if not copies:
        return chosen
    vectors = F.normalize(vectors.float(), dim=1)
    lists = []
    for anchor in anchors.tolist():
        candidates = others[y[others] == y[anchor]] if same_class else others
        begin = round(strength * max(len(candidates) - 1, 0))
        if len(candidates) < copies:
            raise _too_small(int(y[anchor]), len(candidates), copies, same_class)
        ranked = candidates[(vectors[candidates] @ vectors[anchor]).argsort(descending=True, stable=True)]
        lists.append(iter([*ranked[begin:].tolist(), *ranked[:begin].flip(0).tolist()]))
    taken: set[int] = set()
    for number in range(copies):
        for row, ranked in enumerate(lists):
            neighbour = next((i for i in ranked if i not in taken), None)
            if neighbour is None:
                raise _too_small(int(y[anchors[row]]), number, copies, same_class)
            taken.add(neighbour)
            chosen[row, number] = neighbour
    return chosen


def _too_small(label: int, n: int, copies: int, same_class: bool) -> BadValue:
    where = f"class {label}" if same_class else "the pool"
    return BadValue(
        f"{where} is too small: {n} images are left for a target that is to have {copies} neighbours. Use fewer "
        "copies, fewer targets, a larger pool" + (", or same_class=False" if same_class else "")
    )
