"""CF-k: fine-tune the last layers alone, and let them forget."""

from typing import Annotated

from torch import nn

from unlearnkit.errors import BadValue
from unlearnkit.heads import blocks
from unlearnkit.methods import BATCH, OURS, Search, method
from unlearnkit.task import Request
from unlearnkit.train import minimise


def last_blocks(model: nn.Module, k: int) -> list[nn.Module]:
    """The last k blocks of a model as a list of layers. Raises BadValue for a k that it does not have."""
    found = blocks(model)
    if not 1 <= k <= len(found):
        raise BadValue(f"k is a number of blocks, from 1 to {len(found)} for this model, got {k}")
    return [layer for block in found[-k:] for layer in block]


@method("cf_k", source="Goel et al. 2022, arXiv 2201.06640", reads_forget_set=False)
def cf_k(
    model: nn.Module,
    task: Request,
    *,
    seed: int,
    device: str = "auto",
    k: Annotated[int, OURS] = 2,
    epochs: Annotated[int, "as finetune's"] = 10,
    lr: Annotated[float, Search(1e-3, 0.2, log=True), "Goel et al. 2022"] = 0.01,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise the loss on R over the weights of the last k blocks (unlearnkit.heads.blocks); all others stay.

    Raises BadValue for a k that the model does not have.
    """
    last_blocks(model, k)
    task = task.to(device)

    def losses(net):
        for epoch in range(epochs):
            for batch in task.retain.batches(batch_size, seed, epoch):
                yield task.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device, only=lambda net: last_blocks(net, k))
