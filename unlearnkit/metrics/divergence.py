"""Divergences of two models' predictions."""

from unlearnkit.core.divergence import js, kl
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import metric


@metric("JS", direction="lower", unit="nats, at most 0.693", references=("retrain", "clean"))
def js_to_reference(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Mean Jensen-Shannon divergence to the reference's predictions, on each group."""
    value = js(outputs.log_probs, reference.log_probs)
    return {group: value[outputs.rows(group)].mean().item() for group in outputs.groups}


@metric("KL", direction="lower", unit="nats", references=("retrain", "clean"))
def kl_to_reference(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Mean KL(reference || model) of the predictions, on each group: large where the model excludes the reference's."""
    value = kl(reference.log_probs, outputs.log_probs)
    return {group: value[outputs.rows(group)].mean().item() for group in outputs.groups}


@metric(
    "ZRF",
    direction="gap",
    unit="1 - nats, from 0.307 to 1",
    references=("initial",),
    best=1.0,
    source="Chundawat et al. 2023, arXiv 2205.08096; their randomly initialised model is ours of the same architecture",
)
def zero_retrain_forgetting(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """1 - mean Jensen-Shannon divergence to an untrained model, on the targets; about 1 = knows nothing."""
    rows = outputs.rows("target")
    return {"target": 1 - js(outputs.log_probs[rows], reference.log_probs[rows]).mean().item()}
