"""Classifier only: the negative control, which changes a model's predictions and none of its features."""

from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.heads import own_head
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method
from unlearnkit.methods.random_label import relabelled_batches


@method("classifier_only", source="ours: a control that any good metric must flag", domains=DOMAINS, text={"lr": 1e-3})
def classifier_only(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, "as random_label's"] = 10,
    lr: Annotated[float, Search(1e-3, 1.0, log=True), "as random_label's"] = 0.01,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """random_label on the head alone: every feature stays bit-identical.

    Raises BadValue for a model without a linear head.
    """
    own_head(model)
    request = request.to(device)

    def losses(net):
        for batch in relabelled_batches(request, seed, epochs, batch_size, "alternate", true_label=True):
            yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device, only=lambda net: [own_head(net)])
