"""Task vector: train on the forget set alone, then step as far in the opposite direction."""

import copy
from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.optimise import at_rest, minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import SMALL, Batch, Rate, text_request

SOURCE = "Ilharco et al. 2023, arXiv 2212.04089"


@method("task_vector", source=f"{SOURCE}; on texts Shi et al. 2024 (MUSE), arXiv 2407.06460", domains=("text",))
def task_vector(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    scale: Annotated[float, Search(0.1, 10.0, log=True), f"{SOURCE}: tuned, up to 1"] = 1.0,
    epochs: Annotated[int, SMALL + "as many as overfit F"] = 20,
    lr: Rate = 1e-3,
    batch_size: Batch = 32,
) -> nn.Module:
    """theta_0 - scale (theta_reinforced - theta_0), theta_reinforced being the original trained further on F alone."""
    request = text_request("task_vector", request, device)

    def losses(net):
        for epoch in range(epochs):
            for batch in request.forget.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    reinforced = minimise(model, losses, lr=lr, device=device)
    negated = copy.deepcopy(model).cpu()
    with torch.no_grad():
        for p, q in zip(negated.parameters(), reinforced.parameters(), strict=True):
            p -= scale * (q - p)
    return at_rest(negated)
