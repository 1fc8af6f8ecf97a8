"""What tuning minimises: the average gap to retrain, with validation samples wherever reports have test samples."""

from dataclasses import replace

import torch
from torch import nn

from unlearnkit.errors import BadValue, NonFiniteLoss
from unlearnkit.evidence import Evidence, take
from unlearnkit.metrics.gaps import average_gap
from unlearnkit.task import ROLES, SimilarityTask

WORST = 1.0  # no average of four differences between fractions is larger


def without_test(task: SimilarityTask) -> SimilarityTask:
    """The task with its validation samples in the role of test samples, and without decoys and test samples.

    Where whole classes are forgotten the test set holds the classes that stay, and so does this one. Raises BadValue
    if there are no validation samples.
    """
    test, held = ROLES.index("test"), ROLES.index("validation")
    trained = torch.isin(task.role, torch.tensor([ROLES.index(r) for r in ("target", "similar", "filler")]))
    stays = task.of("similar", "filler").y.unique()
    validation = (task.role == held) & torch.isin(task.y, stays)
    if not validation.any():
        raise BadValue(
            "tuning needs validation samples, and the pool has none left: use a larger pool (0 takes all images) or a "
            "smaller train_size"
        )
    kept = trained | validation
    role = task.role.masked_fill(validation, test)[kept]
    return replace(task, x=task.x[kept], y=task.y[kept], role=role, source=task.source[kept], pairs=task.pairs.iloc[:0])


def seen(model: nn.Module, task: SimilarityTask, device: str = "auto") -> Evidence:
    """Evidence of a model on a task. Raises NonFiniteLoss for outputs that no metric could be computed of: a method's
    last step may diverge without a loss to show it."""
    evidence = take(model, task, device=device)
    if not evidence.logits.isfinite().all():
        raise NonFiniteLoss("the model's outputs are not finite: its last steps diverged")
    return evidence


def gap(model: nn.Module, reference: Evidence, task: SimilarityTask, device: str = "auto") -> float:
    """Mean absolute difference to the reference over UA, RA, TA and MIA, where TA's samples and the attack's
    non-members are the task's validation samples. reference: `seen` of retrain; task: `without_test`."""
    return average_gap(seen(model, task, device), reference)["all"]
