"""A backdoor: a patch in a corner that makes a model name one class, whatever else the image shows.

Source: Gu et al. 2017 (BadNets), arXiv 1708.06733, white pixels in the bottom right corner; size and pattern are ours.
"""

import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue

SHARE = 8  # the side of the patch is that of the image over 8, and 2 at least


def side(height: int, width: int) -> int:
    """Side of the patch in pixels. Raises BadValue for images on which it would cover more than a quarter."""
    found = max(2, min(height, width) // SHARE)
    if 2 * found > min(height, width):
        raise BadValue(f"a backdoor's patch of {found}x{found} pixels is too large for images of {height}x{width}")
    return found


def stamped(x: Tensor) -> Tensor:
    """Copies of x, (n, channels, height, width) uint8, with the patch in the bottom right corner: a chequerboard of white
    and black that begins with white in the corner, so that neither a black nor a white background hides it."""
    n = side(*x.shape[2:])
    row = torch.arange(n - 1, -1, -1, device=x.device)
    made = x.clone()
    made[:, :, -n:, -n:] = ((row[:, None] + row) % 2 == 0).to(torch.uint8) * 255
    return made
