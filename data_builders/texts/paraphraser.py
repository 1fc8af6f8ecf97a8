"""Paraphrases by an instruction model: many are tried, and those that are similar enough and new are kept.

P1 [digest]: llama2-uncensored, 100 tried and 50 kept for each target. The prompt, the threshold and its measure are
ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from data_builders.texts.given_paraphrases import GivenParaphrases, distinct
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import embedding_cosine
from data_builders.texts.words import words
from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue, UnlearnkitError

TRIED, KEPT = 100, 50  # P1 [digest]
THRESHOLD = 0.8  # cosine of embeddings below which a paraphrase is taken to mean something else; ours
PROMPT = (
    "Rewrite the following {side} in other words. Keep its meaning and every name, number and title; change the order "
    "of words and the length. Reply with the rewritten {side} only.\n\n{text}"
)

Generate = Callable[[list[str]], list[str]]  # n prompts -> n replies
Similar = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # n texts, n paraphrases -> (n,)


def with_model_paraphrases(
    raw: RawTexts,
    generate: Generate,
    rows: Sequence[int],
    *,
    name: str = "model",
    sides: Sequence[str] = ("question",),
    tried: int = TRIED,
    kept: int = KEPT,
    threshold: float = THRESHOLD,
    similar: Similar = embedding_cosine,
) -> RawTexts:
    """`raw` with `kept` paraphrases of each pair in `rows`, which become its only possible targets.

    generate: see `instruction_model`; similar: the measure that `threshold` applies to. An answer's paraphrase must
    contain its fact, if the pair has one. Raises BadValue, naming pair and number, for fewer paraphrases than `kept`.
    """
    if not (1 <= kept <= tried):
        raise BadValue(f"kept must be from 1 to tried={tried}, got {kept}")
    if extra := [s for s in sides if s not in ("question", "answer")] or not sides:
        raise BadValue(f"sides are 'question' and 'answer', got {extra if sides else 'none'}")
    if missing := [row for row in rows if not 0 <= row < len(raw.train)]:
        raise BadValue(f"there is no pair {missing[0]}: rows are 0 to {len(raw.train) - 1}")
    lists: dict[str, list[Sequence[str]]] = {side: [()] * len(raw.train) for side in ("question", "answer")}
    for row in rows:
        for side in sides:
            text = getattr(raw.train, side)[row]
            fact = raw.train.fact[row] if side == "answer" else ""
            accepted = accepted_paraphrases(text, side, generate, tried, threshold, similar, fact)
            if len(accepted) < kept:
                raise BadValue(
                    f"{name}: {len(accepted)} different paraphrases came of {tried} tried for the {side} of pair {row} "
                    f"({text!r}), {kept} are needed: try more, lower the threshold of {threshold:g}, raise the model's "
                    "temperature, or keep fewer"
                )
            lists[side][row] = accepted[:kept]
    return replace(raw, rewriter=GivenParaphrases(raw.train, lists["question"], lists["answer"], name=name))


def accepted_paraphrases(
    text: str, side: str, generate: Generate, tried: int, threshold: float, similar: Similar, fact: str = ""
) -> list[str]:
    """Of `tried` replies those that are new, contain the fact, and are at least `threshold` similar to the text."""
    replies = generate([PROMPT.format(side=side, text=text)] * tried)
    if len(replies) != tried:
        raise BadValue(f"generate must return a reply per prompt: got {len(replies)} for {tried}")
    new = [reply for reply in distinct([clean_reply(r) for r in replies], [text]) if fact.lower() in reply.lower()]
    scores = similar([text] * len(new), new) if new else []
    return [reply for reply, score in zip(new, scores, strict=True) if score >= threshold]


def clean_reply(reply: str) -> str:
    """The first line that has words, without a label before it ("Question:") and quotes around it."""
    lines = [line.strip() for line in reply.splitlines() if words(line)]
    if len(lines) > 1 and lines[0].endswith(":"):  # "Here is the rewritten question:"
        lines = lines[1:]
    if not lines:
        return ""
    label, colon, rest = lines[0].partition(":")
    text = (
        rest if colon and len(words(label)) <= 2 and label.split()[-1].lower() in ("question", "answer") else lines[0]
    )
    return text.strip().strip("\"'“”*").strip()


def instruction_model(
    name: str,
    *,
    device: str | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 80,
    batch_size: int = 16,
    seed: int = 0,
) -> Generate:
    """The replies of an instruction model, run by transformers, an optional extra; name: its name on the hub, or a
    folder.

    Sampled at `temperature`, each batch with its own seed. Raises UnlearnkitError if the library is not installed, or
    the model is not here and cannot be downloaded, and BadValue for a model without a chat template.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise UnlearnkitError(
            "paraphrases by a model need transformers, which is not installed: pip install transformers"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(name, torch_dtype="auto").eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UnlearnkitError(
            f"the model {name!r} is not here and cannot be downloaded: connect to the network once, or name a folder "
            f"that holds it. The library said: {' '.join(str(error).split())[:300]}"
        ) from error
    if not getattr(tokenizer, "chat_template", None):
        raise BadValue(f"{name!r} has no chat template: paraphrases need a model that follows instructions")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    model = model.to(device) if device else model
    calls = 0

    def generate(prompts: list[str]) -> list[str]:
        nonlocal calls
        replies = []
        for start in range(0, len(prompts), batch_size):
            chats = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + batch_size]]
            texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
            batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(derive(seed, "paraphraser", calls))
                ids = model.generate(**batch, do_sample=True, temperature=temperature, max_new_tokens=max_new_tokens,
                                     pad_token_id=tokenizer.pad_token_id)  # fmt: skip
            replies += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            calls += 1
        return replies

    return generate
