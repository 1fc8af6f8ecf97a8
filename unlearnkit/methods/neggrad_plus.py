"""NegGrad+: descend on the retain set and ascend on the forget set in the same step."""

from itertools import count
from typing import Annotated

from torch import nn

from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method


@method("neggrad_plus", source="Kurmanji et al. 2023, arXiv 2302.09880", domains=DOMAINS, text={"lr": 1e-4})
def neggrad_plus(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, "Kurmanji et al. 2023"] = 10,
    lr: Annotated[float, Search(1e-3, 0.1, log=True), "Kurmanji et al. 2023"] = 0.01,
    retain_weight: Annotated[float, Search(0.8, 0.9999), "Kurmanji et al. 2023; 0.9999 with 5 epochs"] = 0.95,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise a l_R - (1 - a) l_F with a = retain_weight; an epoch is one pass over R, beside which F is cycled.

    Raises BadValue for a retain_weight outside 0 to 1.
    """
    if not 0 <= retain_weight <= 1:
        raise BadValue(f"neggrad_plus: retain_weight is a share, from 0 to 1, got {retain_weight}")
    request = request.to(device)

    def losses(net):
        forget = (batch for lap in count() for batch in request.forget.batches(batch_size, seed, "forget", lap))
        for epoch in range(epochs):
            for batch in request.retain.batches(batch_size, seed, epoch):
                retain_loss, forget_loss = request.losses(net, batch).mean(), request.losses(net, next(forget)).mean()
                yield retain_weight * retain_loss - (1 - retain_weight) * forget_loss

    return minimise(model, losses, lr=lr, device=device)
