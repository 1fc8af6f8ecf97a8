"""Fine-tuning on the retain set, in the hope that the forget set is forgotten."""

from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method


@method(
    "finetune",
    source="Golatkar et al. 2020, arXiv 1911.04933",
    reads_forget_set=False,
    domains=DOMAINS,
    text={"lr": 1e-3},
)
def finetune(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, "Jia et al. 2023, arXiv 2304.04934"] = 10,
    lr: Annotated[float, Search(1e-3, 0.2, log=True), "Jia et al. 2023, arXiv 2304.04934"] = 0.01,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise the loss on R; F is not used."""
    request = request.to(device)

    def losses(net):
        for epoch in range(epochs):
            for batch in request.retain.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device)
