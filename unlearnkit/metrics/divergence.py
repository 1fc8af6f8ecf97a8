"""How far two models' predictions are apart."""

from unlearnkit.divergence import js
from unlearnkit.evidence import Evidence
from unlearnkit.metrics import metric


@metric("JS", direction="lower", unit="nats, at most 0.693", references=("retrain", "clean"))
def js_to_reference(evidence: Evidence, reference: Evidence) -> dict[str, float]:
    """Mean Jensen-Shannon divergence to the reference's predictions, on each group."""
    value = js(evidence.log_probs, reference.log_probs)
    return {group: value[evidence.rows(group)].mean().item() for group in evidence.groups}
