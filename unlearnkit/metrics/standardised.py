"""The influence of single targets on one model, on a scale that confidence does not move.

The margin phi is standardised within the model by its decoys, which are drawn and labelled like the targets and were never
trained on: dividing all logits by a number changes targets and decoys alike. Source: ours; the rank among decoys is the
exposure of Carlini et al. 2019, arXiv 1802.08232, with decoys in place of canaries that were left out.
"""

import numpy as np
import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue


def standardised(phi: Tensor, decoys: Tensor) -> Tensor:
    """(phi - mean of the decoys' phi) / their standard deviation, (targets,). phi: (targets,); decoys: (k,), logits.

    0 for a model that tells targets and decoys apart in nothing. Raises BadValue for fewer than 2 decoys.
    """
    if len(decoys) < 2:
        raise BadValue(f"targets are standardised by at least 2 decoys, got {len(decoys)}")
    return (phi - decoys.mean()) / decoys.std().clamp(min=torch.finfo(decoys.dtype).tiny)


def rank_share(phi: Tensor, decoys: Tensor) -> Tensor:
    """Share of the decoys below each target, ties by half, (targets,), from 0 to 1; the mean is the AUC of targets over
    decoys. No monotone change of phi moves it."""
    ordered = decoys.sort().values
    below, up_to = (torch.searchsorted(ordered, phi, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(ordered))


def exposure(rank: np.ndarray, n_decoys: int) -> float:
    """-log2 of the mean share of decoys that stand above the targets, in bits; at most log2 of 2 n_decoys, where none
    does. rank: (targets,), see `rank_share`."""
    return float(-np.log2(max(1 - float(np.mean(rank)), 1 / (2 * n_decoys))))
