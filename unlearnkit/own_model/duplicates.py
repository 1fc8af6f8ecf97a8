"""`unlearnkit.find_near_duplicates`: which retained samples keep the influence of a sample to be forgotten alive.

What a target taught, its near-duplicates in the retain set teach, too: not even retraining forgets it then. This is the
first finding of the study; the tool looks for them before anything is unlearned.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.near_duplicates import signatures
from data_builders.task import Samples
from data_builders.texts.similarity import char_vectors
from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.images.heads import logits_and_features
from unlearnkit.images.predict import map_batches
from unlearnkit.own_model import classifier, language, samples
from unlearnkit.own_model.prepare import check_shapes
from unlearnkit.texts.outputs import score_tokens

COMPARED = 1000  # retained samples whose own nearest neighbour says what is usual
ENTRIES = 2**24  # similarities in memory at a time
DIGITS = 6  # decimals of a similarity: an exact duplicate has 1


def find_near_duplicates(
    forget,
    retain,
    model: nn.Module | None = None,
    *,
    neighbours: int = 10,
    closer_than: float = 0.0,
    any_label: bool = False,
    tokenizer=None,
    prompt: str | None = None,
    device: str | None = None,
) -> pd.DataFrame:
    """The retained samples that keep a target's influence alive: those among its nearest that carry its label, the most
    similar first.

    A target of which none is listed is surrounded by other labels: its own has no support once it is forgotten.

    Args:
        forget, retain: as of `unlearnkit.unlearn`; the two may overlap.
        model: compares what enters its last linear layer (of texts its hidden states, mean over an answer); None:
            images by their low frequencies, which a little noise, brightness or a shift by a pixel hardly changes, texts
            by runs of three letters.
        neighbours: how many of the retained samples nearest to each target are looked at.
        closer_than: list a pair only if it is more similar than this share of retained samples is to the nearest other
            one: near 1 for a set with few near-duplicates, of which the forget set may have some.
        any_label: list neighbours of other labels, too, which rather undo a target's influence.
        tokenizer, prompt, device: as of `unlearnkit.unlearn`.

    Returns:
        Columns target (row of forget), retained (row of retain), similarity (cosine, at most 1), closer_than, and
        same_label for images.

    Raises BadValue for sets or a model that cannot be used, and for a value out of its range.
    """
    if neighbours < 1 or not 0 <= closer_than <= 1:
        raise BadValue(
            f"neighbours is at least 1 and closer_than a share, from 0 to 1; got {neighbours} and {closer_than}"
        )
    where = None if model is None else str(classifier.check_model(model) if device is None else resolve_device(device))
    given = {"forget": forget, "retain": retain}
    if language.is_texts(forget):
        vectors, labels = _of_texts(given, model, tokenizer, prompt, where), [None, None]
    else:
        read = {name: samples.read(data, name) for name, data in given.items()}
        check_shapes(read)
        labels = [part.y for part in read.values()]
        vectors = _of_model(read, model, where) if model is not None else _of_pixels(read)
    if not all(part.isfinite().all() for part in vectors):
        raise NonFiniteLoss("model gives features that are not finite: it diverged")
    asked, kept = (F.normalize(part.float(), dim=1) for part in vectors)
    similarity, index = _nearest(asked, kept, neighbours)
    usual = np.sort(_usual(kept))
    table = pd.DataFrame(
        {
            "target": np.repeat(np.arange(len(asked)), similarity.shape[1]),
            "retained": index.flatten().numpy(),
            "similarity": similarity.flatten().double().numpy().round(DIGITS),
        }
    )
    table["closer_than"] = np.searchsorted(usual, table.similarity.to_numpy()) / max(len(usual), 1)
    if labels[0] is not None:
        same = labels[0].numpy()[table.target.to_numpy()] == labels[1].numpy()[table.retained.to_numpy()]
        table["same_label"] = same
    listed = table[table.closer_than >= closer_than]
    if "same_label" in listed and not any_label:
        listed = listed[listed.same_label]
    return listed.sort_values(["similarity", "target", "retained"], ascending=[False, True, True], ignore_index=True)


def _of_texts(given: dict, model, tokenizer, prompt: str | None, device: str | None) -> list[Tensor]:
    texts = {name: language.read_pairs(data, name) for name, data in given.items()}
    if model is None:
        return [torch.from_numpy(char_vectors([f"{q}\n{a}" for q, a in part])) for part in texts.values()]
    spelling = language.tokenizer_of(tokenizer, prompt)
    net = language.language_model(model, spelling)
    parts = [language.tokens(part, spelling, net.context, name) for name, part in texts.items()]
    return [score_tokens(net, part, device=device)[2] for part in parts]


def _of_model(read: dict[str, Samples], model: nn.Module, device: str) -> list[Tensor]:
    net = classifier.classifier(model, read["forget"].stored.shape[1:])
    classifier.n_classes(net, read["forget"], "forget")
    if missing := classifier.missing_head(net, read["forget"]):
        raise BadValue(
            f"features are what enters a last linear layer, and model {missing}: leave model out to compare the images"
        )
    parts = (classifier.as_maps(part).stored for part in read.values())
    features = [
        map_batches(net, x, lambda net, batch: logits_and_features(net, batch)[1:], device=device)[0] for x in parts
    ]
    return features


def _of_pixels(read: dict[str, Samples]) -> list[Tensor]:
    parts = [part.stored for part in read.values()]
    if parts[0].ndim != 4:  # no images: as they are
        mean = parts[1].flatten(1).mean(0)
        return [x.flatten(1) - mean for x in parts]
    low, high = (torch.stack([how(x, (0, 2, 3)) for x in parts]) for how in (torch.amin, torch.amax))
    low, high = low.amin(0).min(), high.amax(0).max()  # one scale for all channels: colours keep their meaning
    return [signatures((x - low) * (255 / (high - low).clamp(min=1e-12))) for x in parts]


def _nearest(a: Tensor, b: Tensor, k: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(similarity, rows of b) of the k nearest to each row of a, (len(a), k or fewer). own: (len(a),) rows of b that are
    the rows of a themselves, which do not count."""
    values, indices, step = [], [], max(ENTRIES // len(b), 1)
    for i in range(0, len(a), step):
        table = a[i : i + step] @ b.T
        if own is not None:
            table.scatter_(1, own[i : i + step, None], -torch.inf)
        value, index = table.topk(min(k, len(b)))
        values.append(value.clamp(max=1))
        indices.append(index)
    return torch.cat(values), torch.cat(indices)


def _usual(kept: Tensor) -> np.ndarray:
    """The similarity of COMPARED retained samples, evenly spaced, to the nearest other one."""
    rows = torch.linspace(0, len(kept) - 1, min(COMPARED, len(kept))).long()
    similarity, _ = _nearest(kept[rows], kept, 1, own=rows)
    found = similarity.flatten().double().numpy().round(DIGITS)
    return found[np.isfinite(found)]
