"""The objective of tuning: the average gap to retrain, with validation samples wherever reports have test samples.

Accuracy of texts is the share of an answer's tokens that are the likeliest.
"""

from collections.abc import Callable

from torch import nn

from unlearnkit.core.errors import NonFiniteLoss
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics.gaps import average_gap
from unlearnkit.study.domains import domain

WORST = 1.0  # no average of four differences between fractions is larger


def code(config) -> tuple[Callable, ...]:
    """The functions that a config's objective depends on."""
    return average_gap, domain(config).validation_outputs


def validation_outputs(config, device: str = "auto") -> Callable[[nn.Module], Outputs]:
    """A function that gives a model's outputs on the config's task without its test samples.

    It raises NonFiniteLoss for outputs that are not finite: a method's last step may diverge without a loss to show it.
    """
    wing = domain(config)
    task = wing.without_test(wing.load_task(config))

    return lambda model: finite(wing.validation_outputs(model, config, task, device))


def finite(outputs: Outputs) -> Outputs:
    """The outputs as they are. Raises NonFiniteLoss if one is not finite."""
    if not outputs.losses.isfinite().all():
        raise NonFiniteLoss("the model's outputs are not finite: its last steps diverged")
    return outputs


def gap(outputs: Outputs, reference: Outputs) -> float:
    """Mean absolute difference to the reference, retrain, over UA, RA, TA and MIA, where TA's samples and the attack's
    non-members are the task's validation samples."""
    return average_gap(outputs, reference)["all"]
