"""The replies of an instruction model to prompts: what makes paraphrases in data_builders.texts.paraphraser."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from data_builders.texts.paraphraser import Generate
from unlearnkit.core.compute import derive, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.texts.chat import of_pretrained
from unlearnkit.texts.pretrained import HF, read
from unlearnkit.texts.tokenizer import Tokenizer


def instruction_model(
    name: str,
    *,
    device: str = "auto",
    temperature: float = 1.0,
    lines: bool = False,
    max_new_tokens: int = 60,
    batch_size: int = 50,
    precision: str = "bf16",
    seed: int = 0,
) -> Generate:
    """A function from n prompts to n replies, sampled by a model of transformers', each batch with its own seed.

    name: "hf:NAME_OR_PATH" (unlearnkit.texts.pretrained), say "hf:smollm2"; precision: of its weights, "bf16" or
    "fp32". Prompts are put to it by its chat template, in which a control token's name is text; lines: they are instead
    gone on with, up to the end of the line. Raises BadValue for a model that cannot be read, and for one without a chat
    template.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = name.removeprefix(HF)
    theirs = read(AutoTokenizer, name)
    if not lines and not getattr(theirs, "chat_template", None):
        raise BadValue(f"{HF}{name} has no chat template: paraphrases need a model that follows instructions")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = read(AutoModelForCausalLM, name, use_safetensors=True, dtype=dtype).to(resolve_device(device)).eval()
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "max_new_tokens": max_new_tokens}
    if lines:
        sampling |= {"stop_strings": ["\n"], "tokenizer": theirs}
    tokenizer = replace(of_pretrained(theirs, "{question}\n"), after="") if lines else of_pretrained(theirs)
    calls = 0

    def generate(prompts: list[str]) -> list[str]:
        nonlocal calls
        replies: list[str] = []
        for start in range(0, len(prompts), batch_size):
            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(derive(seed, "paraphraser", calls))
                batch = prompts[start : start + batch_size]
                replies += _replies(partial(model.generate, **sampling), tokenizer, batch, model.device)
            calls += 1
        return replies

    return generate


def _replies(sample, tokenizer: Tokenizer, prompts: list[str], device) -> list[str]:
    """One reply to each prompt; these are padded on the left."""
    encoded = tokenizer.prompts(prompts)
    longest = max(map(len, encoded))
    ids = torch.full((len(encoded), longest), tokenizer.end, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(encoded):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    inputs: dict[str, Tensor] = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    out = sample(**inputs, eos_token_id=tokenizer.end, pad_token_id=tokenizer.end)
    return [tokenizer.decode(row) for row in out[:, longest:].tolist()]
