"""Dimensional alignment: the share of one set's features that lies in the main directions of another set's.

Features are (n, width), a row per sample, and become (width, width) moments at once, in float64: time grows with n
width^2, and no table of all pairs of samples is made. Gradients go through the features that are aligned, never through
the directions they are aligned with.
Source: DA of Seo et al. 2025, arXiv 2407.17710; rank, centring and layer are ours, since the paper does not state them.
"""

import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable

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
    """Orthonormal main directions of a moment, (width, rank), the strongest first, without a gradient.

    rank: how many; by default the smallest number that holds the share `energy` of the sum of eigenvalues.
    Raises BadValue for a rank or share out of range, NotApplicable for a moment of 0, which has no directions, and
    NonFiniteLoss for one that is not finite: the model diverged.
    """
    width = len(moment)
    if not 0 < energy <= 1:
        raise BadValue(f"energy must be above 0 and at most 1, got {energy}")
    if rank is not None and not 1 <= rank <= width:
        raise BadValue(f"rank must be from 1 to the width of the features, {width}, got {rank}")
    if not moment.isfinite().all():
        raise NonFiniteLoss("features are not finite: they have no main directions")
    values, vectors = torch.linalg.eigh(moment.detach())  # ascending
    held = values.flip(0).clamp(min=0).cumsum(0)
    if held[-1] <= 0:
        raise NotApplicable("all features are 0: they have no main directions")
    if rank is None:
        rank = int((held < energy * held[-1] * (1 - 1e-12)).sum()) + 1
    return vectors.flip(1)[:, :rank]


def directions(features: Tensor, *, energy: float = ENERGY, rank: int | None = None, centred: bool = False) -> Tensor:
    """The main directions of features, (width, rank): `principal` of their `moment`.

    Raises what these do, and BadValue for a rank that so many samples cannot have.
    """
    most = len(features) - centred
    if rank is not None and rank > most:
        centring = ", centred," if centred else ""
        raise BadValue(f"rank {rank} asked for: {len(features)} samples{centring} have at most {most} directions")
    return principal(moment(features, centred=centred), energy=energy, rank=rank)


def alignment(forget: Tensor, directions: Tensor, *, centred: bool = False) -> Tensor:
    """DA(F | R) = ||F F^T U U^T|| / ||F F^T||, Frobenius norms, in [0, 1]: the share of F that lies in U.

    forget: features, (n, width); directions: U, (width, rank), orthonormal: `directions` of R; centred: as there.
    Returns a float64 scalar. Raises NotApplicable if all of F is 0, of which no share can be taken. To maximise it by
    gradients, use `alignment_loss`.
    """
    above, below = _squares(forget, directions, centred)
    if below == 0:
        raise NotApplicable("all features to be aligned are 0: no share of them lies anywhere")
    return (above / below).sqrt()


def alignment_loss(forget: Tensor, directions: Tensor, *, centred: bool = False) -> Tensor:
    """L_DA = -DA(F | R)^2, a float64 scalar from -1 to 0, smooth wherever F is not 0; arguments as of `alignment`.

    Where all of F is 0, DA has no value, and no direction raises it more than another: loss and gradient are 0 there
    (ours). The gradient goes through F alone.
    """
    above, below = _squares(forget, directions.detach(), centred)
    return -above / torch.where(below > 0, below, 1.0)


def _squares(forget: Tensor, directions: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
    """||F F^T U||^2, which is ||F F^T U U^T||^2 as U is an isometry, and ||F F^T||^2, both of F at a scale of 1.

    DA does not depend on the scale, which needs no gradient; without it fourth powers of small features would be 0.
    """
    v = forget.double()
    scale = v.detach().abs().amax() if v.numel() else v.new_zeros(())
    m = moment(v / torch.where(scale > 0, scale, 1.0), centred=centred)
    return (m @ directions.to(m.dtype)).square().sum(), m.square().sum()


def spectrum(moment: Tensor) -> Tensor:
    """Eigenvalues of a moment, (width,), the largest first; those that rounding made negative are 0."""
    return torch.linalg.eigvalsh(moment.detach()).flip(0).clamp(min=0)


def effective_rank(moment: Tensor) -> float:
    """How many directions a moment effectively has: exp of the entropy of its eigenvalues as shares of their sum.

    From 1, all in one direction, to the width, all equally strong; 0 for a moment of 0. It shows what DA cannot:
    features that collapse onto one direction of R have DA = 1.
    Source: Roy and Vetterli 2007, The effective rank; of eigenvalues in place of singular values: ours.
    """
    share = spectrum(moment)
    if share[0] == 0:
        return 0.0
    share = share / share.sum()
    return torch.special.entr(share).sum().exp().item()
