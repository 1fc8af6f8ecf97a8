"""One pass of a model over all of a task's samples; every metric reads from it, nothing is forwarded twice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from data_builders.task import ROLES, SimilarityTask
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.predict import BATCH, predict

# the groups that scores are reported for
GROUPS = {role: (role,) for role in ROLES} | {"retain": ("similar", "filler")}
# what a metric may need beyond logits, and how to get it
NEEDS = {
    "features": "take(model, task, features=True)",
    "relearn": "relearn_steps(...) of unlearnkit.metrics.relearn_time, as relearn_steps",
    "ensemble": "study.ensemble(...), as margins",
    "backdoor": "a task with targets='backdoor'",  # there or not, nothing gets it
    "generation": "study.generations(...), as generations",  # this and the next of texts alone
    "embedding": "study.answer_similarity(...), as answer_similarity",
}


@dataclass(frozen=True)
class Outputs:
    """What one model says of one task.

    logits: (n, classes) float32; labels: (n,) the labels trained on; role: (n,) index into ROLES; ids: (n,);
    cost: what making the model took (Cost.as_dict()); features: (n, width) float32, what the head is fed, or None;
    margins: (models, n), phi of several models made the same way from other seeds, or None; extra: what else was found,
    and `attack_class`, where the targets are a backdoor.
    Every metric depends on the samples as a set: `rows` gives them in the order of their ids.
    """

    logits: Tensor
    labels: Tensor
    role: Tensor
    ids: Tensor
    cost: Mapping = field(default_factory=dict)
    features: Tensor | None = None
    margins: Tensor | None = None
    extra: Mapping = field(default_factory=dict)
    relearn_steps: int | None = None
    _memo: dict = field(init=False, default_factory=dict, repr=False, compare=False)

    def rows(self, group: str) -> Tensor:
        """Row numbers of a group, in the order of their ids; found at the first call only."""
        if (name := f"rows of {group}") not in self._memo:
            wanted = torch.tensor([ROLES.index(r) for r in GROUPS[group]])
            rows = torch.isin(self.role, wanted).nonzero().squeeze(1)
            self._memo[name] = rows[self.ids[rows].argsort()]
        return self._memo[name]

    @property
    def groups(self) -> list[str]:
        """The groups that have samples."""
        return [g for g in GROUPS if len(self.rows(g))]

    def require(self, need: str, by: str) -> None:
        """Raises BadValue, with the way out, if what the metric `by` needs (one of NEEDS) is not there; NotApplicable if
        it is of backdoors, and the targets are none."""
        there = {
            "features": self.features is not None,
            "ensemble": self.margins is not None,
            "relearn": self.relearn_steps is not None,
            "backdoor": "attack_class" in self.extra,
        }
        if need == "backdoor" and not there[need]:
            raise NotApplicable(f"metric {by!r} is of backdoors, and these targets are none: use targets='backdoor'")
        if not there[need]:
            raise BadValue(
                f"metric {by!r} needs {need}, which these outputs lack: study.scores(..., metrics=[{by!r}]) gets "
                f"it, and by hand {NEEDS[need]} does"
            )

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

    @cached_property
    def modified_entropy(self) -> Tensor:
        """-(1 - p_y) log p_y - sum over the others of p_i log(1 - p_i), (n,), nats: 0 if the label is certain, large
        if another is. Source: Song and Mittal 2021, arXiv 2003.10595, Eq. 8."""
        log_p = self.log_probs
        p = log_p.exp()
        log_rest = torch.log1p(-p)  # of 1 - p_i: wrong only where p_i rounds to 1, as the largest may
        largest = self.logits.argmax(1, keepdim=True)
        rest = log_p.scatter(1, largest, -torch.inf).logsumexp(1, keepdim=True)
        log_rest = log_rest.scatter(1, largest, rest)
        label = self.labels[:, None]
        of_label = log_rest.gather(1, label).exp() * log_p.gather(1, label)
        of_others = (p * log_rest).scatter(1, label, 0.0).sum(1, keepdim=True)
        return -(of_label + of_others).squeeze(1)

    def once(self, function: Callable[["Outputs"], object]):
        """function(self), computed at the first call only: an attack is fitted once for all metrics that use it."""
        name = f"{function.__module__}.{function.__qualname__}"
        if name not in self._memo:
            self._memo[name] = function(self)
        return self._memo[name]


def task_facts(task: SimilarityTask) -> dict:
    """What of a task metrics may know beyond its labels and roles: `attack_class`, if the targets are a backdoor."""
    return {name: task.facts[name] for name in ("attack_class",) if name in task.facts}


def forward_task(
    model: nn.Module,
    task: SimilarityTask,
    *,
    features: bool = False,
    cost: Mapping | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = BATCH,
) -> Outputs:
    """Forward every sample of `task` once, in eval mode; returns tensors on the CPU.

    features: keep what the head is fed, too, from the same pass. precision: as of the recipe. Raises BadValue if the model
    has no linear head.
    """
    logits, found = predict(model, task.x, device=device, precision=precision, batch_size=batch_size)
    ids = torch.arange(len(task.y))
    features = found if features else None
    return Outputs(logits, task.y, task.role, ids, dict(cost or {}), features, extra=task_facts(task))
