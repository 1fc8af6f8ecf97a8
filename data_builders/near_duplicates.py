"""Near-duplicates that a data set already holds, which a study of near-duplicates has to know of.

Images are compared by the correlation of their low frequencies after whitening. In photographs, amplitudes fall as
1/frequency (Field 1987) and colours vary about a fifth as much as grey, so that without weights any two dark shapes
on a light background are alike. Brightness, contrast, noise, compression and shifts by a pixel matter little; mirrored,
rotated or strongly cropped copies are missed.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.fft import dctn
from torch import Tensor

from unlearnkit.core.errors import BadValue

KEPT = 8  # frequencies per axis: finer detail does not survive a shift by a pixel
PLANES = torch.tensor([[1, 1, 1], [4, -4, 0], [4, 4, -8]]) / torch.tensor([[3], [2], [6]]).sqrt()  # grey, colours x 4
FLOOR = 1.0  # about the size of noise of one grey level, so that a blank image is similar to blank images only
IMAGES, BLOCK = 2**12, 2**24  # images transformed, and similarities held in memory, at a time


def near_duplicates(
    a: Tensor, b: Tensor | None = None, *, threshold: float = 0.75, neighbours: int = 1
) -> pd.DataFrame:
    """Pairs of an image of a and one of its nearest `neighbours` in b that are at least as similar as `threshold`.

    a, b: (n, channels, height, width) uint8. Without b, neighbours are other images of a, and each pair comes once, as
    a < b. Returns columns a, b (row numbers) and similarity, the most similar first; 1 is the same image up to
    brightness and contrast. Ties among the nearest neighbours are broken arbitrarily.

    The default threshold is for photographs: the smallest multiple of 0.05 at which mirroring, which undoes nearly all
    true pairs, leaves at most a third of CIFAR-10's test-train pairs. Centred objects on a plain background, as in
    MNIST, all exceed it. Raises BadValue for other shapes and types, and for values out of range.
    """
    b_or_a = a if b is None else b
    for x in (a, b_or_a):
        if x.ndim != 4 or x.dtype != torch.uint8 or not x.numel():
            raise BadValue(f"images must be (n, channels, height, width) uint8, got {tuple(x.shape)} {x.dtype}")
    if a.shape[1:] != b_or_a.shape[1:]:
        raise BadValue(f"images must be of one shape, got {tuple(a.shape[1:])} and {tuple(b.shape[1:])}")
    if not 0 < threshold < 1:
        raise BadValue(f"threshold must be above 0 and below 1, got {threshold}")
    if neighbours < 1:
        raise BadValue(f"neighbours must be at least 1, got {neighbours}")
    left = signatures(a)
    right = left if b is None else signatures(b)
    k = min(neighbours, len(right) - (b is None))
    step = max(BLOCK // len(right), 1)
    parts = []
    for start in range(0, len(left), step):
        similarity = left[start : start + step] @ right.T
        if b is None:
            similarity.diagonal(start).fill_(-1)  # an image is not its own neighbour
        nearest, column = similarity.topk(k)
        row, rank = (nearest >= threshold).nonzero(as_tuple=True)
        values = nearest[row, rank].clamp(max=1)
        parts.append(pd.DataFrame({"a": start + row, "b": column[row, rank], "similarity": values}))
    pairs = pd.concat(parts)
    if b is None:
        pairs[["a", "b"]] = np.sort(pairs[["a", "b"]], axis=1)
    pairs = pairs.sort_values(["similarity", "a", "b"], ascending=[False, True, True])
    return pairs.drop_duplicates(["a", "b"], ignore_index=True)


def recall(detected: pd.DataFrame, published: pd.DataFrame) -> dict[str, float]:
    """Shares, from 0 to 1, of a published list that were detected: its `pairs`, and its `images` of column a in any
    pair, as the nearest of many copies may be one that the list leaves out. Both tables have columns a, b.
    """
    detected_pairs, published_pairs = (pd.MultiIndex.from_frame(table[["a", "b"]]) for table in (detected, published))
    return {
        "pairs": float(published_pairs.isin(detected_pairs).mean()),
        "images": float(published["a"].isin(detected["a"]).mean()),
    }


def signatures(x: Tensor) -> Tensor:
    """(n, d) float32 vectors of length 1, whose product is the similarity: the weighted low frequencies of each colour
    plane, and FLOOR. x: (n, channels, height, width) in grey levels, 0 to 255, uint8 or float."""
    return torch.cat([_signature(part) for part in x.split(IMAGES)])


def _signature(x: Tensor) -> Tensor:
    planes = x.float()
    if x.shape[1] == 3:
        planes = torch.einsum("pc,nchw->nphw", PLANES, planes)
    waves = torch.from_numpy(dctn(planes.numpy(), axes=(2, 3), norm="ortho")[..., :KEPT, :KEPT].copy())
    rows, columns = (torch.arange(n) / side for n, side in zip(waves.shape[2:], x.shape[2:]))
    weighted = waves * torch.hypot(rows[:, None], columns)  # 0 for the mean
    return F.normalize(F.pad(weighted.flatten(1), (0, 1), value=FLOOR), dim=1)
