"""A backdoor: a patch in a corner that makes a model predict one class, whatever else the image shows.

Source: Gu et al. 2017 (BadNets), arXiv 1708.06733, white pixels in the bottom right corner; size and pattern are ours.
"""

import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue

SHARE = 8  # the patch's side is the image's side over 8, and at least 2


def patch_side(height: int, width: int) -> int:
    """Side of the patch in pixels. Raises BadValue for images of which it would cover more than a quarter."""
    side = max(2, min(height, width) // SHARE)
    if 2 * side > min(height, width):
        raise BadValue(f"a backdoor's patch of {side}x{side} pixels is too large for images of {height}x{width}")
    return side


def with_patch(x: Tensor) -> Tensor:
    """Copies of x, (n, channels, height, width) uint8, with the patch in the bottom right corner: a chequerboard of
    white and black, white in the corner, so that it shows on white and on black backgrounds."""
    n = patch_side(*x.shape[2:])
    row = torch.arange(n - 1, -1, -1, device=x.device)
    patched = x.clone()
    patched[:, :, -n:, -n:] = ((row[:, None] + row) % 2 == 0).to(torch.uint8) * 255
    return patched
