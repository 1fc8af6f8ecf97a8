"""Retraining from scratch: the usual gold standard of unlearning."""

from torch import nn

from unlearnkit.methods import method
from unlearnkit.models import fresh
from unlearnkit.task import Request
from unlearnkit.train import fit


@method(
    "retrain",
    source="the definition of exact unlearning; recipe of the original model",
    reads_forget_set=False,
    starts_anew=True,
)
def retrain(model: nn.Module, task: Request, *, seed: int, device: str = "auto") -> nn.Module:
    """Every parameter drawn anew, then trained on the retain set as the original was on everything."""
    return fit(fresh(model, seed), task.retain, task.recipe, seed=seed, device=device)
