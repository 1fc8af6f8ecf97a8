"""What tuning minimises: the average gap to retrain, with validation samples wherever reports have test samples."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from data_builders.task import ROLES, SimilarityTask
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.images.outputs import Outputs, forward_task
from unlearnkit.images.tasks import load_task
from unlearnkit.metrics.gaps import average_gap

WORST = 1.0  # no average of four differences between fractions is larger


def validation_outputs(config, device: str = "auto") -> Callable[[nn.Module], Outputs]:
    """What says what a model knows of an image config's task without its test samples; unlearnkit.tuning.text_objective has that
    of texts."""
    return partial(outputs_of, task=without_test(load_task(config)), device=device)


def without_test(task: SimilarityTask) -> SimilarityTask:
    """The task with its validation samples in the role of test samples, and without decoys and test samples.

    Where whole classes are forgotten the test set holds the classes that stay, and so does this one. Raises BadValue
    if there are no validation samples.
    """
    stays = task.of("similar", "filler").y.unique()
    kept, role = kept_roles(task.role, torch.isin(task.y, stays))
    return replace(task, x=task.x[kept], y=task.y[kept], role=role, source=task.source[kept], pairs=task.pairs.iloc[:0])


def kept_roles(role: Tensor, able: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(which samples stay, (n,) bool, and the roles of these): those that are trained on, and validation samples, of those
    that are `able`, (n,) bool, as test samples. role: (n,) int8."""
    test, held = ROLES.index("test"), ROLES.index("validation")
    trained = torch.isin(role, torch.tensor([ROLES.index(r) for r in ("target", "similar", "filler")]))
    validation = (role == held) if able is None else (role == held) & able
    if not validation.any():
        raise BadValue(
            "tuning needs validation samples, and the pool has none left: use a larger pool (0 takes all images) or a "
            "smaller train_size"
        )
    kept = trained | validation
    return kept, role.masked_fill(validation, test)[kept]


def outputs_of(model: nn.Module, task: SimilarityTask, device: str = "auto") -> Outputs:
    """Outputs of a model on a task. Raises NonFiniteLoss for outputs that no metric could be computed of: a method's
    last step may diverge without a loss to show it."""
    outputs = forward_task(model, task, device=device)
    check(outputs.logits)
    return outputs


def check(outputs: Tensor) -> None:
    """Raises NonFiniteLoss for outputs that are not finite."""
    if not outputs.isfinite().all():
        raise NonFiniteLoss("the model's outputs are not finite: its last steps diverged")


def gap(found: Outputs, reference: Outputs) -> float:
    """Mean absolute difference to the reference, retrain, over UA, RA, TA and MIA, where TA's samples and the attack's
    non-members are the task's validation samples: of what a `judge` says of both models."""
    return average_gap(found, reference)["all"]
