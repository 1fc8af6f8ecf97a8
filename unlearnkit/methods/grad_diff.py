"""Gradient difference: NegGrad+ with equal weights, the common baseline of papers on language models."""

from typing import Annotated

from torch import nn

from unlearnkit.images.request import Request
from unlearnkit.methods import method
from unlearnkit.methods.neggrad_plus import neggrad_plus
from unlearnkit.methods.text_losses import SMALL, TOFU, Batch, Rate, text_request


@method("grad_diff", source=f"Liu et al. 2022, arXiv 2203.12817; {TOFU}", domains=("text",))
def grad_diff(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SMALL + "5 passes over F"] = 1,
    lr: Rate = 5e-4,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise -NLL_F + NLL_R, nats per token: NegGrad+ at retain_weight 1/2, since Adam's steps do not depend on a
    factor of the loss. An epoch is one pass over R, beside which F is cycled."""
    request = text_request("grad_diff", request, device)
    options = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    return neggrad_plus(model, request, seed=seed, device=device, retain_weight=0.5, **options)
