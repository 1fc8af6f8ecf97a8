"""A language model's own answers: the likeliest token each time, until the end token."""

from functools import partial

import torch
from torch import Tensor

from unlearnkit.texts.models import LanguageModel
from unlearnkit.texts.outputs import map_batches
from unlearnkit.texts.tokens import Tokens

BATCH_PROMPTS = 128  # with more, what is cached of each layer leaves a processor's cache


def generate(
    model: LanguageModel, tokens: Tokens, end: int, *, most: int, context: int, device: str = "auto"
) -> list[list[int]]:
    """The answer that `model` gives to the prompt of each sample, token ids without the end token.

    most: tokens of an answer, at most, and no more than the context has left after the prompt; end: the id of the end
    token. Prompts of about one length are answered together, padded on the left, where nothing looks; each layer's keys
    and values of earlier tokens are cached. The sampling settings that come with a pretrained model are not used.
    """
    batches = tokens.start.argsort(stable=True).split(BATCH_PROMPTS)
    answer = partial(_answer_batch, end=end, most=most, context=context)
    generated = map_batches(model, [tokens[rows] for rows in batches], answer, device=device)
    answers: list[list[int]] = [[] for _ in range(len(tokens))]
    for rows, batch in zip(batches, generated, strict=True):
        for row, ids in zip(rows.tolist(), batch.tolist()):
            ids = ids[: max(context - int(tokens.start[row]), 0)]
            answers[row] = ids[: ids.index(end)] if end in ids else ids
    return answers


@torch.inference_mode()
def _answer_batch(net: LanguageModel, batch: Tokens, end: int, most: int, context: int) -> Tensor:
    """(n, tokens) that follow the prompts, until the last of them ends; what follows an end token has no meaning."""
    longest = int(batch.start.max()) if len(batch) else 0
    column = torch.arange(longest, device=batch.ids.device) - (longest - batch.start)[:, None]  # below 0: padding
    positions = column.clamp(min=0)
    mask = (column >= 0).long()
    ids = batch.ids.long().gather(1, positions) * mask
    generated: list[Tensor] = []
    ended, cached = batch.start >= context, None
    while len(generated) < most and not ended.all():
        out = net.net(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cached, use_cache=True
        )
        cached, token = out.past_key_values, out.logits[:, -1].float().argmax(-1)
        generated.append(token)
        ended = ended | (token == end) | (batch.start + len(generated) >= context)
        ids, positions = token[:, None], (positions[:, -1:] + 1).clamp(max=context - 1)
        mask = torch.cat([mask, mask.new_ones(len(batch), 1)], 1)
    return torch.stack(generated, 1).cpu() if generated else ids[:, :0].cpu()
