"""MUDA: move the features of the forget set to where those of the retain set lie, alternating with repair."""

import copy
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.alignment import ENERGY, alignment_loss, directions
from unlearnkit.core.compute import generator
from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, OURS, Search, method
from unlearnkit.methods.bad_teacher import teacher_log_probs

PAPER = "Seo et al. 2025 (MUDA), arXiv 2407.17710"
MIN_BATCH = 128  # forget samples in a batch: a moment of fewer is mostly noise; ours
# the rate is that of fine-tuning with Adam; temperature flattens a softmax over a thousand tokens sooner than one over ten
# classes: at 4 a token of probability 0.99 would keep 0.02, at 2 it keeps about a quarter
TEXT = {"lr": 1e-3, "temperature": 2.0}

Distillation = Literal["auto", "masked", "tempered", "none"]


def distilled(teacher: nn.Module, request: Request, distillation: Distillation, temperature: float) -> Tensor | None:
    """The distillation target of the forget set: log-probabilities, (n, classes), for texts (answer tokens,
    vocabulary); None for "none".

    "masked": the teacher's softmax with the true class at -inf, and with all classes to be forgotten as a whole, so
    that one is not taught in place of another. "tempered": the teacher's softmax at the temperature, which is less
    confident. "auto": masked if whole classes are forgotten, whose samples must get other labels; tempered if single
    samples are, most of which keep theirs. Texts have no classes, so that "auto" is tempered; "masked" forbids each
    token of an answer at its position.
    """
    if distillation == "auto":
        distillation = "masked" if request.whole_classes else "tempered"
    if distillation == "none":
        return None
    if distillation == "tempered":
        return teacher_log_probs(request, teacher, request.forget, temperature)
    log_probs = teacher_log_probs(request, teacher, request.forget, 1.0)
    forbidden = torch.zeros_like(log_probs, dtype=torch.bool).scatter_(1, request.forget.y[:, None], True)
    forbidden[:, request.whole_classes] = True
    return log_probs.masked_fill(forbidden, -torch.inf).log_softmax(-1)


@method("muda", source=f"{PAPER}; self-distillation, weights, phases, texts: ours", domains=DOMAINS, text=TEXT)
def muda(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    rounds: Annotated[int, Search(1, 10), OURS] = 5,
    lr: Annotated[float, Search(1e-3, 0.2, log=True), "ours: that of fine-tuning"] = 0.01,
    weight: Annotated[float, Search(0.1, 10.0, log=True), OURS] = 1.0,
    distillation: Annotated[Distillation, OURS] = "auto",
    temperature: Annotated[float, Search(1.0, 8.0, log=True), OURS] = 4.0,
    forget_epochs: Annotated[int, OURS] = 5,
    recover_epochs: Annotated[int, OURS] = 1,
    alternate: Annotated[bool, f"{PAPER}: forgetting and recovery alternate"] = True,
    retain_share: Annotated[float, "ours; that few retained samples suffice is said of the paper by a digest"] = 1.0,
    held: Annotated[int, "ours: twice the width of our features"] = 256,
    energy: Annotated[float, OURS] = ENERGY,
    rank: Annotated[int | None, "ours: by `energy`"] = None,
    centred: Annotated[bool, "ours: the formula read literally"] = False,
    forget_batch: Annotated[int, "ours: a moment of fewer samples is mostly noise"] = MIN_BATCH,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Rounds of two phases: forget by alignment and distillation, then recover on R. Forget: `forget_epochs` passes
    over F that minimise KL(distilled || student) + weight L_DA, where L_DA = -DA(F | R)^2 (unlearnkit.core.alignment).
    Recover: `recover_epochs` passes of l over R, or over a drawn share of R, whose samples are the only retained ones
    used. With alternate=False each step over R has both losses.

    U, the main directions of R, is recomputed at the start of each round from the same `held` retained samples by rank,
    energy and centred. F is passed over in batches of `forget_batch` or slightly more, or whole if it is smaller, in
    eval mode, because the running statistics of F alone are not those that features are judged by. Each phase has its
    own optimiser: momentum gathered in forgetting would go on in recovery. For texts a feature is the mean over an
    answer (`request.logits_and_features`), distillation is per token, and the steps are Adam's.

    Raises BadValue for fewer than one round, a forget_batch below 128, a share outside 0 to 1, a rank above the number
    of features or held samples, and a loss without either part; NonFiniteLoss if the retain set's features have become
    0.
    """
    if rounds < 1:
        raise BadValue(f"muda: at least one round is needed, got {rounds}")
    if forget_batch < MIN_BATCH:
        raise BadValue(
            f"muda: forget_batch is at least {MIN_BATCH}, since a moment of fewer samples is mostly noise, got "
            f"{forget_batch}; a forget set that is smaller is taken whole"
        )
    if not 0 < retain_share <= 1:
        raise BadValue(f"muda: retain_share is a share, above 0 and at most 1, got {retain_share}")
    if not temperature > 0:
        raise BadValue(f"muda: temperature is above 0, got {temperature}")
    if distillation == "none" and weight == 0:
        raise BadValue("muda: without distillation and at weight 0 nothing is forgotten: use finetune")
    request = request.to(device)
    where, n = request.forget.y.device, len(request.forget)
    if centred and n == 1:
        raise BadValue(
            "muda: a single forget sample has no covariance: use centred=False, or at least 2 forget samples"
        )
    order = torch.randperm(len(request.retain), generator=generator(seed, "retain"))
    retain = request.retain[order[: max(round(retain_share * len(order)), 1)].to(where)]
    target = distilled(copy.deepcopy(model).to(where).eval(), request, distillation, temperature)

    def forget_loss(net: nn.Module, rows: Tensor, main: Tensor | None) -> Tensor:
        net.eval()
        logits, features = request.logits_and_features(net, request.forget[rows])
        net.train()
        # without distillation a gradient of 0 for the head: torch's fused SGD wants the momentum of all weights at once
        loss = (
            0.0 * logits.sum()
            if target is None
            else kl(target[request.forget.label_index(rows)], logits.log_softmax(-1)).mean()
        )
        return loss if main is None else loss + weight * alignment_loss(features, main, centred=centred).float()

    def forget(net: nn.Module, round_: int, laps: Iterable[int]) -> Iterator[Tensor]:
        main = None
        if weight:
            main = directions(request.features(net, retain[:held]), energy=energy, rank=rank, centred=centred)
        for lap in laps:
            order = torch.randperm(n, generator=generator(seed, "forget", round_, lap)).to(where)
            for rows in order.tensor_split(max(n // forget_batch, 1)):
                yield forget_loss(net, rows, main)

    def recover(net: nn.Module, round_: int) -> Iterator[Tensor]:
        for epoch in range(recover_epochs):
            for batch in retain.batches(batch_size, seed, "recover", round_, epoch):
                yield request.losses(net, batch).mean()

    def losses(net: nn.Module) -> Iterator[Tensor | None]:
        for round_ in range(rounds):
            if alternate:
                yield None
                yield from forget(net, round_, range(forget_epochs))
                yield None
                yield from recover(net, round_)
            else:  # recovery first: its pass updates the running statistics, which the forget loss must not have read before
                yield from (loss + away for loss, away in zip(recover(net, round_), forget(net, round_, count())))

    try:
        return minimise(model, losses, lr=lr, device=device)
    except NotApplicable as error:
        raise NonFiniteLoss(f"muda: {error}") from error
