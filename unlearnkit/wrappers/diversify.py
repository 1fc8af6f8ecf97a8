"""diversify: forget each question in other words, too."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import nn

from data_builders.texts.reframe import reframed
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokens import Tokens
from unlearnkit.wrappers import wrapper


def reworded(request: TextRequest, n: int, context: int | None, seed: int) -> Tokens:
    """For each pair to be forgotten, n drawn rewordings of its question, or as many as exist and fit into `context`
    tokens, each with the pair's answer."""
    prompts, answers = [], []
    questions = request.tokenizer.questions(request.forget.prompts())
    for row, (question, answer) in enumerate(zip(questions, request.forget.answers())):
        rewordings = request.tokenizer.prompts(reframed(question))
        order = torch.randperm(len(rewordings), generator=generator(seed, "diversify", row)).tolist()
        fit = [rewordings[i] for i in order if not context or len(rewordings[i]) + len(answer) <= context][:n]
        prompts += fit
        answers += [answer] * len(fit)
    return Tokens.of(prompts, answers).to(request.forget.ids.device)


@wrapper("diversify", source="ours; P1 (arXiv 2601.06938) explores solutions that we do not know", domains=("text",))
def diversify(
    base: Callable[..., nn.Module],
    model: nn.Module,
    request: TextRequest,
    *,
    seed: int,
    device: str = "auto",
    rewordings: Annotated[int, "ours: as many as `expand` looks for"] = 10,
) -> nn.Module:
    """Add rewordings of its questions to the forget set, in frames ("Do you know the answer to this: ...?") and with
    their answers. The retain set stays as it is, and no retained pair is looked at.

    Frames know no synonyms. The paraphrases of `fictional` are made with the same frames, among others: there the
    wrapper has knowledge that it would elsewhere have to guess. Raises BadValue for fewer than 0 rewordings.
    """
    if rewordings < 0:
        raise BadValue(f"diversify: rewordings is 0 or more, got {rewordings}")
    more = reworded(request, rewordings, getattr(model, "context", None), seed)
    return base(model, replace(request, forget=request.forget.joined(more)), seed=seed, device=device)
