"""What one model says of each sample of a set: its label's score, probability, and whether the label is told."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_builders.task import Samples
from unlearnkit.images.predict import map_batches
from unlearnkit.own_model.classifier import YourModel
from unlearnkit.own_model.language import YourLanguageModel
from unlearnkit.texts.outputs import score_tokens
from unlearnkit.texts.token_statistics import summed
from unlearnkit.texts.tokens import Tokens


@dataclass(frozen=True)
class Reading:
    """Of n samples, (n,) float64 each. score: z_y - logsumexp(other logits), of texts the mean log-probability of an
    answer's tokens; probability: that of the label, of texts the geometric mean over an answer's tokens; told: 1 where
    the label has the largest logit, else 0, of texts the share of an answer's tokens that do; label: (n,) int64, of
    texts all 0."""

    score: np.ndarray
    probability: np.ndarray
    told: np.ndarray
    label: np.ndarray

    def of(self, labels: np.ndarray) -> "Reading":
        """The samples that have one of these labels."""
        rows = np.isin(self.label, labels)
        return Reading(self.score[rows], self.probability[rows], self.told[rows], self.label[rows])

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.score).all())


def readings(net: YourModel | YourLanguageModel, sets: Sequence[Samples | Tokens], device: str) -> list[Reading]:
    """One pass of `net` in eval mode over all sets; it is left as it is."""
    joined = sets[0].joined(*sets[1:])
    read = _images(net, joined, device) if joined.domain == "image" else _texts(net, joined, device)
    rows = np.split(np.arange(len(joined)), np.cumsum([len(part) for part in sets])[:-1])
    return [Reading(*(column[part] for column in read)) for part in rows]


def _images(net: YourModel, samples: Samples, device: str) -> tuple[np.ndarray, ...]:
    (logits,) = map_batches(net, samples.stored, lambda net, batch: (net(batch),), device=device)
    z, y = logits.double(), samples.y[:, None]
    score = (z.gather(1, y) - z.scatter(1, y, -torch.inf).logsumexp(1, keepdim=True)).squeeze(1)
    return _arrays(score, score.sigmoid(), (logits.argmax(1) == samples.y).double(), samples.y)


def _texts(net: YourLanguageModel, samples: Tokens, device: str) -> tuple[np.ndarray, ...]:
    log_p, hit, _ = score_tokens(net, samples, device=device)
    mean, told = (summed(v, samples.count) / samples.count for v in (log_p, hit))
    return _arrays(mean, mean.exp(), told, torch.zeros(len(samples), dtype=torch.int64))


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(v.numpy() for v in tensors)


def ranks(asked: Reading, unseen: Reading) -> np.ndarray:
    """The share of unseen samples of its label that each sample's score exceeds, (n,); ties count a half; NaN where
    there is none of its label. The mean over samples that are like the unseen ones is 0.5."""
    out = np.full(len(asked.score), np.nan)
    for label in np.unique(asked.label):
        mine, others = asked.label == label, np.sort(unseen.score[unseen.label == label])
        if len(others):
            left, right = (np.searchsorted(others, asked.score[mine], side) for side in ("left", "right"))
            out[mine] = (left + right) / (2 * len(others))
    return out


def standardised(asked: Reading, unseen: Reading) -> np.ndarray:
    """(score - mean) / sd, (n,), by the scores of unseen samples with the labels asked for, in the same model: dividing
    all logits by a constant hardly moves it."""
    like = unseen.score[np.isin(unseen.label, np.unique(asked.label))]
    return (asked.score - like.mean()) / max(float(like.std()), 1e-12)
