"""How far the features of one set of samples lie in the directions that another set spans: dimensional alignment.

Features are (n, width), a row per sample, and are turned into (width, width) moments at once, in float64: time grows with
n, and no table of all pairs of samples is ever made. Everything is differentiable.
Source: DA of Seo et al. 2025, arXiv 2407.17710; rank, centring and layer are ours, since the paper does not state them.
"""

import torch
from torch import Tensor

from unlearnkit.errors import BadValue, NotApplicable

ENERGY = 0.95  # ours; 0.9, 0.99 and one less than the number of classes are the other values to try


def moment(features: Tensor, *, centred: bool = False) -> Tensor:
    """Mean of v v^T over the rows v of `features`, (width, width) float64; their covariance if `centred`.

    Raises BadValue without samples.
    """
    if features.ndim != 2 or not len(features):
        raise BadValue(f"features must be (samples, width) with at least one sample, got {tuple(features.shape)}")
    v = features.double()
    v = v - v.mean(0) if centred else v
    return v.T @ v / len(v)


def principal(moment: Tensor, *, energy: float = ENERGY, rank: int | None = None) -> Tensor:
    """Orthonormal main directions of a moment, (width, rank), the strongest first.

    rank: how many; by default the smallest number that holds the share `energy` of the sum of eigenvalues.
    Raises BadValue for a rank or share out of range, NotApplicable for a moment of 0, which has no directions.
    """
    width = len(moment)
    if not 0 < energy <= 1:
        raise BadValue(f"energy must be above 0 and at most 1, got {energy}")
    if rank is not None and not 1 <= rank <= width:
        raise BadValue(f"rank must be from 1 to the width of the features, {width}, got {rank}")
    values, vectors = torch.linalg.eigh(moment)  # ascending
    held = values.detach().flip(0).clamp(min=0).cumsum(0)
    if held[-1] <= 0:
        raise NotApplicable("all features are 0: they have no main directions")
    if rank is None:
        rank = int((held < energy * held[-1] * (1 - 1e-12)).sum()) + 1
    return vectors.flip(1)[:, :rank]


def alignment(forget: Tensor, directions: Tensor, *, centred: bool = False) -> Tensor:
    """DA(F | R) = ||F F^T U U^T|| / ||F F^T||, Frobenius norms, in [0, 1]: the share of F that lies in U.

    forget: features, (n, width); directions: U, (width, rank), orthonormal: `principal` of R's moment; centred: as there.
    Returns a float64 scalar. Raises NotApplicable if all of F is 0, of which no share can be taken.
    """
    m = moment(forget, centred=centred)
    whole = torch.linalg.matrix_norm(m)
    if whole == 0:
        raise NotApplicable("all features to be aligned are 0: no share of them lies anywhere")
    return torch.linalg.matrix_norm(m @ directions) / whole  # U^T is an isometry and leaves the norm as it is
