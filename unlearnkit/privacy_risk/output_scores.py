"""Proxies of privacy risk from the trained model's outputs on the samples: one pass, or one gradient, each."""

import copy

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.predict import BATCH
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import ranker


def _net(model: nn.Module, device: str) -> nn.Module:
    return copy.deepcopy(model).to(resolve_device(device)).eval()


@torch.no_grad()
def outputs_of(model: nn.Module, request: Request, samples: Samples, device: str = "auto") -> Outputs:
    """One model's outputs on labelled samples, in their order: losses, margins and more in float64."""
    net, device = _net(model, device), resolve_device(device)
    batches = (samples[i].to(device) for i in torch.arange(len(samples)).split(BATCH))
    logits = torch.cat([request.logits(net, batch).cpu() for batch in batches])
    rows = torch.arange(len(samples))
    return Outputs(logits, samples.y.cpu(), torch.zeros_like(rows), rows)


@torch.no_grad()
def margins(model: nn.Module, request: Request, samples, device: str = "auto") -> Tensor:
    """phi = log(p / (1 - p)), where p is the model's probability of a sample's label, (n,) float64; for texts
    -log(exp(loss) - 1), from the mean loss of an answer."""
    if request.domain == "image":
        return outputs_of(model, request, samples, device).phi
    net, device = _net(model, device), resolve_device(device)
    batches = (samples[i].to(device) for i in torch.arange(len(samples)).split(BATCH))
    return -torch.cat([request.losses(net, batch).cpu() for batch in batches]).double().expm1().log()


@ranker("loss", source="Yeom et al. 2018, arXiv 1709.01604")
def loss(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Cross-entropy under the trained model, nats: samples learned worst rank first, in the same order as by `margin`."""
    return torch.nn.functional.softplus(-margins(model, request, request.forget, device))


@ranker("margin", direction="lower = riskier", source="phi of Carlini et al. 2022, arXiv 2112.03570, of one model")
def margin(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """-phi = -log(p / (1 - p)) under the trained model."""
    return -margins(model, request, request.forget, device)


@ranker("confidence", direction="lower = riskier", needs=("classes",), source="Salem et al. 2019, arXiv 1806.01246")
def confidence(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Negative log of the largest class probability; the label is not used."""
    return -outputs_of(model, request, request.forget, device).log_probs.amax(1)


@ranker("entropy", needs=("classes",), source="Salem et al. 2019, arXiv 1806.01246")
def entropy(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Entropy of the predicted distribution, nats; the label is not used."""
    log_p = outputs_of(model, request, request.forget, device).log_probs
    return -(log_p.exp() * log_p).sum(1)


@ranker("gradient_norm", source="Paul et al. 2021 (GraNd), arXiv 2107.07075, at the end of training")
def gradient_norm(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Euclidean norm of the gradient of each sample's loss over all weights, in eval mode, one sample at a time."""
    net, request = _net(model, device), request.to(device)
    moving = [p for p in net.parameters() if p.requires_grad]
    norms = []
    for i in range(len(request.forget)):
        loss = request.losses(net, request.forget[i : i + 1]).sum()
        gradients = torch.autograd.grad(loss, moving, allow_unused=True)
        norms.append(sum(g.double().square().sum() for g in gradients if g is not None).sqrt())
    return torch.stack(norms)


@ranker("class_distance", needs=("classes", "features"), source="ours, after nearest-class-mean readouts")
def class_distance(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Distance of a sample's features to the mean of all training samples of its label, itself included.

    Raises NotApplicable if the model has no linear head.
    """
    net, request = _net(model, device), request.to(device)
    everything, y = request.forget.joined(request.retain), request.forget.y
    try:
        features = request.features(net, everything, BATCH).double()
    except BadValue as error:
        raise NotApplicable(f"ranker 'class_distance': {error}") from error
    means = {label: features[everything.y == label].mean(0) for label in y.unique().tolist()}
    return (features[: len(y)] - torch.stack([means[label] for label in y.tolist()])).norm(dim=1)
