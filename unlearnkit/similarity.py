"""How similar two images are, measured pair by pair in batches."""

import torch.nn.functional as F
from torch import Tensor


def ssim(a: Tensor, b: Tensor, *, window: int = 7) -> Tensor:
    """Structural similarity of image pairs, mean over pixels and channels.

    a, b: (pairs, channels, height, width) in [0, 1]. Returns (pairs,) in [-1, 1]; 1 means identical.
    Uniform window, sample covariance and no padding: scikit-image's `structural_similarity` with its defaults and
    data_range=1 (Wang et al. 2004, Eq. 13). Images smaller than the window use the largest odd window that fits.
    """
    side = min(a.shape[-2:])
    window = min(window, side if side % 2 else side - 1)
    n = window * window
    a, b = a.double(), b.double()
    mean_a, mean_b, aa, bb, ab = (F.avg_pool2d(v, window, stride=1) for v in (a, b, a * a, b * b, a * b))
    unbias = n / (n - 1) if n > 1 else 1.0
    var_a, var_b, cov = (unbias * v for v in (aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b))
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return value.flatten(1).mean(1).float()


def pixel_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the pixel vectors. a, b: (pairs, ...); returns (pairs,). An all-black image has cosine 0 to all."""
    return F.cosine_similarity(a.flatten(1).double(), b.flatten(1).double(), dim=1).float()


MEASURES = {"ssim": ssim, "pixel_cosine": pixel_cosine}
