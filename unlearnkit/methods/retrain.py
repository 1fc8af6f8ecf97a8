"""Retraining from scratch: the usual gold standard of unlearning."""

from torch import nn

from unlearnkit.images.models import fresh
from unlearnkit.images.request import Request
from unlearnkit.methods import DOMAINS, method


@method(
    "retrain",
    source="the definition of exact unlearning; recipe of the original model",
    reads_forget_set=False,
    domains=DOMAINS,
    starts_anew=True,
)
def retrain(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> nn.Module:
    """Re-initialise every parameter and train on the retain set, by the recipe of the original."""
    return request.recipe.fit(fresh(model, seed), request.retain, seed=seed, device=device)
