"""One pass of a model over all of a task's samples; every metric reads from it, nothing is forwarded twice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from unlearnkit.inference import predict
from unlearnkit.task import ROLES, SimilarityTask

# the groups that scores are reported for
GROUPS = {role: (role,) for role in ROLES} | {"retain": ("similar", "filler")}


@dataclass(frozen=True)
class Evidence:
    """What one model says of one task.

    logits: (n, classes) float32; labels: (n,) the labels trained on; role: (n,) index into ROLES; ids: (n,);
    cost: what making the model took (Cost.as_dict()); features: (n, width) of the last hidden layer, or None.
    Every metric depends on the samples as a set: `rows` gives them in the order of their ids.
    """

    logits: Tensor
    labels: Tensor
    role: Tensor
    ids: Tensor
    cost: Mapping = field(default_factory=dict)
    features: Tensor | None = None
    _memo: dict = field(default_factory=dict, repr=False, compare=False)

    def rows(self, group: str) -> Tensor:
        """Row numbers of a group, in the order of their ids."""
        wanted = torch.tensor([ROLES.index(r) for r in GROUPS[group]])
        rows = torch.isin(self.role, wanted).nonzero().squeeze(1)
        return rows[self.ids[rows].argsort()]

    @property
    def groups(self) -> list[str]:
        """The groups that have samples."""
        return [g for g in GROUPS if len(self.rows(g))]

    @cached_property
    def log_probs(self) -> Tensor:
        """(n, classes) float64."""
        return self.logits.double().log_softmax(1)

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of each sample, (n,), nats."""
        return -self.log_probs.gather(1, self.labels[:, None]).squeeze(1)

    @cached_property
    def correct(self) -> Tensor:
        return (self.logits.argmax(1) == self.labels).double()

    @cached_property
    def phi(self) -> Tensor:
        """Logit of the true class's probability, (n,): z_y - logsumexp(z of the others), exact where p rounds to 1."""
        z = self.logits.double()
        true = z.gather(1, self.labels[:, None]).squeeze(1)
        others = z.scatter(1, self.labels[:, None], -torch.inf)
        return true - others.logsumexp(1)

    def once(self, function: Callable[["Evidence"], object]):
        """function(self), computed at the first call only: an attack is fitted once for all metrics that use it."""
        name = f"{function.__module__}.{function.__qualname__}"
        if name not in self._memo:
            self._memo[name] = function(self)
        return self._memo[name]


def take(
    model: nn.Module,
    task: SimilarityTask,
    *,
    cost: Mapping | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Evidence:
    """Forward every sample of `task` once, in eval mode; returns tensors on the CPU. precision: as of the recipe."""
    logits, _ = predict(model, task.x, device=device, precision=precision)
    return Evidence(logits, task.y, task.role, torch.arange(len(task.y)), dict(cost or {}))
