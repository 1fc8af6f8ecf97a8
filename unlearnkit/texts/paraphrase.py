"""A data set with paraphrases by a pretrained model, as P1 makes its own: a .jsonl file, which any notebook takes as its
data set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from data_builders.texts import load, user_texts
from data_builders.texts.paraphraser import EXAMPLES, KEPT, PROMPT, THRESHOLD, TRIED, Similar, with_model_paraphrases
from data_builders.texts.raw_texts import RawTexts
from data_builders.texts.similarity import embedding_cosine
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.texts.instruction_model import instruction_model


def write_paraphrases(
    dataset: str,
    out: str | Path,
    *,
    model: str = "hf:smollm2",
    pairs: int = 100,
    size: int | None = None,
    sides: Sequence[str] = ("question",),
    tried: int = TRIED,
    kept: int = KEPT,
    at_least: int | None = None,
    threshold: float = THRESHOLD,
    similar: Similar = embedding_cosine,
    examples: bool = True,
    temperature: float = 0.9,
    seed: int = 0,
    device: str = "auto",
) -> RawTexts:
    """Paraphrase a random choice of `pairs` training pairs of a data set, write its pairs to `out`, and return them.

    size: training pairs to write, those and others at random; None writes all. Twice as many paraphrased pairs as there
    are to be targets, since decoys have paraphrases, too. examples: let the model go on with a list of examples, which
    small models do better than following an instruction; similar, threshold: what is similar enough, by default the
    cosine of sentence embeddings, which needs an embedding model: char_cosine does not. Others:
    data_builders.texts.paraphraser.with_model_paraphrases. Raises BadValue for a model that cannot be read or
    repeats itself, and for more pairs than there are.
    """
    raw = load(dataset)
    size = len(raw.train) if size is None else size
    if not 1 <= pairs <= size <= len(raw.train):
        raise BadValue(
            f"pairs, {pairs}, must be 1 or more and no more than size, {size}, and that no more than the "
            f"{len(raw.train)} that {dataset} has to train on"
        )
    order = torch.randperm(len(raw.train), generator=generator(seed, "paraphrased pairs")).tolist()
    written = sorted(order[:size])
    rows = [written.index(row) for row in order[:pairs]]
    ids, subjects = ([values[row] for row in written] for values in (raw.ids, raw.subjects))
    raw = replace(raw, train=raw.train[written], ids=ids, subjects=subjects, rewriter=None)
    generate = instruction_model(model, temperature=temperature, seed=seed, device=device, lines=examples)
    options = {"tried": tried, "kept": kept, "at_least": at_least, "threshold": threshold, "similar": similar}
    prompts = EXAMPLES if examples else PROMPT
    paraphrased = with_model_paraphrases(raw, generate, rows, name=model, sides=sides, prompts=prompts, **options)
    user_texts.write(paraphrased, Path(out))
    return paraphrased
