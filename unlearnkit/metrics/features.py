"""The geometry of features, the head's inputs: the directions they lie in, and the distances between groups.

Of little meaning where a group has fewer samples than the features have directions: compare with the references.
"""

import torch
from torch import Tensor

from unlearnkit.core.alignment import ENERGY, alignment, directions, effective_rank, moment
from unlearnkit.core.errors import NotApplicable
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric
from unlearnkit.metrics.probes import held_out
from unlearnkit.metrics.subsample import drawn

MOST = 2000  # samples of a group that CKA is taken of; ours


def features(outputs: Outputs, group: str) -> Tensor:
    """Features of a group, (n, width) float64, in the order of ids."""
    return outputs.features[outputs.rows(group)].double()


def dimensional_alignment(
    outputs: Outputs,
    group: str = "target",
    *,
    energy: float = ENERGY,
    rank: int | None = None,
    centred: bool = False,
) -> float:
    """DA(group | retain set), in [0, 1]; the options are those of unlearnkit.core.alignment.directions.

    Raises NotApplicable if all features of the group or of the retain set are 0.
    """
    main = directions(features(outputs, "retain"), energy=energy, rank=rank, centred=centred)
    return alignment(features(outputs, group), main, centred=centred).item()


@metric(
    "DA",
    direction="gap",
    unit="fraction",
    needs=("features",),
    domains=DOMAINS,
    source="Seo et al. 2025 (MUDA), arXiv 2407.17710; last hidden layer, 95% of the energy, uncentred: ours",
)
def da(outputs: Outputs, reference=None) -> dict[str, float]:
    """Share of the targets' second moment that lies in the main directions of the retain set; beside it that of decoys
    and test samples. Compare with the original, the retrained and the untrained model."""
    retain = features(outputs, "retain")
    if not retain.any():
        return {}
    main = directions(retain)
    by_group = {g: features(outputs, g) for g in ("target", "decoy", "test") if len(outputs.rows(g))}
    return {group: alignment(v, main).item() for group, v in by_group.items() if v.any()}


@metric(
    "effective-rank",
    direction="gap",
    unit="directions",
    needs=("features",),
    source="Roy and Vetterli 2007; of eigenvalues of the uncentred second moment: ours",
)
def directions_in_use(outputs: Outputs, reference=None) -> dict[str, float]:
    """The effective number of directions of a group's features. Targets that collapsed onto one direction of the retain
    set have a DA of 1 and an effective rank of 1; 0 where all features are 0."""
    return {
        g: effective_rank(moment(features(outputs, g))) for g in ("target", "retain", "test") if len(outputs.rows(g))
    }


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Linear CKA of two sets of features of the same samples, (n, width) and (n, other width), in [0, 1]; 1 if they
    differ by rotation and scale alone. Raises NotApplicable if all samples of a set have the same features.

    Source: Kornblith et al. 2019, arXiv 1905.00414, Eq. 5, in the form that takes n width^2 operations.
    """
    a, b = a.double() - a.double().mean(0), b.double() - b.double().mean(0)
    below = torch.linalg.matrix_norm(a.T @ a) * torch.linalg.matrix_norm(b.T @ b)
    if below == 0:
        raise NotApplicable("all samples have the same features: there is nothing to correlate")
    return (torch.linalg.matrix_norm(a.T @ b) ** 2 / below).item()


@metric(
    "CKA",
    direction="higher",
    unit="fraction",
    references=("retrain", "clean"),
    best=1.0,
    needs=("features",),
    domains=DOMAINS,
    source="Kornblith et al. 2019, arXiv 1905.00414",
)
def cka_to_reference(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Linear CKA of the model's features with the reference's, on each group; 1 = the same up to rotation and scale.

    Of images also on the group "held-out" (unlearnkit.metrics.probes.held_out), among which all classes are. Of a group of
    more than MOST samples MOST are drawn, the same for all models of a task.
    """
    rows = {g: outputs.rows(g) for g in outputs.groups}
    if outputs.domain == "image":
        rows["held-out"] = held_out(outputs)
    rows = {g: drawn(r, MOST, "CKA") for g, r in rows.items() if len(r)}
    pairs = {g: (outputs.features[r].double(), reference.features[r].double()) for g, r in rows.items()}
    return {g: linear_cka(a, b) for g, (a, b) in pairs.items() if _varies(a) and _varies(b)}


def _varies(v: Tensor) -> bool:
    return bool((v != v[0]).any())


def entanglement(a: Tensor, b: Tensor) -> float:
    """[mean |a - mean a|^2 + mean |b - mean b|^2] / [(|mean a - m|^2 + |mean b - m|^2) / 2], m the mean of all samples.

    The form of RUM's paper, in which m is the mean over the samples of both sets, so that the larger set draws it to
    itself. By the other form, in which m is the middle of the two means, it comes out up to twice as large where few
    targets meet many others, and the same for sets of one size: do not compare values of the two.
    a, b: features, (n, width) and (m, width). At least 0; large where the two sets overlap. Raises NotApplicable if
    both have the same mean. Source: Zhao et al. 2024 (RUM), arXiv 2406.01257.
    """
    a, b = a.double(), b.double()
    middle = torch.cat([a, b]).mean(0)
    within = sum((v - v.mean(0)).square().sum(1).mean() for v in (a, b))
    between = sum((v.mean(0) - middle).square().sum() for v in (a, b)) / 2
    if between == 0:
        raise NotApplicable("both sets have the same mean: entanglement is not defined")
    return (within / between).item()


@metric(
    "ES",
    direction="gap",
    unit="ratio",
    needs=("features",),
    domains=DOMAINS,
    source="Zhao et al. 2024 (RUM), arXiv 2406.01257: the paper's form, by the mean of all samples",
)
def entanglement_of_targets(outputs: Outputs, reference=None) -> dict[str, float]:
    """Entanglement of targets and retain set: the spread within both over the distance between; higher = closer."""
    target, retain = features(outputs, "target"), features(outputs, "retain")
    return {} if torch.equal(target.mean(0), retain.mean(0)) else {"target": entanglement(retain, target)}
