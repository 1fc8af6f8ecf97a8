"""Measures of how similar two images are, for pairs in batches.

Images are uint8, or floats in [0, 1]; a, b: (pairs, channels, height, width). Every measure returns (pairs,) float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from data_builders.task import unit

AT_ONCE = 2**18  # pixels per chunk, so that all its maps stay in the processor's cache


def ssim(a: Tensor, b: Tensor, *, window: int = 7) -> Tensor:
    """Structural similarity, mean over pixels and channels, in [-1, 1]; 1 means identical.

    Uniform window, sample covariance and no padding: scikit-image's `structural_similarity` with its defaults and the
    data range of the type (Wang et al. 2004, Eq. 13). Images smaller than the window use the largest odd window that
    fits.
    """
    side = min(a.shape[-2:])
    window = min(window, side if side % 2 else side - 1)
    size = max(AT_ONCE // a[0].numel(), 1) if len(a) else 1
    return torch.cat([_ssim(unit(x), unit(y), window) for x, y in zip(a.split(size), b.split(size))])


def _ssim(a: Tensor, b: Tensor, window: int) -> Tensor:
    n = window * window
    unbias = n / (n - 1) if n > 1 else 1.0
    c1, c2 = 0.01**2, 0.03**2
    maps = a.new_empty(4, *a.shape)
    torch.mul(a, b, out=maps[2])
    torch.mul(a, a, out=maps[3]).addcmul_(b, b)
    maps[0], maps[1] = a, b
    # in place from here on: allocating memory costs more than the arithmetic
    mean_a, mean_b, ab, squares = _sums(_sums(maps, window, -2), window, -1).div_(n)
    product, square = mean_a * mean_b, mean_a.square_().addcmul_(mean_b, mean_b)
    above = ab.sub_(product).mul_(2 * unbias).add_(c2).mul_(product.mul_(2).add_(c1))
    below = squares.sub_(square).mul_(unbias).add_(c2).mul_(square.add_(c1))
    return above.div_(below).flatten(1).mean(1)


def _sums(v: Tensor, window: int, dim: int) -> Tensor:
    """Sums over `window` neighbours along dim, by doubling: 7 = 1 + 2 + 4."""
    n = v.shape[dim] - window + 1
    total, start, width = None, 0, 1
    while True:
        if window & width:
            piece = v.narrow(dim, start, n)
            total, start = piece if total is None else total + piece, start + width
        if 2 * width > window:
            return total
        left = v.shape[dim] - width
        v, width = v.narrow(dim, 0, left) + v.narrow(dim, width, left), 2 * width


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, -10 log10 of the mean squared error; infinite for identical images."""
    return -10 * (unit(a) - unit(b)).flatten(1).double().square().mean(1).log10().float()


def pixel_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the pixel vectors. An all-black image has cosine 0 with every image."""
    return F.cosine_similarity(unit(a).flatten(1), unit(b).flatten(1), dim=1)


@dataclass(frozen=True)
class Measure:
    """A measure, and the tolerance within which a similarity level counts as met."""

    function: Callable[[Tensor, Tensor], Tensor]
    tolerance: float

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return self.function(a, b)


MEASURES = {"ssim": Measure(ssim, 0.02), "psnr": Measure(psnr, 0.5), "pixel_cosine": Measure(pixel_cosine, 0.02)}
