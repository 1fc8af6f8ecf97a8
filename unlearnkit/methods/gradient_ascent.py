"""Gradient ascent: undo the learning of the forget set, and of nothing else."""

from torch import nn

from unlearnkit.methods import method
from unlearnkit.task import Request
from unlearnkit.train import minimise


@method("gradient_ascent", source="Thudi et al. 2022, arXiv 2109.13398; lr 5e-4 to 1e-3 by the authors' replies")
def gradient_ascent(
    model: nn.Module,
    task: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: int = 5,
    lr: float = 1e-3,
    batch_size: int = 64,
) -> nn.Module:
    """Maximise the loss on the forget set."""
    task = task.to(device)

    def losses(net):
        for epoch in range(epochs):
            for batch in task.forget.batches(batch_size, seed, epoch):
                yield -task.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device)
