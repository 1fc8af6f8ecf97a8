"""Amnesiac unlearning: train the forget set on wrong labels that are drawn once."""

from typing import Annotated

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method
from unlearnkit.methods.random_label import relabelled_batches


@method(
    "amnesiac",
    source="Graves et al. 2021, arXiv 2010.10981: the variant that relabels",
    domains=DOMAINS,
)
def amnesiac(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, "as in public code"] = 3,
    lr: Annotated[float, Search(1e-5, 1e-2, log=True), "as in public code"] = 1e-4,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Train F, with labels drawn once among all but the true ones, shuffled together with R, by Adam."""
    request = request.to(device)

    def losses(net):
        for batch in relabelled_batches(request, seed, epochs, batch_size, "union", true_label=False, redraw=False):
            yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device, optimiser="adam")
