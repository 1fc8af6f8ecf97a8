"""What is left of the targets in a model, and what removing it cost their neighbours.

Residual influence, rho = (s(M) - s(clean)) / (s(original) - s(clean)), is a ratio of means over seeds and is made from
these scores when a table is (unlearnkit.core.statistics.rho); a ratio for each seed would be mostly noise.
"""

from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics import BOTH, metric
from unlearnkit.metrics.accuracy import accuracy


@metric("phi", direction="gap", unit="logits", domains=BOTH, source="Carlini et al. 2022, arXiv 2112.03570")
def phi(evidence: Evidence, reference=None) -> dict[str, float]:
    """Mean logit of the label's probability on each group: the score s that rho is made from."""
    return {group: evidence.phi[evidence.rows(group)].mean().item() for group in evidence.groups}


@metric("phi-decoy", direction="gap", unit="logits", domains=BOTH, source="ours")
def phi_over_decoys(evidence: Evidence, reference=None) -> dict[str, float]:
    """phi on the targets less phi on the decoys: what the model knows of the targets beyond samples like them."""
    mean = {group: evidence.phi[evidence.rows(group)].mean().item() for group in ("target", "decoy")}
    return {"target": mean["target"] - mean["decoy"]}


@metric("loss", direction="gap", unit="nats", domains=BOTH)
def loss(evidence: Evidence, reference=None) -> dict[str, float]:
    """Mean cross-entropy on each group; of texts the negative log-likelihood in nats per token, mean over answers."""
    return {group: evidence.losses[evidence.rows(group)].mean().item() for group in evidence.groups}


@metric("neighbour-cost", direction="lower", unit="fraction", references=("original",), domains=BOTH, source="ours")
def neighbour_cost(evidence: Evidence, reference: Evidence) -> dict[str, float]:
    """Accuracy lost, against the model before unlearning, on the similar samples that were to stay."""
    if not len(evidence.rows("similar")):
        return {}
    return {"similar": accuracy(reference, "similar") - accuracy(evidence, "similar")}


@metric(
    "relearn",
    direction="gap",
    unit="optimiser steps, at most 200",
    needs=("relearn",),
    domains=BOTH,
    source="Golatkar et al. 2020, arXiv 1911.04933; steps in place of epochs are ours",
)
def relearn(evidence: Evidence, reference=None) -> dict[str, float]:
    """Steps on the targets until their loss is the original's again (unlearnkit.metrics.relearn_time); few = still known."""
    return {"target": evidence.extra["relearn_steps"]}
