"""What a language model answers: the likeliest token each time, until it ends its answer."""

from functools import partial

import torch
from torch import Tensor

from unlearnkit.texts.models import LanguageModel
from unlearnkit.texts.parallel import each
from unlearnkit.texts.tokens import Tokens

AT_ONCE = 128  # prompts: with more, what is kept of each layer leaves a processor's cache


def generate(
    model: LanguageModel, tokens: Tokens, end: int, *, most: int, context: int, device: str = "auto"
) -> list[list[int]]:
    """The answer that `model` gives to the prompt of each sample, token ids without the end token.

    most: tokens of an answer, at most, and no more than the context has left after the prompt; end: the id of the end
    token. Prompts of about one length are answered together, padded on the left, where nothing looks; each layer's keys and
    values of what was read are kept. The sampling settings that come with a pretrained model are not looked at.
    """
    batches = tokens.start.argsort(stable=True).split(AT_ONCE)
    work = partial(_answered, end=end, most=most, context=context)
    found = each(model, [tokens[rows] for rows in batches], work, device=device)
    answers: list[list[int]] = [[] for _ in range(len(tokens))]
    for rows, said in zip(batches, found, strict=True):
        for row, ids in zip(rows.tolist(), said.tolist()):
            ids = ids[: max(context - int(tokens.start[row]), 0)]
            answers[row] = ids[: ids.index(end)] if end in ids else ids
    return answers


@torch.inference_mode()
def _answered(net: LanguageModel, batch: Tokens, end: int, most: int, context: int) -> Tensor:
    """(n, tokens) that follow the prompts: up to where the last of them ends; what follows an end token means nothing."""
    longest = int(batch.start.max()) if len(batch) else 0
    column = torch.arange(longest, device=batch.ids.device) - (longest - batch.start)[:, None]  # below 0: padding
    place = column.clamp(min=0)
    there = (column >= 0).long()
    read = batch.ids.long().gather(1, place) * there
    said: list[Tensor] = []
    ended, kept = batch.start >= context, None
    while len(said) < most and not ended.all():
        out = net.net(input_ids=read, attention_mask=there, position_ids=place, past_key_values=kept, use_cache=True)
        kept, token = out.past_key_values, out.logits[:, -1].float().argmax(-1)
        said.append(token)
        ended = ended | (token == end) | (batch.start + len(said) >= context)
        read, place = token[:, None], (place[:, -1:] + 1).clamp(max=context - 1)
        there = torch.cat([there, there.new_ones(len(batch), 1)], 1)
    return torch.stack(said, 1).cpu() if said else read[:, :0].cpu()
