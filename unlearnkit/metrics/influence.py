"""What is left of the targets in a model, and what removing it cost their neighbours.

Residual influence, rho = (s(M) - s(clean)) / (s(original) - s(clean)), is a ratio of means over seeds and is made from
these scores when a table is (unlearnkit.core.statistics.residual_influence); a ratio for each seed would be mostly noise.
"""

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric
from unlearnkit.metrics.accuracy import accuracy


@metric("phi", direction="gap", unit="logits", domains=DOMAINS, source="Carlini et al. 2022, arXiv 2112.03570")
def phi(outputs: Outputs, reference=None) -> dict[str, float]:
    """Mean logit of the label's probability on each group: the score s that rho is made from."""
    return {group: outputs.phi[outputs.rows(group)].mean().item() for group in outputs.groups}


@metric("phi-decoy", direction="gap", unit="logits", domains=DOMAINS, source="ours")
def phi_over_decoys(outputs: Outputs, reference=None) -> dict[str, float]:
    """phi on the targets less phi on the decoys: what the model knows of the targets beyond samples like them."""
    mean = {group: outputs.phi[outputs.rows(group)].mean().item() for group in ("target", "decoy")}
    return {"target": mean["target"] - mean["decoy"]}


@metric("loss", direction="gap", unit="nats", domains=DOMAINS)
def loss(outputs: Outputs, reference=None) -> dict[str, float]:
    """Mean cross-entropy on each group; of texts the negative log-likelihood in nats per token, mean over answers."""
    return {group: outputs.losses[outputs.rows(group)].mean().item() for group in outputs.groups}


@metric("neighbour-cost", direction="lower", unit="fraction", references=("original",), domains=DOMAINS, source="ours")
def neighbour_cost(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Accuracy lost, against the model before unlearning, on the similar samples that were to stay."""
    if not len(outputs.rows("similar")):
        return {}
    return {"similar": accuracy(reference, "similar") - accuracy(outputs, "similar")}


@metric(
    "relearn",
    direction="gap",
    unit="optimiser steps, at most 200",
    needs=("relearn",),
    domains=DOMAINS,
    source="Golatkar et al. 2020, arXiv 1911.04933; steps in place of epochs are ours",
)
def relearn(outputs: Outputs, reference=None) -> dict[str, float]:
    """Steps on the targets until their loss is the original's again (unlearnkit.metrics.relearn_time); few = still known."""
    return {"target": outputs.relearn_steps}
