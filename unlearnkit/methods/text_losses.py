"""What methods that forget texts are made of: pairs of batches, ratios to the model as given, what keeps the rest."""

import copy
from collections.abc import Iterator
from itertools import count
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import BadValue, NotApplicable
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


def texts(name: str, request: Request, device: str) -> TextRequest:
    """The request, on its device. Raises NotApplicable for one of images."""
    if not isinstance(request, TextRequest):
        raise NotApplicable(f"{name} forgets answers of a language model, and this request has no texts")
    return request.to(device)  # type: ignore[return-value]


def positive(name: str, **values: float) -> None:
    """Raises BadValue for a value that is not above 0."""
    for what, value in values.items():
        if not 0 < value < float("inf"):
            raise BadValue(f"{name}: {what} must be above 0, got {value}")


def frozen(model: nn.Module, request: TextRequest) -> nn.Module:
    """The model as given, for comparison: a copy on the request's device that no one trains."""
    return copy.deepcopy(model).to(request.forget.ids.device).eval().requires_grad_(False)  # type: ignore[attr-defined]


def paired(request: TextRequest, epochs: int, size: int, seed: int) -> Iterator[tuple[Tokens, Tokens]]:
    """(batch of F, batch of R) of `epochs` passes over F. R is gone through beside it, and anew once it is through: with
    each batch of F comes another one of R, as in TOFU's code, where it is drawn."""
    kept = (batch for lap in count() for batch in request.retain.batches(size, seed, "retain", lap))
    for epoch in range(epochs):
        for batch in request.forget.batches(size, seed, "forget", epoch):
            yield batch, next(kept)


def log_ratio(request: TextRequest, net: nn.Module, reference: nn.Module, batch: Tokens) -> Tensor:
    """L_net(y|x) - L_reference(y|x) of each answer, (n,), nats: 0 before the first step, below 0 for what is forgotten."""
    with torch.no_grad():
        before = request.log_likelihood(reference, batch)
    return request.log_likelihood(net, batch) - before


def kl_to(request: TextRequest, net: nn.Module, reference: nn.Module, batch: Tokens) -> Tensor:
    """KL(reference || net) of the next token, mean over the tokens of an answer, then over answers: a scalar, nats."""
    with torch.no_grad():
        said = request.log_probs(reference, batch)
    return batch.mean(kl(said, request.log_probs(net, batch))).mean()


def kept(how: Retain, request: TextRequest, net: nn.Module, reference: nn.Module, batch: Tokens) -> Tensor | float:
    """What keeps R: "nll", nats per token; "kl", `kl_to` the model as given; "none", 0."""
    if how == "none":
        return 0.0
    return request.losses(net, batch).mean() if how == "nll" else kl_to(request, net, reference, batch)


def fitting(model: nn.Module, samples: Tokens, who: str) -> Tokens:
    """`samples`. Raises BadValue if an answer that `who` wrote makes one longer than the model's context."""
    most, longest = getattr(model, "context", None), int(samples.stop.max())
    if most and longest > most:
        raise BadValue(
            f"{who}: with its answer a pair takes {longest} tokens, and the model's context is {most}: shorten the "
            "question, or train with a larger context"
        )
    return samples
