"""Gradient ascent, wrong answers in place of the forgotten ones, and the original's word on everything else."""

from typing import Annotated

import torch
from torch import nn

from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import method
from unlearnkit.methods.text_losses import Batch, Epochs, Rate, frozen, kl_to, paired, texts
from unlearnkit.texts.tokens import Tokens

SOURCE = "Yao et al. 2023, arXiv 2310.10683"


def mismatched(batch: Tokens, answers: list[list[int]], most: int | None, seed: int, *labels: object) -> Tokens:
    """The same questions, each with one of `answers` at random, other than its own and no longer than fits `most` tokens.

    Raises BadValue where there is none.
    """
    g, drawn = generator(seed, "mismatch", *labels), []
    for start, own in zip(batch.start.tolist(), batch.answers()):
        order = torch.randperm(len(answers), generator=g).tolist()
        fits = (answers[i] for i in order if answers[i] != own and (not most or start + len(answers[i]) <= most))
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

    A wrong answer is that of a retained pair, drawn for each step; R stands for the general text of the paper. An epoch is a
    pass over F. Raises BadValue where no wrong answer fits.
    """
    request = texts("ga_mismatch", request, device)
    reference, answers = frozen(model, request), request.retain.answers()  # type: ignore[attr-defined]

    def losses(net):
        for step, (gone, stays) in enumerate(paired(request, epochs, batch_size, seed)):
            wrong = mismatched(gone, answers, getattr(model, "context", None), seed, step)
            away, new = request.losses(net, gone).mean(), request.losses(net, wrong).mean()
            held = kl_to(request, net, reference, stays)
            yield retain_weight * held + mismatch_weight * new - forget_weight * away

    return minimise(model, losses, lr=lr, device=device)
