"""expand: forget the retained neighbours of the forget set with it."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.neighbours import NEAR, Near, find, parted


@wrapper(
    "expand",
    source="ours; P1 (arXiv 2601.06938) explores solutions that we do not know",
    domains=("image", "text"),
)
def expand(
    base: Callable[..., nn.Module],
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    near: Near = NEAR,
) -> nn.Module:
    """Move the retained neighbours of the forget set into it.

    Raises BadValue if nothing would be left to retain.
    """
    close, rest = parted(request.retain, find(model, request, near, device=device).index)
    return base(model, replace(request, forget=request.forget.joined(close), retain=rest), seed=seed, device=device)
