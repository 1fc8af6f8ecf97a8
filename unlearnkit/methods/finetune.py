"""Fine-tuning on what may stay, in the hope that the rest is forgotten."""

from torch import nn

from unlearnkit.methods import method
from unlearnkit.task import Request
from unlearnkit.train import minimise


@method(
    "finetune", source="Golatkar et al. 2020; defaults of Jia et al. 2023, arXiv 2304.04934", reads_forget_set=False
)
def finetune(
    model: nn.Module,
    task: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: int = 10,
    lr: float = 0.01,
    batch_size: int = 64,
) -> nn.Module:
    """Minimise the loss on the retain set."""
    task = task.to(device)

    def losses(net):
        for epoch in range(epochs):
            for batch in task.retain.batches(batch_size, seed, epoch):
                yield task.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device)
