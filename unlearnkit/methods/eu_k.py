"""EU-k: retrain the last layers from scratch, on top of unchanged features."""

import copy
from typing import Annotated

from torch import nn

from unlearnkit.images.heads import last_blocks
from unlearnkit.images.models import fresh
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, OURS, Search, method
from unlearnkit.methods.cf_k import cf_k


@method("eu_k", source="Goel et al. 2022, arXiv 2201.06640", reads_forget_set=False, domains=DOMAINS, text={"lr": 1e-3})
def eu_k(
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
    """Re-initialise the last k blocks (unlearnkit.images.heads.blocks) and train them on R; all other weights stay.

    Raises BadValue for a k that the model does not have.
    """
    start = copy.deepcopy(model)
    for layer, new in zip(last_blocks(start, k), last_blocks(fresh(model, seed), k), strict=True):
        layer.load_state_dict(new.state_dict())
    return cf_k(start, request, seed=seed, device=device, k=k, epochs=epochs, lr=lr, batch_size=batch_size)
