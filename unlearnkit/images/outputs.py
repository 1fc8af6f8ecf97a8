"""One model's outputs on one task. Every metric reads them; no sample is forwarded twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from data_builders.task import ROLES, SimilarityTask
from unlearnkit.core.divergence import js
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.predict import BATCH, predict

# the groups that scores are reported for
GROUPS = {role: (role,) for role in ROLES} | {"retain": ("similar", "filler")}
# what a metric may need beyond one forward pass: the field that holds it, and how to get it
NEEDS = {
    "features": ("features", "study.outputs(trained, features=True)"),
    "relearn": ("relearn_steps", "relearn_steps=study.relearn_steps(trained)"),
    "ensemble": ("margins", "margins=study.ensemble(config, name, n)"),
    "backdoor": ("attack_class", "targets='backdoor'"),
    "generation": ("generations", "generations=study.generations(trained)[1]"),  # texts alone, as the next
    "embedding": ("answer_similarity", "answer_similarity=study.answer_similarity(trained)[1]"),
}


@dataclass(frozen=True)
class Outputs:
    """One model's outputs on one task of n samples.

    logits: (n, classes) float32; labels: (n,) the labels trained on; role: (n,) index into ROLES; ids: (n,);
    cost: what making the model took (Cost.as_dict()); features: (n, width) float32, the inputs of the head, or None;
    margins: (models, n), phi of several models made the same way from other seeds, or None; relearn_steps: see
    unlearnkit.metrics.relearn_time, or None; attack_class: the class a backdoor sends its targets to, None without one.
    No metric depends on the order of the samples: `rows` gives them in the order of their ids.
    """

    domain = "image"

    logits: Tensor
    labels: Tensor
    role: Tensor
    ids: Tensor
    cost: Mapping = field(default_factory=dict)
    features: Tensor | None = None
    margins: Tensor | None = None
    relearn_steps: int | None = None
    attack_class: int | None = None
    _memo: dict = field(init=False, repr=False, compare=False, default_factory=dict)  # so `replace` starts a new one

    def rows(self, group: str) -> Tensor:
        """Row numbers of a group, in the order of their ids."""
        if (name := f"rows of {group}") not in self._memo:
            roles = torch.tensor([ROLES.index(r) for r in GROUPS[group]])
            rows = torch.isin(self.role, roles).nonzero().squeeze(1)
            self._memo[name] = rows[self.ids[rows].argsort()]
        return self._memo[name]

    @property
    def groups(self) -> list[str]:
        """The groups that have samples."""
        return [g for g in GROUPS if len(self.rows(g))]

    def select(self, rows: Tensor, **changes) -> "Outputs":
        """The outputs of the samples `rows`, (k,) row numbers in any order, with repeats; then `changes` of fields."""
        parts = {name: getattr(self, name)[rows] for name in ("logits", "labels", "role", "ids")}
        features = None if self.features is None else self.features[rows]
        margins = None if self.margins is None else self.margins[:, rows]
        return replace(self, **(parts | {"features": features, "margins": margins} | changes))

    def require(self, need: str, metric: str) -> None:
        """Raises BadValue, with the way out, if these outputs lack what `metric` needs (one of NEEDS), NotApplicable if
        it needs a backdoor and the task has none."""
        name, how_to_get = NEEDS[need]
        if getattr(self, name, None) is not None:
            return
        if need == "backdoor":
            raise NotApplicable(f"metric {metric!r} judges backdoors, and these targets are none: use {how_to_get}")
        raise BadValue(
            f"metric {metric!r} needs {need}, which these outputs lack. study.scores(..., metrics=[{metric!r}]) gets "
            f"it; by hand: {how_to_get}"
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
        """Whether the label has the largest logit, (n,) float64, 1 or 0."""
        return (self.logits.argmax(1) == self.labels).double()

    @cached_property
    def phi(self) -> Tensor:
        """Logit of the true class's probability, (n,): z_y - logsumexp(z of the others), exact where p rounds to 1."""
        return margin(self.logits, self.labels)

    @property
    def familiarity(self) -> Tensor:
        """How well the model knows each label, (n,): what influence is read from (unlearnkit.metrics.standardised)."""
        return self.phi

    @property
    def familiarities(self) -> dict[str, Tensor]:
        """{column of a table of single targets: what is standardised for it, (n,)}."""
        return {"score": self.familiarity}

    @property
    def ranked(self) -> dict[str, Tensor]:
        """{column of a table of single targets: what is ranked among the decoys for it, (n,)}."""
        return {"rank": self.familiarity}

    def label_given(self, rows: Tensor) -> Tensor:
        """Whether the model gives each of the samples `rows`, (k,), the label trained on, float64, 1 or 0."""
        return self.correct[rows]

    def divergence(self, other: "Outputs", rows: Tensor) -> Tensor:
        """Jensen-Shannon divergence of the two models' probabilities on the samples `rows`, (k,), nats."""
        return js(self.log_probs[rows], other.log_probs[rows])

    def more_of(self, rows: Tensor) -> dict[str, Sequence]:
        """{column: value of each of the samples `rows`, (k,)} of what else a table of single targets shows."""
        return {}

    @property
    def utility(self) -> float:
        """What a model must not lose to stay usable: accuracy on the test samples."""
        return self.correct[self.rows("test")].mean().item()

    @cached_property
    def modified_entropy(self) -> Tensor:
        """-(1 - p_y) log p_y - sum over the others of p_i log(1 - p_i), (n,), nats: 0 if the label is certain, large
        if another is. Source: Song and Mittal 2021, arXiv 2003.10595, Eq. 8."""
        log_p = self.log_probs
        p = log_p.exp()
        log_rest = torch.log1p(-p)  # log(1 - p_i), wrong only where p_i rounds to 1, as the largest may
        largest = self.logits.argmax(1, keepdim=True)
        rest = log_p.scatter(1, largest, -torch.inf).logsumexp(1, keepdim=True)
        log_rest = log_rest.scatter(1, largest, rest)
        label = self.labels[:, None]
        label_term = log_rest.gather(1, label).exp() * log_p.gather(1, label)
        other_terms = (p * log_rest).scatter(1, label, 0.0).sum(1, keepdim=True)
        return -(label_term + other_terms).squeeze(1)

    def once(self, function: Callable[["Outputs"], object]):
        """function(self), computed at the first call only: an attack is fitted once for all metrics that use it."""
        name = f"{function.__module__}.{function.__qualname__}"
        if name not in self._memo:
            self._memo[name] = function(self)
        return self._memo[name]


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """z_y - logsumexp(z of the others), the logit of the label's probability, (n,) float64, exact where that rounds to 1.

    logits: (n, classes); labels: (n,).
    """
    z = logits.double()
    label = z.gather(1, labels[:, None]).squeeze(1)
    return label - z.scatter(1, labels[:, None], -torch.inf).logsumexp(1)


def image_outputs(
    logits: Tensor, task: SimilarityTask, cost: Mapping | None = None, features: Tensor | None = None
) -> Outputs:
    """Outputs from the logits, and perhaps features, of every sample of `task`."""
    ids, attack_class = torch.arange(len(task.y)), task.facts.get("attack_class")
    return Outputs(logits, task.y, task.role, ids, dict(cost or {}), features, attack_class=attack_class)


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

    features: keep the inputs of the head, too, from the same pass. precision: that of the recipe. Raises BadValue if
    the model has no linear head.
    """
    logits, head_inputs = predict(model, task.x, device=device, precision=precision, batch_size=batch_size)
    return image_outputs(logits, task, cost, head_inputs if features else None)
