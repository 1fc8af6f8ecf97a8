"""Gradient ascent: maximise the loss on the forget set."""

from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method


@method("gradient_ascent", source="Thudi et al. 2022, arXiv 2109.13398", domains=DOMAINS, text={"lr": 1e-4})
def gradient_ascent(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, "Jia et al. 2023, arXiv 2304.04934"] = 5,
    lr: Annotated[float, Search(1e-4, 0.1, log=True), "5e-4 to 1e-3 by the authors' replies"] = 1e-3,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Maximise the loss on F; R is not used."""
    request = request.to(device)

    def losses(net):
        for epoch in range(epochs):
            for batch in request.forget.batches(batch_size, seed, epoch):
                yield -request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device)
