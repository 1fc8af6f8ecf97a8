"""align: after a method, push the features of the forget set and its neighbours to where all other features lie."""

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
    """Continue from the base's model: minimise l_rest - weight DA(forget and neighbours | rest)^2, where rest is the
    retain set without the neighbours. The main directions of rest are recomputed before each pass, without gradient.
    The forget set and neighbours go through the net in eval mode, so that running statistics are those of rest, in
    parts of at least `align_batch` samples where there are as many.

    Without neighbours the base's model is returned as it is. Raises NonFiniteLoss if the base left features that are
    all 0.
    """
    close, rest = parted(request.retain, find(model, request, near, device=device).index)
    after = base(model, request, seed=seed, device=device)
    if not len(close):
        return after
    device = resolve_device(device)
    request = request.to(device)
    pushed, rest = request.forget.joined(close.to(device)), rest.to(device)
    precision = getattr(request.recipe, "precision", "fp32")

    def pushed_features(net: nn.Module, rows: Tensor) -> Tensor:
        net.eval()
        features = request.logits_and_features(net, pushed[rows])[1]
        net.train()
        return features

    def parts() -> Iterator[Tensor]:
        for lap in count():
            order = torch.randperm(len(pushed), generator=generator(seed, "order", "pushed", lap)).to(device)
            yield from order.tensor_split(max(len(order) // align_batch, 1))

    def losses(net):
        part = parts()
        for epoch in range(align_epochs):
            features = predict(net, rest.stored, device=device, precision=precision)[1].to(device)
            main = directions(features)
            for batch in rest.batches(align_batch, seed, "align", epoch):
                away = alignment_loss(pushed_features(net, next(part)), main)
                yield request.losses(net, batch).mean() + align_weight * away.float()

    try:
        return minimise(after, losses, lr=align_lr, device=device)
    except NotApplicable as error:
        raise NonFiniteLoss(f"align: {error}") from error
