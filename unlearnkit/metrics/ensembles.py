"""Per-sample distributions over models from different seeds: unlearned ones against ones that never saw the targets.

Margins are phi, the label's logit less logsumexp of the others (unlearnkit.images.outputs), (models, samples). Two sets
of models made in the same way still differ by chance, the more the fewer they are: read these metrics beside the noise
floor, one reference against itself from other seeds. KLoM's is high, since most of 20 bins are empty in one of the two:
3.9 nats with 16 models of each kind, 0.6 with 64, 0.35 with 100, 0.02 with 1,000 (standard normal margins).
"""

import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric

BINS, CLIP, EPS = 20, 100.0, 1e-5
GEORGIEV = "Georgiev et al. 2024, arXiv 2410.23232"
HAYES = "Hayes et al. 2024, arXiv 2403.01218"


def histogram_kl(a: Tensor, b: Tensor) -> Tensor:
    """KL(a || b) of the histograms of each column, (samples,), nats; 0 where both are the same.

    a: (models, samples); b: (other models, samples). Values are clipped to +-100; 20 bins cover the range of both, the
    largest value included, and every bin gets 1e-5 added to its share, after which shares are divided by their sum.

    The code of EasyDUB prints another form: the largest value of all is in no bin, nothing is added to the shares of a,
    and of b's only those that are empty are raised, to 1e-5. Of 100 standard normal margins of each kind a sample's
    two values differ by 0.03 nats on average: compare values of one form only.
    """
    a, b = a.double().clamp(-CLIP, CLIP), b.double().clamp(-CLIP, CLIP)
    both = torch.cat([a, b])
    low, width = both.amin(0), both.amax(0) - both.amin(0)
    p, q = (_shares(v, low, width) for v in (a, b))
    return (p * (p / q).log()).sum(0)


def _shares(v: Tensor, low: Tensor, width: Tensor) -> Tensor:
    """Share of each bin, (BINS, samples). A column of one value has it all in the first bin."""
    number = ((v - low) / torch.where(width > 0, width, 1.0) * BINS).long().clamp(max=BINS - 1)
    counts = torch.zeros(BINS, v.shape[1], dtype=torch.float64).scatter_add_(0, number, torch.ones_like(v))
    return (counts / len(v) + EPS) / (1 + BINS * EPS)


@metric(
    "KLoM",
    direction="lower",
    unit="nats",
    references=("retrain", "clean"),
    needs=("ensemble",),
    domains=DOMAINS,
    source=GEORGIEV,
)
def klom(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """KL(unlearned || reference) of the margins' histograms over models, mean over the samples of each group."""
    value = histogram_kl(outputs.margins, reference.margins)
    return {group: value[outputs.rows(group)].mean().item() for group in outputs.groups}


def lira(unlearned: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """log p(margin | unlearned) - log p(margin | never trained) of each margin of both kinds of models, two tensors
    (models, samples).

    unlearned: (models, samples); fresh: (other models, samples). Each sample has a Gaussian for each kind, fitted on
    every other model and evaluated on the rest, then the other way round. Raises BadValue for fewer than 4 models of a
    kind: a spread takes two.
    """
    if min(len(unlearned), len(fresh)) < 4:
        raise BadValue(
            f"U-LiRA needs at least 4 models of each kind, two to fit and two to test, got {len(unlearned)} and "
            f"{len(fresh)}: ask for more in study.scores(..., n_models=...)"
        )
    log_ratios = [torch.empty_like(v, dtype=torch.float64) for v in (unlearned, fresh)]
    for fold in (0, 1):
        fitted = [_gaussian(v[1 - fold :: 2].double()) for v in (unlearned, fresh)]
        for scores, v in zip(log_ratios, (unlearned, fresh), strict=True):
            held = v[fold::2].double()
            scores[fold::2] = fitted[0].log_prob(held) - fitted[1].log_prob(held)
    return log_ratios[0], log_ratios[1]


def _gaussian(v: Tensor) -> torch.distributions.Normal:
    return torch.distributions.Normal(v.mean(0), v.std(0).clamp(min=1e-6))


def lira_accuracy(unlearned: Tensor, fresh: Tensor) -> Tensor:
    """Accuracy of calling a model the likelier kind, for each sample, (samples,), both kinds weighted alike; a tie
    counts half. Arguments and errors as of `lira`."""
    inside, outside = lira(unlearned, fresh)
    right = [(v > 0).double() + 0.5 * (v == 0).double() for v in (inside, -outside)]
    return (right[0].mean(0) + right[1].mean(0)) / 2


def tpr_at(inside: Tensor, outside: Tensor, fpr: float = 0.01) -> float:
    """Share of `inside` scores above a threshold that the share `fpr` of `outside` scores exceeds: straight lines join
    the points of the ROC curve, so that scores without information give `fpr`.

    inside, outside: scores, any shape, larger = inside. Raises BadValue for a rate that so few scores cannot resolve.
    """
    inside, outside = inside.flatten().double(), outside.flatten().double()
    if not resolvable(outside, fpr):
        raise BadValue(
            f"a false positive rate of {fpr:g} cannot be resolved: with {len(outside)} scores the smallest is "
            f"{1 / max(len(outside), 1):.2g}; ask for more models or more targets"
        )
    values = torch.cat([inside, outside]).unique()
    shares = [(len(v) - torch.searchsorted(v.sort().values, values)).double() / len(v) for v in (outside, inside)]
    false, true = (torch.cat([v.flip(0).new_zeros(1), v.flip(0)]) for v in shares)
    last = int((false <= fpr).nonzero().max())
    if false[last] == fpr or last + 1 == len(false):
        return true[last].item()
    part = (fpr - false[last]) / (false[last + 1] - false[last])
    return (true[last] + part * (true[last + 1] - true[last])).item()


def resolvable(outside: Tensor, fpr: float) -> bool:
    """Whether a false positive rate of `fpr` allows one false positive or more among these scores."""
    return outside.numel() * fpr >= 1 - 1e-9


@metric(
    "U-LiRA",
    direction="gap",
    unit="accuracy",
    references=("retrain", "clean"),
    best=0.5,
    needs=("ensemble",),
    domains=DOMAINS,
    source=HAYES,
)
def u_lira(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Accuracy of telling unlearned from reference models by one sample's margin, mean over the samples; 0.5 =
    indistinguishable. For targets, and beside them near-duplicates and decoys."""
    rows = {g: outputs.rows(g) for g in ("target", "similar", "decoy")}
    return {
        g: lira_accuracy(outputs.margins[:, r], reference.margins[:, r]).mean().item()
        for g, r in rows.items()
        if len(r)
    }


@metric(
    "U-LiRA-TPR",
    direction="gap",
    unit="fraction",
    references=("retrain", "clean"),
    best=0.01,
    needs=("ensemble",),
    domains=DOMAINS,
    source=HAYES,
)
def u_lira_tpr(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Share of unlearned models detected by a target's margin at 1% false positives, scores of all targets pooled; 0.01
    = indistinguishable. Left out where fewer than 100 scores (targets times reference models) cannot resolve 1%."""
    rows = outputs.rows("target")
    inside, outside = lira(outputs.margins[:, rows], reference.margins[:, rows])
    return {"target": tpr_at(inside, outside)} if resolvable(outside, 0.01) else {}
