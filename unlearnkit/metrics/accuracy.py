"""Accuracies: fractions of samples whose largest logit is the label's, in eval mode, without augmentation."""

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric


def accuracy(outputs: Outputs, group: str) -> float:
    """Accuracy on one group."""
    return outputs.correct[outputs.rows(group)].mean().item()


@metric("accuracy", direction="gap", unit="fraction", domains=DOMAINS)
def accuracy_by_group(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy on each group; a canary's label is the wrong one that it was trained with."""
    return {group: accuracy(outputs, group) for group in outputs.groups}


@metric("FA", direction="gap", unit="fraction", domains=DOMAINS)
def forget_accuracy(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy on the targets."""
    return {"target": accuracy(outputs, "target")}


@metric("UA", direction="gap", unit="fraction", domains=DOMAINS)
def unlearning_accuracy(outputs: Outputs, reference=None) -> dict[str, float]:
    """1 - accuracy on the targets. Best where it equals the reference's, not where it is high."""
    return {"target": 1 - accuracy(outputs, "target")}


@metric("RA", direction="gap", unit="fraction", domains=DOMAINS)
def retain_accuracy(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy on the retain set: near-duplicates and other retained samples."""
    return {"retain": accuracy(outputs, "retain")}


@metric("TA", direction="gap", unit="fraction", domains=DOMAINS)
def test_accuracy(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy on the test set."""
    return {"test": accuracy(outputs, "test")}
