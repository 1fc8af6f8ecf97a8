"""Proxies from the trained model's outputs on the samples alone: one pass, or one gradient, each."""

import copy

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.heads import logits_and_features
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.predict import BATCH
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import ranker


def _net(model: nn.Module, device: str) -> nn.Module:
    return copy.deepcopy(model).to(resolve_device(device)).eval()


@torch.no_grad()
def outputs_of(model: nn.Module, request: Request, samples: Samples, device: str = "auto") -> Outputs:
    """What the model says of labelled samples, in their order: losses, margins and more in float64."""
    net, on = _net(model, device), resolve_device(device)
    logits = torch.cat([request.logits(net, samples[i].to(on)).cpu() for i in torch.arange(len(samples)).split(BATCH)])
    rows = torch.arange(len(samples))
    return Outputs(logits, samples.y.cpu(), torch.zeros_like(rows), rows)


@torch.no_grad()
def margins(model: nn.Module, request: Request, samples, device: str = "auto") -> Tensor:
    """phi = log(p / (1 - p)) of the probability p that the model gives each sample's label, (n,) float64; of samples
    without classes by their losses alone, -log(exp(loss) - 1)."""
    if isinstance(samples, Samples):
        return outputs_of(model, request, samples, device).phi
    net, on = _net(model, device), resolve_device(device)
    losses = [request.losses(net, samples[i].to(on)).cpu() for i in torch.arange(len(samples)).split(BATCH)]
    return -torch.cat(losses).double().expm1().log()


@ranker("loss", source="Yeom et al. 2018, arXiv 1709.01604")
def loss(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Cross-entropy under the trained model, nats: what has been learned worst stands out. It ranks as the margin does."""
    return torch.nn.functional.softplus(-margins(model, request, request.forget, device))


@ranker("margin", direction="lower = riskier", source="phi of Carlini et al. 2022, arXiv 2112.03570, of one model")
def margin(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """phi = log(p / (1 - p)) under the trained model, with the sign turned."""
    return -margins(model, request, request.forget, device)


@ranker("confidence", direction="lower = riskier", needs=("classes",), source="Salem et al. 2019, arXiv 1806.01246")
def confidence(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Log of the largest probability, whichever class it is of, with the sign turned; no label is read."""
    return -outputs_of(model, request, request.forget, device).log_probs.amax(1)


@ranker("entropy", needs=("classes",), source="Salem et al. 2019, arXiv 1806.01246")
def entropy(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Entropy of the predicted distribution, nats; no label is read."""
    log_p = outputs_of(model, request, request.forget, device).log_probs
    return -(log_p.exp() * log_p).sum(1)


@ranker("gradient_norm", source="Paul et al. 2021 (GraNd), arXiv 2107.07075, at the end of training")
def gradient_norm(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Euclidean norm of the gradient of each sample's loss by all weights, in eval mode, one sample at a time."""
    net, request = _net(model, device), request.to(device)
    moving = [p for p in net.parameters() if p.requires_grad]
    norms = []
    for i in range(len(request.forget)):
        found = torch.autograd.grad(request.losses(net, request.forget[i : i + 1]).sum(), moving, allow_unused=True)
        norms.append(sum(g.double().square().sum() for g in found if g is not None).sqrt())
    return torch.stack(norms)


@ranker("class_distance", needs=("classes", "features"), source="ours, after nearest-class-mean readouts")
def class_distance(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Distance of a sample's features to the mean of all training samples of its label, itself included.

    Raises NotApplicable if the model has no linear head.
    """
    net, request = _net(model, device), request.to(device)
    everything, found = request.forget.joined(request.retain), []
    try:
        with torch.no_grad():
            for i in torch.arange(len(everything)).split(BATCH):
                found.append(request.run(lambda x: logits_and_features(net, x)[1], everything[i].x).double())
    except BadValue as error:
        raise NotApplicable(f"ranker 'class_distance': {error}") from error
    features, y = torch.cat(found), request.forget.y
    means = {label: features[everything.y == label].mean(0) for label in y.unique().tolist()}
    return (features[: len(y)] - torch.stack([means[label] for label in y.tolist()])).norm(dim=1)
