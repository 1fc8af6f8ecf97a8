"""A language model's own answers against the true ones: greedy, up to the end token (unlearnkit.texts.generate)."""

from statistics import harmonic_mean

import torch
from torch import Tensor

from data_builders.texts.similarity import char_cosine, rouge_l_recall
from unlearnkit.metrics import metric
from unlearnkit.metrics.likelihoods import TOFU, by_group
from unlearnkit.texts.outputs import TextOutputs, states


def recall(outputs: TextOutputs) -> Tensor:
    """ROUGE-L recall of the generated answers, (n,): the share of the true answer's words in them, in order."""
    return torch.from_numpy(rouge_l_recall(outputs.answer, outputs.generations)).double()


@metric("ROUGE-L", direction="gap", unit="recall", needs=("generation",), domains=("text",), source="Lin 2004; TOFU")
def rouge(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """ROUGE-L recall of the generated answer, mean over each group: the share of the true answer's words in it."""
    return by_group(outputs, outputs.once(recall))


@metric("cosine", direction="gap", unit="cosine", needs=("generation",), domains=("text",), source="ours")
def cosine(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """Cosine of the letter 3-gram counts of generated and true answer, mean over each group: it replaces an embedding
    where no model can be downloaded."""
    return by_group(outputs, torch.from_numpy(char_cosine(outputs.answer, outputs.generations)).double())


@metric(
    "embedding-cosine",
    direction="gap",
    unit="cosine",
    needs=("embedding",),
    domains=("text",),
    source="BAAI/bge-small-en-v1.5, arXiv 2309.07597; the family is linked to P1 [digest]",
)
def sentence_cosine(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """Cosine of the sentence embeddings of generated and true answer, mean over each group."""
    return by_group(outputs, outputs.answer_similarity.double())


@metric("fact-accuracy", direction="gap", unit="fraction", needs=("generation",), domains=("text",), source="ours")
def fact_accuracy(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """Share of generated answers that state their fact, of those that have one; other words do not count."""
    pairs = zip(outputs.generations, outputs.fact, strict=True)
    return by_group(outputs, torch.tensor([float(states(s, f)) if f else torch.nan for s, f in pairs]))


@metric(
    "model-utility",
    direction="higher",
    unit="harmonic mean",
    needs=("generation",),
    domains=("text",),
    source=f"{TOFU}; its held-out groups are real authors and world facts",
)
def model_utility(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """Harmonic mean of probability, ROUGE-L recall and max(0, 1 - truth ratio) of the other retained pairs, which all
    models are trained on, and of the test pairs; 0 if one of the six is. On test pairs about people who are in no
    training set it measures guessing."""
    ratio = outputs.log_truth_ratio.exp()
    parts = [by_group(outputs, v) for v in (outputs.probability, outputs.once(recall), (1 - ratio).clamp(min=0))]
    return {"all": harmonic_mean([part[g] for part in parts for g in ("filler", "test") if g in part])}
