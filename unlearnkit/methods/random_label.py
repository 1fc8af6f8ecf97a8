"""Random labels: train the forget set on random labels, and the retain set on its own."""

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import generator
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method

Schedule = Literal["alternate", "union"]
WEIGHT_DECAY = 5e-4  # of the steps of random_label and of salun: they differ by the mask alone. Fan et al. 2024


def draw_labels(y: Tensor, n_classes: int, seed: int, epoch: int, true_label: bool) -> Tensor:
    """New labels (n,), uniform over all classes, or over all but the present one if not `true_label`."""
    g = generator(seed, "labels", epoch)
    if true_label:
        return torch.randint(n_classes, y.shape, generator=g).to(y.device)
    return (y + torch.randint(1, n_classes, y.shape, generator=g).to(y.device)) % n_classes


def relabelled_batches(
    request: Request, seed: int, epochs: int, batch_size: int, schedule: Schedule, true_label: bool, redraw: bool = True
) -> Iterator[Samples]:
    """The batches of `epochs` passes over F with random labels and R with its own labels; see `random_label`."""
    for epoch in range(epochs):
        labels = draw_labels(request.forget.y, request.n_classes, seed, epoch if redraw else 0, true_label)
        passes = [request.forget.relabelled(labels), request.retain]
        for number, samples in enumerate([passes[0].joined(*passes[1:])] if schedule == "union" else passes):
            yield from samples.batches(batch_size, seed, epoch, number)


@method(
    "random_label",
    source="Golatkar et al. 2020; variants as in the code of Fan et al. 2024, arXiv 2310.12508",
    domains=DOMAINS,
    text={"lr": 1e-4},
)
def random_label(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, "Fan et al. 2024"] = 10,
    lr: Annotated[float, Search(1e-3, 0.1, log=True), "Fan et al. 2024: 0.01 to 0.1"] = 0.01,
    weight_decay: Annotated[float, "Fan et al. 2024, as salun's"] = WEIGHT_DECAY,
    schedule: Annotated[Schedule, "both are in public code"] = "alternate",
    true_label: Annotated[bool, "Fan et al. 2024, official code"] = True,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Train F on random labels, redrawn in each epoch, and R on its own labels.

    schedule: "alternate" passes over F, then R, in each epoch; "union" shuffles both together.
    true_label: whether a draw may be the true label. At the same `lr` this is salun with a share of 1: the two share
    their weight decay, or a comparison would be of that.
    """
    request = request.to(device)

    def losses(net):
        for batch in relabelled_batches(request, seed, epochs, batch_size, schedule, true_label):
            yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device, weight_decay=weight_decay)
