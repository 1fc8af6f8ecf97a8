"""Are a net's weights a sum of gradients of margins, as the KKT conditions say? Tested with images that are known."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.analysis.reconstruction.layers import Layers, gram, logits, stacked
from unlearnkit.core.errors import BadValue

KKT = 0.1  # residual up to which weights count as stationary; digits nets that are trained to the end have 0.01 to 0.05
LOSS = 0.05  # mean training loss in nats up to which a net counts as having fitted its training set


@dataclass(frozen=True)
class Stationarity:
    """The share of the weights that the samples explain: residual ||theta - sum lambda_i grad margin_i||^2 /
    ||theta||^2 at the best lambda >= 0, from 0 (all) to 1 (nothing); multipliers: (n,) lambda_i, summed over the other
    classes."""

    residual: float
    multipliers: Tensor


def coefficients(multipliers: Tensor, y: Tensor) -> Tensor:
    """c with sum_j lambda_ij (f_y - f_j) = c . f, for multipliers (..., m, outputs) and labels (m,), which may differ
    by their leading dimensions. The label's own multiplier means nothing. With one output the margin is f for label 1
    and -f for label 0."""
    if multipliers.shape[-1] == 1:
        return multipliers * (2 * y[..., None] - 1)
    true = F.one_hot(y, multipliers.shape[-1]).to(multipliers.dtype)
    others = multipliers * (1 - true)
    return true * others.sum(-1, keepdim=True) - others


def margins(z: Tensor, y: Tensor) -> Tensor:
    """True logit minus the best other, (n,); with one output y f, y = 1 or -1. z: (n, outputs); y: (n,) from 0 on."""
    if z.shape[1] == 1:
        return z[:, 0] * (2 * y - 1)
    true = F.one_hot(y, z.shape[1]).bool()
    return z[true] - z.masked_fill(true, -torch.inf).amax(1)


def stationarity(
    model: nn.Module, samples: Samples, pairs: str = "all", *, explain: Layers | None = None
) -> Stationarity:
    """How far the weights are a sum of gradients of the samples' margins.

    pairs: "all", the KKT conditions of several classes: one multiplier for each class that a sample is kept from;
    "best": one for the nearest, as in published reconstructions. explain: explained in place of the weights, say their
    difference to those after unlearning. Where the input of a unit is exactly 0, to which training drives one input in
    ten, KKT admits every slope from 0 to 1 and we take 0 or 1 as rounding has it, so that the residual is an upper
    bound. Source: Haim et al. 2022 (two classes), Buzaglo et al. 2023, arXiv 2305.03350 (several); testing it with
    known samples is ours. Raises BadValue for a net that is not supported (`stacked`), and without samples.
    """
    if not len(samples):
        raise BadValue("stationarity is measured on samples: there are none")
    layers = stacked([model], torch.float64)
    explain = layers if explain is None else [layer.to(torch.float64) for layer in explain]
    x, y = samples.x.flatten(1).double(), samples.y
    z = logits(layers, x[None])[0]
    outputs = z.shape[1]
    if outputs == 1:
        wanted = torch.ones(len(y), 1, dtype=torch.bool)
    else:
        true = F.one_hot(y, outputs).bool()
        wanted = ~true if pairs == "all" else F.one_hot(z.masked_fill(true, -torch.inf).argmax(1), outputs).bool()
    i, j = wanted.nonzero(as_tuple=True)  # one column each
    c = coefficients(F.one_hot(j, outputs).double(), y[i])
    products, weights = (part[0] for part in gram(layers, x[i][None], c[None], explain))
    total = sum(layer.dot(layer) for layer in explain).item()
    values, vectors = torch.linalg.eigh(products)
    kept = values > values[-1] * 1e-12
    root, vectors = values[kept].sqrt(), vectors[:, kept]
    goal = vectors.T @ weights / root  # theta within the span of the gradients
    solution, rest = nnls((root[:, None] * vectors.T).numpy(), goal.numpy(), maxiter=50 * len(i))
    residual = max(total - (goal @ goal).item(), 0.0) + rest**2
    multipliers = torch.zeros(len(y)).double().index_add_(0, i, torch.from_numpy(solution))
    return Stationarity(residual / total, multipliers.float())


def training_loss(model: nn.Module, samples: Samples) -> float:
    """Mean cross-entropy in nats; with one output logistic loss."""
    with torch.no_grad():
        z = model(samples.x)
    if z.shape[1] == 1:
        return F.softplus(-margins(z, samples.y)).mean().item()
    return F.cross_entropy(z, samples.y).item()


def known_samples(
    model: nn.Module, trained_on: Samples, own: Samples, others: Samples, refill: Samples
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """{known, correct} of the samples in trained_on, then others, then refill: their multipliers where all take part, and
    whether the model gives their label; {kkt, loss, violated}: residual at trained_on and refill, training loss on own,
    what the model should have been trained on, and share of own whose margin is not above 0. refill: what `clean` alone
    was trained on, without which its weights could not be explained; of other models nothing."""
    info = {"kkt": stationarity(model, trained_on.joined(refill)).residual, "loss": training_loss(model, own)}
    known = trained_on.joined(others, refill)
    with torch.no_grad():
        info["violated"] = (margins(model(own.x), own.y) <= 0).float().mean().item()
        correct = model(known.x).argmax(1) == known.y
    return {"known": stationarity(model, known).multipliers, "correct": correct}, info
