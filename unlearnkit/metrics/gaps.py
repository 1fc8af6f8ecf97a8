"""The distance to a reference model over several accuracies, in one number."""

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.attacks import confidence_attack


def _attack(outputs: Outputs) -> float:
    return outputs.once(confidence_attack)["target"]


@metric(
    "avg-gap",
    direction="lower",
    unit="fraction",
    references=("retrain", "clean"),
    domains=DOMAINS,
    source="Fan et al. 2024",
)
def average_gap(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Mean absolute difference to the reference over UA, RA, TA and MIA; 0 is the reference itself. RA is of the other
    retained samples: near-duplicates, which `clean` never learnt, are no part of a distance to it."""
    differences = [accuracy(outputs, g) - accuracy(reference, g) for g in ("target", "filler", "test")]
    differences.append(_attack(outputs) - _attack(reference))
    return {"all": sum(map(abs, differences)) / len(differences)}


RUM = "Zhao et al. 2024 (RUM), arXiv 2406.01257"


@metric(
    "ToW", direction="higher", unit="fraction", references=("retrain", "clean"), best=1.0, domains=DOMAINS, source=RUM
)
def tug_of_war(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Product over target, retain and test of 1 - |accuracy difference to the reference|; 1 is best.

    As RUM's code prints it ("tow"), which divides percents by 100; there the reference is the retrained model.
    """
    product = 1.0
    for group in ("target", "retain", "test"):
        product *= 1 - abs(accuracy(outputs, group) - accuracy(reference, group))
    return {"all": product}


@metric(
    "ToW-MIA",
    direction="higher",
    unit="fraction",
    references=("retrain", "clean"),
    best=1.0,
    domains=DOMAINS,
    source=RUM,
)
def tug_of_war_by_attack(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """ToW with the confidence attack's share of non-members among targets in place of their accuracy; 1 is best.

    As RUM's code prints it, of the attack by the confidence of the label; there the reference is the retrained model.
    """
    product = 1 - abs(_attack(outputs) - _attack(reference))
    for group in ("retain", "test"):
        product *= 1 - abs(accuracy(outputs, group) - accuracy(reference, group))
    return {"all": product}
