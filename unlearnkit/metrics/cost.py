"""What making the model took. The reference models are trained many at once and have no cost of their own."""

from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics import BOTH, metric


@metric("seconds", direction="lower", unit="s", domains=BOTH)
def seconds(evidence: Evidence, reference=None) -> dict[str, float]:
    """Wall seconds of the method alone, on one thread or one GPU."""
    return {"all": evidence.cost["seconds"]} if evidence.cost else {}


@metric("steps", direction="lower", unit="optimiser steps", domains=BOTH)
def steps(evidence: Evidence, reference=None) -> dict[str, float]:
    """Optimiser steps, as counted by torch."""
    return {"all": evidence.cost["steps"]} if evidence.cost else {}


@metric(
    "RTE",
    direction="lower",
    unit="ratio",
    references=("retrain",),
    best=1.0,
    domains=BOTH,
    source="Jia et al. 2023, arXiv 2304.04934",
)
def run_time_efficiency(evidence: Evidence, reference: Evidence) -> dict[str, float]:
    """Wall seconds as a ratio to retraining from scratch, timed the same way; below 1 is worth having."""
    return {"all": evidence.cost["seconds"] / reference.cost["seconds"]} if evidence.cost else {}
