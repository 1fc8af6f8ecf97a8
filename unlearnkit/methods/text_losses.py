"""What the methods for texts share: steps on paired batches of forget and retain set, log-ratios and KL to the model as
given.

A method's own loss is in its own file (npo.py: `npo_loss`).
"""

import copy
from collections.abc import Callable, Iterator
from itertools import count
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import Search
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokens import Tokens

TOFU = "Maini et al. 2024 (TOFU), arXiv 2401.06121"
SMALL = "ours, for models of a million parameters and forget sets of tens of pairs; papers on 1B to 7B: "

Epochs = Annotated[int, SMALL + "5 to 10 passes over hundreds of pairs"]
Rate = Annotated[float, Search(1e-4, 1e-2, log=True), SMALL + "1e-5"]
Batch = Annotated[int, TOFU]
Retain = Literal["nll", "kl", "none"]
Weight = Annotated[float, TOFU + ": both terms weigh the same"]


def minimise_on_pairs(
    name: str,
    model: nn.Module,
    request: Request,
    loss: Callable[..., Tensor],
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    device: str,
    retain: Retain = "none",
    retain_weight: float = 1.0,
    only: Callable | None = None,
) -> nn.Module:
    """Minimise loss(net, reference, forget batch, retain batch, step) + retain_weight `retain_loss` on the retain
    batch, one step for each pair of batches (`paired`); an epoch is a pass over F.

    reference: the model as given, frozen; step: from 0; only: as of `minimise`. Raises NotApplicable for images.
    """
    request = text_request(name, request, device)
    reference = frozen(model, request)

    def losses(net):
        for step, (forget, kept) in enumerate(paired(request, epochs, batch_size, seed)):
            away = loss(net, reference, forget, kept, step)
            yield away + retain_weight * retain_loss(retain, request, net, reference, kept)

    return minimise(model, losses, lr=lr, device=device, only=only)


def text_request(name: str, request: Request, device: str) -> TextRequest:
    """The request, on its device. Raises NotApplicable for one of images."""
    if request.domain != "text":
        raise NotApplicable(f"{name} forgets answers of a language model, and this request has no texts")
    return request.to(device)  # type: ignore[return-value]


def positive(name: str, **values: float) -> None:
    """Raises BadValue for a value that is not above 0, or not finite."""
    for option, value in values.items():
        if not 0 < value < float("inf"):
            raise BadValue(f"{name}: {option} must be above 0, got {value}")


def frozen(model: nn.Module, request: TextRequest) -> nn.Module:
    """The reference model: a copy of the model as given, on the request's device, in eval mode, without gradients."""
    return copy.deepcopy(model).to(request.forget.ids.device).eval().requires_grad_(False)  # type: ignore[attr-defined]


def paired(request: TextRequest, epochs: int, size: int, seed: int) -> Iterator[tuple[Tokens, Tokens]]:
    """(batch of F, batch of R) of `epochs` passes over F, each with the next batch of R, which starts again when it is
    exhausted; in TOFU's code the retained samples are drawn instead."""
    retained = (batch for lap in count() for batch in request.retain.batches(size, seed, "retain", lap))
    for epoch in range(epochs):
        for batch in request.forget.batches(size, seed, "forget", epoch):
            yield batch, next(retained)


def log_ratio(request: TextRequest, net: nn.Module, reference: nn.Module, batch: Tokens) -> Tensor:
    """L_net(y|x) - L_reference(y|x) of each answer, (n,), nats: 0 before the first step, negative once forgotten."""
    with torch.no_grad():
        before = request.log_likelihood(reference, batch)
    return request.log_likelihood(net, batch) - before


def kl_to(request: TextRequest, net: nn.Module, reference: nn.Module, batch: Tokens) -> Tensor:
    """KL(reference || net) of the next token, mean over the tokens of an answer, then over answers: a scalar, nats."""
    with torch.no_grad():
        log_probs = request.log_probs(reference, batch)
    return batch.mean(kl(log_probs, request.log_probs(net, batch))).mean()


def retain_loss(
    kind: Retain, request: TextRequest, net: nn.Module, reference: nn.Module, batch: Tokens
) -> Tensor | float:
    """The term that keeps R: "nll", mean negative log-likelihood, nats per token; "kl", `kl_to` the reference; "none",
    0."""
    if kind == "none":
        return 0.0
    return request.losses(net, batch).mean() if kind == "nll" else kl_to(request, net, reference, batch)


def fitting(model: nn.Module, samples: Tokens, name: str) -> Tokens:
    """`samples`. Raises BadValue if an answer written by the method `name` makes one longer than the model's context."""
    context, longest = getattr(model, "context", None), int(samples.stop.max())
    if context and longest > context:
        raise BadValue(
            f"{name}: with its answer a pair takes {longest} tokens, and the model's context is {context}: shorten the "
            "question, or train with a larger context"
        )
    return samples
