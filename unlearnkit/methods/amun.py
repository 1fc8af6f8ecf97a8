"""AMUN: fine-tune on the nearest images that the model takes for another class, in place of those to be forgotten."""

import copy
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, Search, method

SOURCE = "Ebrahimpour-Boroojeny et al. 2025, official code, AMUN_all_in_one"
ATTACK = "Ebrahimpour-Boroojeny et al. 2025, official code, pgdl2_modified"
TrainOn = Literal["retain+adversarial", "retain+forget+adversarial", "adversarial", "forget+adversarial"]


def adversarial_examples(request: Request, model: nn.Module, samples: Samples, eps: float, steps: int) -> Samples:
    """The first images that `model` does not take for their labels, on a way away from them, with its predictions.

    The way is gradient ascent on the loss, projected on an L2 ball around the image: `steps` steps of a tenth of its
    radius, in a ball of radius eps, then in one of twice that, and so on. Images that are misclassified already are taken
    as they are; one that never is, with a ball over all images, is left out. eps: in units of x. Pixels stay in [0, 1],
    or in the range of the samples if that is wider. The model must be in eval mode.
    """
    parts, whole = [], samples.x
    low, high = min(0.0, whole.min().item()), max(1.0, whole.max().item())
    for origin, y in zip(whole.split(256), samples.y.split(256), strict=True):
        x, said = origin.clone(), y.clone()
        left = torch.arange(len(y), device=y.device)  # whose images are still taken for their labels
        radius, reach = eps, (high - low) * origin[0].numel() ** 0.5
        while len(left) and radius < 2 * reach:
            for _ in range(steps):
                at = x[left].requires_grad_()
                logits = request.run(model, at)
                (uphill,) = torch.autograd.grad(_odds(logits, y[left]).sum(), at)
                said[left] = logits.argmax(1)
                right = said[left] == y[left]
                left, uphill = left[right], uphill[right]
                if not len(left):
                    break
                away = x[left] + radius / 10 * uphill / _norm(uphill) - origin[left]
                x[left] = (origin[left] + away * (radius / _norm(away)).clamp(max=1)).clamp(low, high)
            radius *= 2
        found = said != y
        parts.append(Samples(x[found], said[found]))
    return parts[0].joined(*parts[1:])


def _odds(logits: Tensor, y: Tensor) -> Tensor:
    """Log-odds of the other classes, (n,): its gradient points where cross-entropy's does, and does not vanish where the
    model is sure."""
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
    return others - logits.gather(1, y[:, None]).squeeze(1)


def _norm(x: Tensor) -> Tensor:
    """L2 norm of each image, never 0, in a shape that divides it."""
    return torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)


@method("amun", source="Ebrahimpour-Boroojeny et al. 2025, arXiv 2503.00917; official code")
def amun(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Annotated[int, SOURCE] = 10,
    lr: Annotated[float, Search(1e-4, 0.1, log=True), SOURCE] = 0.05,
    decay: Annotated[float, SOURCE] = 0.1,
    decay_every: Annotated[int, SOURCE] = 5,
    weight_decay: Annotated[float, SOURCE] = 5e-4,
    train_on: Annotated[TrainOn, f"{SOURCE}; with F, too: the 'amun' of its README"] = "retain+adversarial",
    eps: Annotated[float, ATTACK] = 0.04,
    attack_steps: Annotated[int, ATTACK] = 50,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Train R on its own labels, shuffled together with an adversarial example of each sample of F, labelled as the
    model as given mistakes it (`adversarial_examples`).

    train_on: what is shuffled together; F has its own labels there. The rate is multiplied by `decay` every `decay_every`
    epochs. Ours differs from the official script in where balls start: it begins at 0.01 for 50 samples and at the median
    of theirs for all others; here all begin at eps, the default of its attack, so that no example depends on others. No
    image is augmented.

    Raises BadValue for an eps that is not above 0 or a number of epochs or attack steps below 1; NotApplicable if no image
    near F is taken for another class.
    """
    if not (eps > 0 and decay_every >= 1 and attack_steps >= 1):
        raise BadValue(
            "amun: eps must be above 0, decay_every and attack_steps at least 1, got "
            f"{eps}, {decay_every} and {attack_steps}"
        )
    request = request.to(device)
    frozen = copy.deepcopy(model).to(request.forget.y.device).eval()
    adversarial = adversarial_examples(request, frozen, request.forget, eps, attack_steps)
    if not len(adversarial):
        raise NotApplicable(
            "amun: the model takes no image near the forget set for another class: use a larger attack_steps, or another "
            "method"
        )
    plain = {name: getattr(request, name) for name in train_on.split("+")[:-1]}
    data = adversarial.joined(*(Samples(samples.x, samples.y) for samples in plain.values()))

    def losses(net):
        for epoch in range(epochs):
            yield float(decay ** (epoch // decay_every))
            for batch in data.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=lr, device=device, weight_decay=weight_decay)
