"""Privacy risk from shadow models, each trained on a random half of the samples: the effect of a sample's presence.

All rankers read the same models (unlearnkit.privacy_risk.subset_models.halves), which all orders, methods and
rankers of the same samples share.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import ranker
from unlearnkit.privacy_risk import subset_models as subsets
from unlearnkit.privacy_risk.output_scores import margins
from unlearnkit.privacy_risk.subset_models import SubsetModels, SubsetOutputs

CARLINI = "Carlini et al. 2022, arXiv 2112.03570"
NEEDS = ("classes", "shadows")


def ensemble(model: nn.Module, request: Request, n_models: int, device: str = "auto") -> SubsetModels:
    """The shadow models of a request: its architecture and recipe, random halves of forget and retain, in pairs."""
    return subsets.trained_on(model, request, subsets.halves(n_models), f"{n_models} shadow models", device)


def shadow_outputs(model: nn.Module, request: Request, n_models: int, device: str) -> tuple[SubsetOutputs, int]:
    """The shadow models' outputs on forget and retain, in this order, and the size of the forget set."""
    shadows = ensemble(model, request, n_models, device)
    pool = request.forget.to("cpu").joined(request.retain.to("cpu"))
    return shadows.outputs(pool, shadows.inside), len(request.forget)


def check(inside: Tensor, least: int = 2) -> None:
    """Raises BadValue, naming the sample, if one is in, or out of, fewer than `least` models. inside: (k, n) bool."""
    for name, count in (("in", inside.sum(0)), ("out of", (~inside).sum(0))):
        if (count < least).any():
            sample = int((count < least).nonzero()[0])
            raise BadValue(
                f"sample {sample} is {name} {int(count[sample])} of {len(inside)} shadow models, and {least} are needed "
                "to say what its presence changes: train more models, or draw them so that each sample is in half of "
                "them (unlearnkit.privacy_risk.subset_models.halves)"
            )


def moments(phi: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (n - 1) of each column over the rows that `which` marks, (n,) each. phi, which: (k, n)."""
    count = which.sum(0)
    mean = phi.where(which, 0.0).sum(0) / count
    return mean, (phi - mean).where(which, 0.0).square().sum(0) / (count - 1)


def separation(shadows: SubsetOutputs) -> Tensor:
    """(mean_in - mean_out) / sqrt((var_in + var_out) / 2) of phi, (n,): the distance between a sample's two Gaussians."""
    check(shadows.inside)
    (mean_in, var_in), (mean_out, var_out) = moments(shadows.phi, shadows.inside), moments(shadows.phi, ~shadows.inside)
    return (mean_in - mean_out) / ((var_in + var_out) / 2).sqrt().clamp(min=1e-6)


def log_ratio(shadows: SubsetOutputs, phi: Tensor) -> Tensor:
    """log N(phi; mean_in, var_in) - log N(phi; mean_out, var_out) of one model's phi, (n,), nats: LiRA's online test."""
    check(shadows.inside)
    gaussians = [moments(shadows.phi, which) for which in (shadows.inside, ~shadows.inside)]
    inside, outside = (torch.distributions.Normal(m, v.sqrt().clamp(min=1e-6)).log_prob(phi) for m, v in gaussians)
    return inside - outside


def z_score(shadows: SubsetOutputs, phi: Tensor) -> Tensor:
    """(phi - mean_out) / sd_out of one model's phi, (n,)."""
    check(shadows.inside)
    mean, variance = moments(shadows.phi, ~shadows.inside)
    return (phi - mean) / variance.sqrt().clamp(min=1e-6)


def pairwise(shadows: SubsetOutputs, gamma: float = 1.0) -> Tensor:
    """Mean RMIA score of a sample over the models trained on it, minus the mean over the others, (n,), in [-1, 1].

    Each model is attacked with all others as reference. Its score for sample x is the share of the samples z that it
    was not trained on with (p(x) / p_ref(x)) / (p(z) / p_ref(z)) >= gamma; p_ref averages the mean probability over the
    reference models with the sample and over those without it.
    """
    check(shadows.inside)
    log_p, inside = logsigmoid(shadows.phi), shadows.inside
    p = log_p.exp()
    total = [(p.where(w, 0.0).sum(0), w.sum(0)) for w in (inside, ~inside)]
    score = torch.empty_like(log_p)
    for j in range(len(p)):
        others = [(sums - p[j].where(w, 0.0)) / (n - w.long())
                  for (sums, n), w in zip(total, (inside[j], ~inside[j]))]  # fmt: skip
        ratio = log_p[j] - (sum(others) / 2).clamp(min=torch.finfo(p.dtype).tiny).log()
        z = ratio[~inside[j]].sort().values
        score[j] = torch.searchsorted(z, ratio - torch.tensor(gamma).log(), right=True) / len(z)
    return moments(score, inside)[0] - moments(score, ~inside)[0]


def left_out(shadows: SubsetOutputs) -> Tensor:
    """Accuracy on a sample of the models trained on it, minus that of the others, (n,)."""
    check(shadows.inside, least=1)
    right = shadows.correct.double()
    return moments(right, shadows.inside)[0] - moments(right, ~shadows.inside)[0]


# statistics of the shadow models alone, without the trained model
STATISTICS = {"lira_separation": separation, "rmia": pairwise, "memorisation": left_out}


@ranker("lira_separation", needs=NEEDS, source=f"ours, of the two Gaussians of {CARLINI}; no likelihood ratio")
def lira_separation(
    model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32
) -> Tensor:
    """Standardised separation of phi between shadow models with and without the sample: how well models trained on it
    can be told from others, whatever the trained model itself says of it, which `lira_ratio` tests."""
    shadows, n = shadow_outputs(model, request, n_models, device)
    return separation(shadows)[:n]


@ranker("lira_ratio", needs=NEEDS, source=f"{CARLINI}, the online attack")
def lira_ratio(model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32) -> Tensor:
    """Log-likelihood ratio, nats, of the trained model's own phi under shadow models with and without the sample."""
    shadows, n = shadow_outputs(model, request, n_models, device)
    return log_ratio(shadows.of(samples=slice(n)), margins(model, request, request.forget, device))


@ranker("lira_offline", needs=NEEDS, source=CARLINI)
def lira_offline(model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32) -> Tensor:
    """Standard deviations by which the trained model's own phi exceeds that of shadow models without the sample."""
    shadows, n = shadow_outputs(model, request, n_models, device)
    return z_score(shadows.of(samples=slice(n)), margins(model, request, request.forget, device))


@ranker("rmia", needs=NEEDS, source="Zarifzadeh et al. 2024, arXiv 2312.03262; over all shadow models as targets: ours")
def rmia(
    model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32, gamma: float = 1.0
) -> Tensor:
    """How much more often RMIA's pairwise test finds the sample in shadow models with it than in those without it."""
    shadows, n = shadow_outputs(model, request, n_models, device)
    return pairwise(shadows, gamma)[:n]


@ranker("memorisation", needs=NEEDS, source="Feldman and Zhang 2020, arXiv 2008.03703: the subset estimate, of halves")
def memorisation(model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32) -> Tensor:
    """Accuracy on the sample of shadow models with it, minus that of shadow models without it."""
    shadows, n = shadow_outputs(model, request, n_models, device)
    return left_out(shadows)[:n]
