"""l1-sparse: fine-tuning with an l1 penalty that fades out, so that small weights vanish first."""

from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method

SOURCE = "Jia et al. 2023"


@method(
    "l1_sparse",
    source="Jia et al. 2023, arXiv 2304.04934, Eq. 4",
    reads_forget_set=False,
    domains=DOMAINS,
    text={"lr": 1e-3},
)
def l1_sparse(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 10,
    lr: Annotated[float, Search(1e-3, 0.2, log=True), SOURCE] = 0.01,
    alpha: Annotated[float, Search(1e-5, 1e-2, log=True), SOURCE] = 5e-4,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise l_R + alpha (1 - t / T) |theta|_1 in epoch t of T: the penalty fades out."""
    request = request.to(device)

    def losses(net):
        for epoch in range(epochs):
            weight = alpha * (1 - epoch / epochs)
            for batch in request.retain.batches(batch_size, seed, epoch):
                size = sum(p.abs().sum() for p in net.parameters())
                yield request.losses(net, batch).mean() + weight * size

    return minimise(model, losses, lr=lr, device=device)
