"""The cost of making the model. Reference models are trained many at once and have none of their own."""

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric


@metric("seconds", direction="lower", unit="s", domains=DOMAINS)
def seconds(outputs: Outputs, reference=None) -> dict[str, float]:
    """Wall seconds of the method alone, on one thread or one GPU."""
    return {"all": outputs.cost["seconds"]} if outputs.cost else {}


@metric("steps", direction="lower", unit="optimiser steps", domains=DOMAINS)
def steps(outputs: Outputs, reference=None) -> dict[str, float]:
    """Optimiser steps, as counted by torch."""
    return {"all": outputs.cost["steps"]} if outputs.cost else {}


@metric(
    "RTE",
    direction="lower",
    unit="ratio",
    references=("retrain",),
    best=1.0,
    domains=DOMAINS,
    source="Jia et al. 2023, arXiv 2304.04934",
)
def run_time_efficiency(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Wall seconds as a ratio to retraining from scratch, timed the same way; below 1 the method saves time."""
    return {"all": outputs.cost["seconds"] / reference.cost["seconds"]} if outputs.cost else {}
