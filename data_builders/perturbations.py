"""Perturbations: how near-duplicates are made from a target. One small function each.

`(image, strength, rng, fillers, **options) -> copies`. image: (channels, height, width) float32 in [0, 1]; strength:
(copies,), from 0, almost no change, to 1, the most; fillers: (n, channels, height, width) uint8, unrelated images;
returns (copies, channels, height, width).

What is random in copy i depends on rng and i alone, not on the strength or the number of copies: with the same
generator, a copy of another strength is the same copy, changed less or more. Two copies of one strength differ.

Near-duplicates that are found among real images: natural_neighbours.py.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data_builders.task import unit
from unlearnkit.core.errors import BadValue
from unlearnkit.core.registry import Registry

perturbations = Registry("perturbation", "data_builders")


def perturbation(name: str, *, strength: str, source: str = "ours", natural: bool = False):
    """Register a perturbation. strength: what 0 to 1 means, in words; natural: found among real images, not made."""
    return perturbations.register(name, strength=strength, source=source, natural=natural)


def _uniform(n: int, rng: torch.Generator, columns: int = 1) -> Tensor:
    """(n, columns) in [-1, 1], in one call: row i is then the same for every n."""
    return torch.rand(n, columns, generator=rng) * 2 - 1


@perturbation("block_mask", strength="share of blocks set to 0", source="P1, arXiv 2601.06938")
def block_mask(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor, *, block: int = 2) -> Tensor:
    """Cut the image into blocks of `block` x `block` pixels and set a random share of them to 0.

    P1 [digest] cuts images into "b x b blocks"; that b is the side in pixels is our reading. Ours: a strength above 0
    masks at least one block, and the first masked block is not black already, as the copy would else equal the target.
    The blocks of a weak mask are among those of a stronger one.
    """
    height, width = image.shape[1:]
    if block < 1 or height % block or width % block:
        fits = [b for b in range(1, min(height, width) + 1) if height % b == 0 and width % b == 0]
        raise BadValue(f"block_mask: block={block} does not divide {height}x{width}; use one of {fits}")
    rows, columns = height // block, width // block
    black = F.max_pool2d(image.amax(0)[None], block).flatten() == 0
    order = torch.rand(len(strength), rows * columns, generator=rng)  # the lowest is masked first
    first = order.masked_fill(black, 2.0).argmin(1, keepdim=True)
    rank = order.scatter(1, first, -1.0).argsort(1).argsort(1)
    n_masked = torch.where(strength > 0, (strength * rows * columns).round().clamp(min=1), 0)
    masked = (rank < n_masked[:, None]).view(-1, 1, rows, columns)
    return image * ~masked.repeat_interleave(block, 2).repeat_interleave(block, 3)


@perturbation("noise", strength="standard deviation of Gaussian noise on pixels in [0, 1]")
def noise(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """Independent Gaussian noise on every pixel, clipped at black and white."""
    # copy by copy: torch draws normal numbers in another order when there are many
    normal = [torch.randn(image.shape, generator=rng) for _ in strength]
    normal = torch.stack(normal) if normal else image.new_empty(0, *image.shape)
    return (image + strength[:, None, None, None] * normal).clamp(0, 1)


@perturbation("blur", strength="mean width of a Gaussian, as a share of a quarter of the side")
def blur(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """Gaussian blur, up to twice as wide in one direction as in the other."""
    from scipy.ndimage import gaussian_filter

    stretch = 2 ** (_uniform(len(strength), rng).squeeze(1) / 2)
    sigma = strength * min(image.shape[1:]) / 4
    blurred = [
        gaussian_filter(image.numpy(), (0, float(s * k), float(s / k)), mode="nearest")
        for s, k in zip(sigma, stretch, strict=True)
    ]
    return torch.from_numpy(np.stack(blurred)).clamp(0, 1) if blurred else image.new_empty(0, *image.shape)


@perturbation("jpeg", strength="quality lost: from 95 at 0 to 1 at 1")
def jpeg(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """JPEG compression, with the 8x8 grid at a random place, so that two copies differ."""
    from PIL import Image

    height, width = image.shape[1:]
    offsets = torch.randint(8, (len(strength), 2), generator=rng).tolist()
    pixels = image.mul(255).round().byte().permute(1, 2, 0).numpy()
    compressed = []
    for s, (top, left) in zip(strength.tolist(), offsets, strict=True):
        file = io.BytesIO()
        padded = np.pad(pixels, ((top, -(top + height) % 8), (left, -(left + width) % 8), (0, 0)), mode="edge")
        Image.fromarray(padded.squeeze()).save(file, "JPEG", quality=round(95 - 94 * s))
        decoded = np.asarray(Image.open(file)).reshape(padded.shape)
        compressed.append(torch.from_numpy(decoded[top : top + height, left : left + width].copy()))
    if not compressed:
        return image.new_empty(0, *image.shape)
    return unit(torch.stack(compressed).permute(0, 3, 1, 2).contiguous())


def _warp(image: Tensor, matrices: Tensor) -> Tensor:
    """(copies, channels, height, width), each transformed by its 2x3 affine matrix, edges repeated."""
    repeated = image.expand(len(matrices), *image.shape)
    if not len(matrices):  # which torch refuses
        return repeated
    grid = F.affine_grid(matrices, list(repeated.shape), align_corners=False)
    return F.grid_sample(repeated, grid, mode="bilinear", padding_mode="border", align_corners=False)


@perturbation(
    "crop_shift", strength="share of the side that is cut off, and shift within what that frees; at most half"
)
def crop_shift(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """A crop at a random place, enlarged to full size."""
    shift = _uniform(len(strength), rng, columns=2)
    cut = strength[:, None] / 2
    matrices = torch.zeros(len(strength), 2, 3)
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1 - cut.squeeze(1)
    matrices[:, :, 2] = shift * cut
    return _warp(image, matrices)


@perturbation("rotation", strength="share of a quarter turn, within a fifth, to either side")
def rotation(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """A rotation about the centre."""
    spread, side = _uniform(len(strength), rng, columns=2).T
    angle = side.sign() * (1 + 0.2 * spread) * strength * math.pi / 2
    ratio = image.shape[1] / image.shape[2]
    matrices = torch.zeros(len(strength), 2, 3)
    matrices[:, 0, 0] = matrices[:, 1, 1] = angle.cos()
    matrices[:, 0, 1], matrices[:, 1, 0] = -angle.sin() * ratio, angle.sin() / ratio
    return _warp(image, matrices)


@perturbation("colour", strength="how far contrast, brightness and the balance of colours move")
def colour(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """Less contrast (at strength 1 none to half of it), another brightness, other gains of the channels."""
    s = strength[:, None, None, None]
    uniform = _uniform(len(strength), rng, columns=2 + image.shape[0])[:, :, None, None]
    contrast = 1 - s * (0.75 + 0.25 * uniform[:, :1])
    brightness = s * 0.3 * uniform[:, 1:2]
    gain = 1 + s * 0.5 * uniform[:, 2:]
    middle = image.mean()
    return (((image - middle) * contrast + middle) * gain + brightness).clamp(0, 1)


@perturbation("mixup", strength="share of the other image", source="mixing as in Zhang et al. 2018, arXiv 1710.09412")
def mixup(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """A weighted mean with an unrelated image, under the target's label."""
    if not len(fillers):
        raise BadValue("mixup needs unrelated images to mix with, and there are none: use a larger pool")
    other = unit(fillers[torch.randint(len(fillers), (len(strength),), generator=rng)])
    s = strength[:, None, None, None]
    return (1 - s) * image + s * other


@perturbation("exact_duplicate", strength="has none: 0")
def exact_duplicate(image: Tensor, strength: Tensor, rng: torch.Generator, fillers: Tensor) -> Tensor:
    """The target itself under other ids: the end of the scale, where unlearning that leaves copies cannot work."""
    if bool((strength > 0).any()):
        raise BadValue("exact_duplicate: copies are exact, so strength must be 0")
    return image.expand(len(strength), *image.shape).clone()
