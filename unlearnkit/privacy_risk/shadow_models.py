"""Privacy risk from shadow models, each trained on a random half of the samples: what a sample's presence changes.

All four read the same models (unlearnkit.privacy_risk.subset_models.halves), which any order, method and ranker of the same samples shares.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import ranker
from unlearnkit.privacy_risk import subset_models as subsets
from unlearnkit.privacy_risk.output_scores import margins
from unlearnkit.privacy_risk.subset_models import Seen, Subsets

CARLINI = "Carlini et al. 2022, arXiv 2112.03570"
NEEDS = ("classes", "shadows")


def ensemble(model: nn.Module, request: Request, n_models: int, device: str = "auto") -> Subsets:
    """The shadow models of a request: its architecture and recipe, random halves of forget and retain, in pairs."""
    return subsets.trained_on(model, request, subsets.halves(n_models), f"{n_models} shadow models", device)


def of_forget(model: nn.Module, request: Request, n_models: int, device: str) -> tuple[Seen, int]:
    """What the shadow models say of forget and retain, in this order, and how many are of the forget set."""
    shadows = ensemble(model, request, n_models, device)
    pool = request.forget.to("cpu").joined(request.retain.to("cpu"))
    return shadows.seen(pool, shadows.inside), len(request.forget)


def check(inside: Tensor, least: int = 2) -> None:
    """Raises BadValue, naming the first sample that is in, or out of, fewer than `least` models. inside: (k, n) bool."""
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


def separation(seen: Seen) -> Tensor:
    """(mean_in - mean_out) / sqrt((var_in + var_out) / 2) of phi, (n,): how far apart a sample's two Gaussians are."""
    check(seen.inside)
    (mean_in, var_in), (mean_out, var_out) = moments(seen.phi, seen.inside), moments(seen.phi, ~seen.inside)
    return (mean_in - mean_out) / ((var_in + var_out) / 2).sqrt().clamp(min=1e-6)


def z_score(seen: Seen, phi: Tensor) -> Tensor:
    """(phi - mean_out) / sd_out of one model's phi, (n,)."""
    check(seen.inside)
    mean, variance = moments(seen.phi, ~seen.inside)
    return (phi - mean) / variance.sqrt().clamp(min=1e-6)


def pairwise(seen: Seen, gamma: float = 1.0) -> Tensor:
    """Mean score of a sample's members less that of its non-members, (n,), in [-1, 1].

    Each model in turn is attacked with the others for reference. A sample's score in it is the share of samples z that
    the model was not trained on with (p(x) / p_ref(x)) / (p(z) / p_ref(z)) >= gamma; p_ref: mean of the mean probability
    with and of that without the sample.
    """
    check(seen.inside)
    log_p, inside = logsigmoid(seen.phi), seen.inside
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


def left_out(seen: Seen) -> Tensor:
    """Share of the models that are right on a sample among those trained on it, less that among the others, (n,)."""
    check(seen.inside, least=1)
    right = seen.correct.double()
    return moments(right, seen.inside)[0] - moments(right, ~seen.inside)[0]


# what shadow models say of a sample without a look at the trained model
STATISTICS = {"lira_online": separation, "rmia": pairwise, "memorisation": left_out}


@ranker("lira_online", needs=NEEDS, source=f"{CARLINI}; per sample as a standardised separation: ours")
def lira_online(model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32) -> Tensor:
    """Standardised separation of phi between shadow models with and without the sample."""
    found, n = of_forget(model, request, n_models, device)
    return separation(found)[:n]


@ranker("lira_offline", needs=NEEDS, source=CARLINI)
def lira_offline(model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32) -> Tensor:
    """Standard deviations by which the trained model's own phi exceeds that of shadow models without the sample."""
    found, n = of_forget(model, request, n_models, device)
    return z_score(found.of(samples=slice(n)), margins(model, request, request.forget, device))


@ranker("rmia", needs=NEEDS, source="Zarifzadeh et al. 2024, arXiv 2312.03262; over all shadow models as targets: ours")
def rmia(
    model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32, gamma: float = 1.0
) -> Tensor:
    """How much more often RMIA's pairwise test finds the sample in shadow models with it than in those without it."""
    found, n = of_forget(model, request, n_models, device)
    return pairwise(found, gamma)[:n]


@ranker("memorisation", needs=NEEDS, source="Feldman and Zhang 2020, arXiv 2008.03703: the subset estimate, of halves")
def memorisation(model: nn.Module, request: Request, *, seed: int, device: str = "auto", n_models: int = 32) -> Tensor:
    """Accuracy on the sample of shadow models with it, less that of those without it."""
    found, n = of_forget(model, request, n_models, device)
    return left_out(found)[:n]
