"""A caller's causal language model of transformers', and its question-answer pairs."""

import copy
from dataclasses import replace
from functools import partial

from torch import nn

from data_builders.texts.task import Texts
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.texts.chat import check_prompt, of_pretrained
from unlearnkit.texts.models import LanguageModel
from unlearnkit.texts.tokenizer import QUESTION, Tokenizer
from unlearnkit.texts.tokens import Tokens


class YourLanguageModel(LanguageModel):
    """A caller's causal model, as methods see it. net: a copy."""

    def __init__(self, net: nn.Module):
        nn.Module.__init__(self)
        self.make, self.grey, self.net = partial(_anew, type(net), copy.deepcopy(net.config)), False, net
        self.adapted = any("lora_" in name for name, _ in net.named_parameters())


def _anew(kind: type, config) -> nn.Module:
    """An untrained model of the same architecture."""
    if not hasattr(kind, "_from_config"):
        raise NotApplicable(f"this draws the weights of the model anew, which a {kind.__name__} does not offer")
    return kind._from_config(copy.deepcopy(config))


def is_texts(data) -> bool:
    """Whether these are question-answer pairs: texts, or rows that hold two texts."""
    if isinstance(data, Texts):
        return True
    if not isinstance(data, list | tuple) or not data:
        return False
    first = list(data[0].values()) if isinstance(data[0], dict) else data[0]
    return isinstance(first, list | tuple) and bool(first) and all(isinstance(v, str) for v in first)


def read_pairs(data, name: str) -> Texts:
    """Texts of (question, answer) pairs, or of dicts with `question` and `answer`. Raises BadValue for anything else
    and for an empty set; name: what the caller calls it."""
    if isinstance(data, Texts):
        pairs = list(data)
    elif not isinstance(data, list | tuple):
        raise BadValue(f"{name} must be a list of (question, answer) pairs, as forget is, got {type(data).__name__}")
    else:
        pairs = []
        for row, item in enumerate(data):
            pair = (item.get("question"), item.get("answer")) if isinstance(item, dict) else item
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(v, str) for v in pair)):
                raise BadValue(f"{name}[{row}] must be a pair (question, answer) of texts, got {item!r:.80}")
            if not all(v.strip() for v in pair):
                raise BadValue(f"{name}[{row}] has an empty {'answer' if pair[0].strip() else 'question'}")
            pairs.append(pair)
    if not pairs:
        raise BadValue(f"{name} is empty: at least one pair is needed")
    return Texts(*zip(*pairs))


def check_disjoint(a: Texts, b: Texts, names: tuple[str, str], advice: str) -> None:
    """Raises BadValue, naming a pair, if one is in both, word by word."""
    rows = {pair: row for row, pair in enumerate(b)}
    if shared := [(row, rows[pair]) for row, pair in enumerate(a) if pair in rows]:
        raise BadValue(
            f"{len(shared)} of {len(a)} pairs of {names[0]} are in {names[1]}, too: {names[0]}[{shared[0][0]}] is "
            f"{names[1]}[{shared[0][1]}]. {advice}"
        )


def tokenizer_of(tokenizer, prompt: str | None) -> Tokenizer:
    """The caller's tokenizer, checked. prompt: as of unlearnkit.texts.chat.of_pretrained. Raises BadValue without a
    tokenizer, and for a prompt without its question."""
    if tokenizer is None:
        raise BadValue("question-answer pairs need the tokenizer of your model: pass tokenizer=")
    if prompt is not None:
        check_prompt(prompt)
    if isinstance(tokenizer, Tokenizer):
        if prompt is None:
            return tokenizer
        before, _, after = prompt.partition(QUESTION)
        return replace(tokenizer, before=before, after=after, lead="" if prompt[-1:].isspace() else " ")
    if not hasattr(tokenizer, "eos_token_id"):
        raise BadValue(f"tokenizer must be one of transformers', got {type(tokenizer).__name__}")
    return of_pretrained(tokenizer, prompt)


def language_model(model: nn.Module, tokenizer: Tokenizer, name: str = "model") -> YourLanguageModel:
    """A copy, all of whose weights may move, or its LoRA adapters alone if it has some.

    Raises BadValue if it is no causal language model of transformers', or does not belong to the tokenizer.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    config = getattr(model, "config", None)
    if head is None or config is None or getattr(config, "is_encoder_decoder", False):
        raise BadValue(
            f"{name} is a {type(model).__name__}: question-answer pairs need a causal language model of transformers"
        )
    if tokenizer.size > (rows := model.get_input_embeddings().num_embeddings):
        raise BadValue(
            f"the tokenizer has {tokenizer.size} tokens and {name} embeds {rows}: they do not belong together"
        )
    return YourLanguageModel(copy.deepcopy(model)).requires_grad_().eval()


def tokens(texts: Texts, tokenizer: Tokenizer, context: int | None, name: str) -> Tokens:
    """Tokens of all pairs. Raises BadValue, naming the pair, for one longer than the model's context."""
    prompts, answers = tokenizer.prompts(texts.question), tokenizer.answers(texts.answer)
    lengths = [len(p) + len(a) for p, a in zip(prompts, answers)]
    if context and max(lengths) > context:
        row = lengths.index(max(lengths))
        raise BadValue(
            f"{name}[{row}] takes {lengths[row]} tokens, and the context of your model is {context}: shorten the pair, or "
            "leave it out"
        )
    return Tokens.of(prompts, answers)
