"""Fixed draws from large groups, for metrics that would take minutes on tens of thousands of samples."""

import torch
from torch import Tensor

from unlearnkit.core.compute import generator


def drawn(rows: Tensor, most: int, purpose: str) -> Tensor:
    """The rows, (n,), or if there are more than `most` that many of them, drawn by a seed that depends on their number and
    the purpose alone: the same samples for all models of a task. Their order is kept."""
    if len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows), generator=generator(0, "drawn", purpose))[:most].sort().values]
