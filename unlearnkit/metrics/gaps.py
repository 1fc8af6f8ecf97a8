"""Several accuracies in one number: the distance to a reference model."""

from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics import BOTH, metric
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.attacks import confidence_attack


def _attack(evidence: Evidence) -> float:
    return evidence.once(confidence_attack)["target"]


@metric(
    "avg-gap",
    direction="lower",
    unit="fraction",
    references=("retrain", "clean"),
    domains=BOTH,
    source="Fan et al. 2024",
)
def average_gap(evidence: Evidence, reference: Evidence) -> dict[str, float]:
    """Mean absolute difference to the reference over UA, RA, TA and MIA; 0 is the reference itself."""
    differences = [accuracy(evidence, g) - accuracy(reference, g) for g in ("target", "retain", "test")]
    differences.append(_attack(evidence) - _attack(reference))
    return {"all": sum(map(abs, differences)) / len(differences)}


RUM = "Zhao et al. 2024 (RUM), arXiv 2406.01257"


@metric("ToW", direction="higher", unit="fraction", references=("retrain", "clean"), best=1.0, domains=BOTH, source=RUM)
def tug_of_war(evidence: Evidence, reference: Evidence) -> dict[str, float]:
    """Product over target, retain and test of 1 - |accuracy difference to the reference|; 1 is best."""
    product = 1.0
    for group in ("target", "retain", "test"):
        product *= 1 - abs(accuracy(evidence, group) - accuracy(reference, group))
    return {"all": product}


@metric(
    "ToW-MIA", direction="higher", unit="fraction", references=("retrain", "clean"), best=1.0, domains=BOTH, source=RUM
)
def tug_of_war_by_attack(evidence: Evidence, reference: Evidence) -> dict[str, float]:
    """As ToW, with the share of targets that the confidence attack takes for non-members in place of their accuracy; 1 is
    best."""
    product = 1 - abs(_attack(evidence) - _attack(reference))
    for group in ("retain", "test"):
        product *= 1 - abs(accuracy(evidence, group) - accuracy(reference, group))
    return {"all": product}
