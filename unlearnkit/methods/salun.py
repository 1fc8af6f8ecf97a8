"""SalUn: random labels, learned only by the weights with the largest gradients on the forget set."""

import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, Search, method
from unlearnkit.methods.random_label import WEIGHT_DECAY, Schedule, relabelled_batches

SOURCE = "Fan et al. 2024"


def saliency_mask(model: nn.Module, request: Request, share: float, device: str = "auto") -> dict[str, Tensor]:
    """{parameter name: True where |gradient of the summed loss on F| is among the top `share` of all weights}."""
    net = model.to(resolve_device(device)).eval()
    parameters = dict(net.named_parameters())
    size = torch.zeros(sum(p.numel() for p in parameters.values()), device=request.forget.y.device)
    for index in torch.arange(len(request.forget)).split(256):
        loss = request.losses(net, request.forget[index.to(size.device)]).sum()
        size += torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters.values()))])
    chosen = torch.zeros_like(size, dtype=torch.bool)
    chosen[size.abs().topk(round(share * len(size))).indices] = True  # exactly the share, ties or not
    parts = chosen.split([p.numel() for p in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}


@method("salun", source="Fan et al. 2024, arXiv 2310.12508, with random labels", domains=DOMAINS, text={"lr": 1e-4})
def salun(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    share: Annotated[float, Search(0.1, 0.9), SOURCE] = 0.5,
    epochs: Annotated[int, SOURCE] = 10,
    lr: Annotated[float, Search(1e-3, 0.1, log=True), SOURCE] = 0.013,
    weight_decay: Annotated[float, SOURCE] = WEIGHT_DECAY,
    schedule: Annotated[Schedule, "both are in public code"] = "alternate",
    true_label: Annotated[bool, "Fan et al. 2024, official code"] = True,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """random_label, with the weights outside the mask (`saliency_mask`) restored bit by bit after each step.

    share: of weights that may move. What the mask does is seen against random_label at equal `lr` and weight decay, which
    both share; the published rates differ (0.013 here, 0.01 there). Raises BadValue for a share outside 0 to 1.
    """
    if not 0 < share <= 1:
        raise BadValue(f"salun: share is a share of the weights, above 0 and at most 1, got {share}")
    request = request.to(device)
    net = copy.deepcopy(model)
    mask = saliency_mask(net, request, share, device)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}

    def losses(net):
        for batch in relabelled_batches(request, seed, epochs, batch_size, schedule, true_label):
            yield request.losses(net, batch).mean()

    @torch.no_grad()
    def restore(net):  # or momentum and weight decay would move them
        for name, p in net.named_parameters():
            p.copy_(torch.where(mask[name], p, before[name]))

    return minimise(model, losses, lr=lr, device=device, weight_decay=weight_decay, after_step=restore)
