"""The influence that targets still have on a model, and what removing it cost their near-duplicates.

Residual influence, (s(M) - s(clean)) / (s(original) - s(clean)), is a ratio of means over seeds: tables compute it from
the metric `influence` (unlearnkit.core.statistics.residual_influence), since a ratio for each seed would be mostly noise.
"""

from torch import Tensor

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.standardised import rank_share, standardised


@metric("phi", direction="gap", unit="logits", domains=DOMAINS, source="Carlini et al. 2022, arXiv 2112.03570")
def phi(outputs: Outputs, reference=None) -> dict[str, float]:
    """Mean logit of the label's probability on each group. It measures confidence, too."""
    return {group: outputs.phi[outputs.rows(group)].mean().item() for group in outputs.groups}


def _beside_decoys(outputs: Outputs) -> tuple[Tensor, Tensor] | None:
    """How well the model knows targets and decoys (`familiarity`), or None with too few decoys for a scale."""
    known = [outputs.familiarity[outputs.rows(group)] for group in ("target", "decoy")]
    return (known[0], known[1]) if len(known[1]) > 1 else None


def _without_decoys(outputs: Outputs, reference=None) -> dict[str, str]:
    return {} if _beside_decoys(outputs) else {"target": "it needs at least 2 decoys"}


STANDARDISED = {"direction": "gap", "left_out": _without_decoys, "domains": DOMAINS}


@metric("influence", unit="standard deviations of the decoys", source="ours", **STANDARDISED)
def influence(outputs: Outputs, reference=None) -> dict[str, float]:
    """Mean margin of the targets, standardised by the decoys of the same model: the score s of residual influence."""
    known = _beside_decoys(outputs)
    return {"target": standardised(*known).mean().item()} if known else {}


@metric("influence-rank", unit="fraction", source="Carlini et al. 2019, arXiv 1802.08232", **STANDARDISED)
def influence_rank(outputs: Outputs, reference=None) -> dict[str, float]:
    """Mean share of the decoys of the same model below each target, by margin: the AUC of targets over decoys."""
    known = _beside_decoys(outputs)
    return {"target": rank_share(*known).mean().item()} if known else {}


@metric("loss", direction="gap", unit="nats", domains=DOMAINS)
def loss(outputs: Outputs, reference=None) -> dict[str, float]:
    """Mean cross-entropy on each group; of texts the negative log-likelihood in nats per token, mean over answers."""
    return {group: outputs.losses[outputs.rows(group)].mean().item() for group in outputs.groups}


@metric("neighbour-cost", direction="lower", unit="fraction", references=("original",), domains=DOMAINS, source="ours")
def neighbour_cost(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Accuracy lost on the near-duplicates, which were to stay, against the model before unlearning."""
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
    """Steps on the targets until their loss is the original's again (unlearnkit.metrics.relearn_time); few = known."""
    return {"target": outputs.relearn_steps}
