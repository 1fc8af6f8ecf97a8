"""After a method, the features of the forget set and its neighbours are pushed where those of all others lie."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.alignment import alignment_loss, directions
from unlearnkit.core.compute import generator, resolve_device
from unlearnkit.core.errors import NonFiniteLoss, NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.images.predict import predict
from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.neighbours import NEAR, Near, find, parted

DA = "DA and -DA^2: Seo et al. 2025, arXiv 2407.17710; their use on neighbours is ours"


@wrapper("align", source=DA)
def align(
    base: Callable[..., nn.Module],
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    near: Near = NEAR,
    align_epochs: Annotated[int, "ours"] = 5,
    align_lr: Annotated[float, "ours: that of fine-tuning"] = 0.01,
    align_weight: Annotated[float, "ours, as muda's"] = 1.0,
    align_batch: Annotated[int, "ours: a moment of fewer samples is mostly noise"] = 128,
) -> nn.Module:
    """Go on from what the base returns: minimise l_rest - weight DA(forget and neighbours | rest)^2, where rest is the
    retain set without the neighbours. Its main directions are taken anew before each pass, and have no gradient. What is
    pushed goes through the net in eval mode, so that running statistics are those of rest, in parts of at least
    `align_batch` where there are as many.

    Without neighbours the base's model is returned as it is. Raises NonFiniteLoss if the base left features of nothing
    but 0.
    """
    close, rest = parted(request.retain, find(model, request, near, device=device).index)
    after = base(model, request, seed=seed, device=device)
    if not len(close):
        return after
    request, on = request.to(device), resolve_device(device)
    pushed, rest = request.forget.joined(close.to(on)), rest.to(on)
    precision = getattr(request.recipe, "precision", "fp32")

    def features(net: nn.Module, rows: Tensor) -> Tensor:
        net.eval()
        found = request.outputs(net, pushed[rows])[1]
        net.train()
        return found

    def parts() -> Iterator[Tensor]:
        for lap in count():
            order = torch.randperm(len(pushed), generator=generator(seed, "order", "pushed", lap)).to(on)
            yield from order.tensor_split(max(len(order) // align_batch, 1))

    def losses(net):
        push = parts()
        for epoch in range(align_epochs):
            held = predict(net, rest.stored, device=device, precision=precision)[1].to(on)
            main = directions(held)
            for batch in rest.batches(align_batch, seed, "align", epoch):
                away = alignment_loss(features(net, next(push)), main)
                yield request.losses(net, batch).mean() + align_weight * away.float()

    try:
        return minimise(after, losses, lr=align_lr, device=device)
    except NotApplicable as error:
        raise NonFiniteLoss(f"align: {error}") from error
