"""MUDA: what is to be forgotten is moved to where the features of all else lie, in turns with repair."""

import copy
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.alignment import ENERGY, alignment_loss, directions
from unlearnkit.core.compute import autocast, generator
from unlearnkit.core.divergence import kl
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import BATCH, DOMAINS, OURS, Search, method
from unlearnkit.methods.bad_teacher import teacher_log_probs
from unlearnkit.texts.models import LanguageModel, pooled

PAPER = "Seo et al. 2025 (MUDA), arXiv 2407.17710"
LEAST = 128  # forget samples in a batch: a moment of fewer is mostly noise; ours
# Adam's rate is fine-tuning's; a softmax over a thousand tokens is flattened sooner than one over ten classes: at 4 a token
# of probability 0.99 would keep 0.02, at 2 it keeps about a quarter
TEXT = {"lr": 1e-3, "temperature": 2.0}

Distillation = Literal["auto", "masked", "tempered", "none"]


def distilled(teacher: nn.Module, request: Request, distillation: Distillation, temperature: float) -> Tensor | None:
    """What the student is to say of the forget set, log-probabilities (n, classes), of texts (answer tokens, vocabulary);
    None for "none".

    "masked": the teacher's softmax with the true class at -inf, and with all classes of which nothing stays, so that one
    of them is not taken for another. "tempered": the teacher's softmax at the temperature, which is less sure. "auto":
    masked where whole classes go, where their samples must get other labels, and tempered where single samples go, most
    of which keep theirs. Texts have no classes: of them single samples go, and "masked" forbids each token of an answer in
    its place.
    """
    if distillation == "auto":
        distillation = "masked" if request.whole_classes else "tempered"
    if distillation == "none":
        return None
    if distillation == "tempered":
        return teacher_log_probs(request, teacher, request.forget, temperature)
    said = teacher_log_probs(request, teacher, request.forget, 1.0)
    gone = torch.zeros_like(said, dtype=torch.bool).scatter_(1, request.forget.y[:, None], True)
    gone[:, request.whole_classes] = True
    return said.masked_fill(gone, -torch.inf).log_softmax(-1)


def seen(request: Request, net: nn.Module, batch) -> tuple[Tensor, Tensor]:
    """Logits, and features (n, width) with their gradients, from one pass: of texts the logits of answer tokens, and the
    mean over each answer of the hidden states that they are made of, which are the features that metrics judge."""
    if not isinstance(net, LanguageModel):
        return request.outputs(net, batch)
    with autocast(batch.ids.device, getattr(request.recipe, "precision", "fp32")):
        logits, hidden = net.outputs(batch)
    return logits.float(), pooled(batch, hidden.float())


@torch.no_grad()
def features(request: Request, net: nn.Module, samples) -> Tensor:
    """Features of all samples, (n, width), in eval mode, which the net is then out of again if it was."""
    if not isinstance(net, LanguageModel):
        return request.features(net, samples)
    was_training = net.training
    net.eval()
    found = [seen(request, net, samples[i : i + 64])[1] for i in range(0, len(samples), 64)]
    net.train(was_training)
    return torch.cat(found)


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
    forget_batch: Annotated[int, "ours: a moment of fewer samples is mostly noise"] = LEAST,
    batch_size: Annotated[int, BATCH] = 64,
) -> nn.Module:
    """Rounds of two phases. Forget: `forget_epochs` passes over F that minimise KL(what is distilled || student) +
    weight L_DA, where L_DA = -DA(F | R)^2 (unlearnkit.core.alignment). Recover: `recover_epochs` passes of l over R, or over a
    drawn share of it, the only retained samples that are ever used. With alternate=False each step over R has both losses.

    U, the main directions of R, is taken anew at the start of each round from the same `held` retained samples; rank,
    energy and centred are its. F is passed over in batches of `forget_batch` or a little more, or whole where it is smaller,
    in eval mode: the statistics of a batch of F alone are not those that features are judged by. Each phase has an optimiser
    of its own: momentum gathered in forgetting would go on in recovery. Of texts a feature is an answer's (`seen`), what is
    distilled is each of its tokens, and the steps are Adam's.

    Raises BadValue for less than one round, a forget_batch below 128, a share outside 0 to 1, a rank beyond the features or
    the held samples, and a loss without either part; NonFiniteLoss if the retain set's features have become 0.
    """
    if rounds < 1:
        raise BadValue(f"muda: at least one round is needed, got {rounds}")
    if forget_batch < LEAST:
        raise BadValue(
            f"muda: forget_batch is at least {LEAST}, since a moment of fewer samples is mostly noise, got {forget_batch}; "
            "a forget set that is smaller is taken whole"
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
    some = torch.randperm(len(request.retain), generator=generator(seed, "retain"))
    kept = request.retain[some[: max(round(retain_share * len(some)), 1)].to(where)]
    said = distilled(copy.deepcopy(model).to(where).eval(), request, distillation, temperature)

    def forgetting(net: nn.Module, rows: Tensor, main: Tensor | None) -> Tensor:
        net.eval()
        logits, found = seen(request, net, request.forget[rows])
        net.train()
        # without distillation a gradient of 0 for the head: torch's fused SGD wants the momentum of all weights at once
        loss = (
            0.0 * logits.sum()
            if said is None
            else kl(said[request.forget.label_index(rows)], logits.log_softmax(-1)).mean()
        )
        return loss if main is None else loss + weight * alignment_loss(found, main, centred=centred).float()

    def forget(net: nn.Module, turn: int, laps: Iterable[int]) -> Iterator[Tensor]:
        main = None
        if weight:
            main = directions(features(request, net, kept[:held]), energy=energy, rank=rank, centred=centred)
        for lap in laps:
            order = torch.randperm(n, generator=generator(seed, "forget", turn, lap)).to(where)
            for rows in order.tensor_split(max(n // forget_batch, 1)):
                yield forgetting(net, rows, main)

    def recover(net: nn.Module, turn: int) -> Iterator[Tensor]:
        for epoch in range(recover_epochs):
            for batch in kept.batches(batch_size, seed, "recover", turn, epoch):
                yield request.losses(net, batch).mean()

    def losses(net: nn.Module) -> Iterator[Tensor | None]:
        for turn in range(rounds):
            if alternate:
                yield None
                yield from forget(net, turn, range(forget_epochs))
                yield None
                yield from recover(net, turn)
            else:  # recovery first: its pass moves the running statistics, which the other must not see halfway
                yield from (loss + away for loss, away in zip(recover(net, turn), forget(net, turn, count())))

    try:
        return minimise(model, losses, lr=lr, device=device)
    except NotApplicable as error:
        raise NonFiniteLoss(f"muda: {error}") from error
