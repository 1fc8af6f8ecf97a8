"""CF-k: fine-tune the last layers alone on the retain set (catastrophic forgetting)."""

from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.heads import last_blocks
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, OURS, Search, method


@method("cf_k", source="Goel et al. 2022, arXiv 2201.06640", reads_forget_set=False, domains=DOMAINS, text={"lr": 1e-3})
def cf_k(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    k: Annotated[int, OURS] = 2,
    epochs: Annotated[int, "as finetune's"] = 10,
    lr: Annotated[float, Search(1e-3, 0.2, log=True), "Goel et al. 2022"] = 0.01,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise the loss on R over the weights of the last k blocks (unlearnkit.images.heads.blocks); all others stay.

    Raises BadValue for a k that the model does not have.
    """
    last_blocks(model, k)
    request = request.to(device)

    def losses(net):
        for epoch in range(epochs):
            for batch in request.retain.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device, only=lambda net: last_blocks(net, k))
