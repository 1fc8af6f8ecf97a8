"""Gradient ascent, with wrong answers learned instead, and held to the original on the retain set."""

from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.methods import method
from unlearnkit.methods.text_losses import Batch, Epochs, Rate, minimise_on_pairs, text_request
from unlearnkit.texts.tokens import Tokens

SOURCE = "Yao et al. 2023, arXiv 2310.10683"


def mismatched(batch: Tokens, answers: list[list[int]], context: int | None, seed: int, *labels: object) -> Tokens:
    """The same questions, each with a random one of `answers` that is not its own and fits into `context` tokens.

    Raises BadValue if there is none.
    """
    g, drawn = generator(seed, "mismatch", *labels), []
    for start, own in zip(batch.start.tolist(), batch.answers()):
        order = torch.randperm(len(answers), generator=g).tolist()
        fits = (answers[i] for i in order if answers[i] != own and (not context or start + len(answers[i]) <= context))
        if (chosen := next(fits, None)) is None:
            raise BadValue(
                "ga_mismatch: no retained answer is wrong for each question and short enough: retain more pairs, or train "
                "with a larger context"
            )
        drawn.append(chosen)
    return batch.answered(drawn)


@method("ga_mismatch", source=SOURCE, domains=("text",))
def ga_mismatch(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    forget_weight: Annotated[float, SOURCE] = 0.5,
    mismatch_weight: Annotated[float, SOURCE] = 1.0,
    retain_weight: Annotated[float, SOURCE] = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise -NLL_F + NLL of random wrong answers to the questions of F + KL(original || model) on R, weighted.

    A wrong answer is that of a retained pair, drawn at each step; R stands for the general text of the paper. An epoch
    is a pass over F. Raises BadValue if no wrong answer fits.
    """
    answers = text_request("ga_mismatch", request, device).retain.answers()

    def loss(net, reference, forget, kept, step):
        wrong = mismatched(forget, answers, getattr(model, "context", None), seed, step)
        away, toward = request.losses(net, forget).mean(), request.losses(net, wrong).mean()
        return mismatch_weight * toward - forget_weight * away

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("ga_mismatch", model, request, loss, retain="kl", retain_weight=retain_weight, **steps)
