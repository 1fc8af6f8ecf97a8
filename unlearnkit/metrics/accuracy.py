"""Accuracies, as fractions of samples whose largest logit is the label's; eval mode, no augmentation."""

from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics import BOTH, metric


def accuracy(evidence: Evidence, group: str) -> float:
    return evidence.correct[evidence.rows(group)].mean().item()


@metric("accuracy", direction="gap", unit="fraction", domains=BOTH)
def accuracy_by_group(evidence: Evidence, reference=None) -> dict[str, float]:
    """Accuracy on each group; the label of a canary is the wrong one that it was trained with."""
    return {group: accuracy(evidence, group) for group in evidence.groups}


@metric("FA", direction="gap", unit="fraction", domains=BOTH)
def forget_accuracy(evidence: Evidence, reference=None) -> dict[str, float]:
    """Accuracy on the targets."""
    return {"target": accuracy(evidence, "target")}


@metric("UA", direction="gap", unit="fraction", domains=BOTH)
def unlearning_accuracy(evidence: Evidence, reference=None) -> dict[str, float]:
    """1 - accuracy on the targets. Good when it is the reference's, not when it is high."""
    return {"target": 1 - accuracy(evidence, "target")}


@metric("RA", direction="gap", unit="fraction", domains=BOTH)
def retain_accuracy(evidence: Evidence, reference=None) -> dict[str, float]:
    """Accuracy on the retain set: similar and filler samples."""
    return {"retain": accuracy(evidence, "retain")}


@metric("TA", direction="gap", unit="fraction", domains=BOTH)
def test_accuracy(evidence: Evidence, reference=None) -> dict[str, float]:
    """Accuracy on the test set."""
    return {"test": accuracy(evidence, "test")}
