"""DELETE: distil the model into itself with the label's class masked out, on the forget set alone."""

import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, Search, method

SOURCE = "Zhou et al. 2025, official code, cifar10_resnet18"


def masked_log_probs(logits: Tensor, y: Tensor) -> Tensor:
    """Log-probabilities of the classes other than each row's label, renormalised; of the label -inf. (n, classes).

    logits: (n, classes); y: (n,).
    """
    return logits.scatter(1, y[:, None], -torch.inf).log_softmax(1)


def delete_loss(student: Tensor, teacher: Tensor, y: Tensor) -> Tensor:
    """KL(masked teacher || student) of each row, (n,), nats; from logits, (n, classes), and labels, (n,).

    It is 0 where the student gives the label nothing and the other classes in the teacher's proportions: what forgets
    is log(1 / (1 - q)), q the student's probability of the label, and the rest is a KL among the other classes.
    """
    return kl(masked_log_probs(teacher, y), student.log_softmax(1))


@method("delete", source="Zhou et al. 2025, arXiv 2503.23751: mask distillation; official code, method/delete.py")
def delete(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 20,
    lr: Annotated[float, Search(1e-5, 0.1, log=True), SOURCE] = 1e-4,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Minimise KL(teacher || student) on F; the teacher is the model as given, with the class of each sample's label
    masked. R trains nothing.

    As in the official code, a sample masks its own class alone: of several forgotten classes one may be given what is
    taken from another. Ours differs from that code in one point: it freezes batch norm for a single class of Tiny
    ImageNet, and we never do. Defined for whole classes, and used by its paper on poisoned samples of a class that stays,
    too: a random sample loses the label that other samples of its class keep.

    Raises NotApplicable for a class beside which fewer than two stay: a teacher of one class has no proportions to keep.
    """
    stay = set(request.retain.y.unique().tolist())
    for label in request.forget.y.unique().tolist():
        if len(stay - {label}) < 2:
            raise NotApplicable(
                f"delete keeps what the model says among the other classes, and beside class {label} fewer than two stay: "
                "use 'boundary_shrink', or another method"
            )
    request = request.to(device)
    teacher = copy.deepcopy(model).to(request.forget.y.device).eval()

    def losses(net):
        for epoch in range(epochs):
            for batch in request.forget.batches(batch_size, seed, epoch):
                with torch.no_grad():
                    target = request.logits(teacher, batch)
                yield delete_loss(request.logits(net, batch), target, batch.y).mean()

    return minimise(model, losses, lr=lr, device=device)
