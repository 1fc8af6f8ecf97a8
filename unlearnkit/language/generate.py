"""What a language model answers: the likeliest token each time, until it ends its answer."""

from itertools import groupby

import torch
from torch import Tensor

from unlearnkit.language.models import LanguageModel
from unlearnkit.language.tokens import Tokens
from unlearnkit.language.workers import each

AT_ONCE = 128  # prompts: with more of one length, what is kept of each layer leaves a processor's cache


def generate(
    model: LanguageModel, tokens: Tokens, end: int, *, most: int, context: int, device: str = "auto"
) -> list[list[int]]:
    """The answer that `model` gives to the prompt of each sample, token ids without the end token.

    most: tokens of an answer, at most, and no more than the context has left after the prompt; end: the id of the end
    token. Prompts of one length are answered together, so that there is nothing to pad; each layer's keys and values of
    what was read are kept. The sampling settings that come with a pretrained model are not looked at.
    """
    length = tokens.start.tolist()
    order = sorted(range(len(tokens)), key=length.__getitem__)
    batches = []
    for same, group in groupby(order, key=length.__getitem__):
        rows = torch.tensor([*group])
        batches += [(part, tokens.ids[part, :same].long()) for part in rows.split(AT_ONCE)]
    found = each(
        model, [ids for _, ids in batches], lambda net, ids: _answered(net, ids, end, most, context), device=device
    )
    answers: list[list[int]] = [[] for _ in order]
    for (rows, _), said in zip(batches, found, strict=True):
        for row, ids in zip(rows.tolist(), said.tolist()):
            answers[row] = ids[: ids.index(end)] if end in ids else ids
    return answers


@torch.inference_mode()
def _answered(net: LanguageModel, prompt: Tensor, end: int, most: int, context: int) -> Tensor:
    """(n, tokens) that follow prompts of one length, (n, length): up to where the last of them ends."""
    said: list[Tensor] = []
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    read, kept = prompt, None
    while len(said) < min(most, context - prompt.shape[1]) and not ended.all():
        out = net.net(input_ids=read, past_key_values=kept, use_cache=True)
        kept, token = out.past_key_values, out.logits[:, -1].float().argmax(-1)
        ended |= token == end
        said.append(token)
        read = token[:, None]
    return torch.stack(said, 1).cpu() if said else prompt[:, :0].cpu()
