"""What methods do with images and with texts alike, by one call for both.

A language model, its tokens and its recipe say themselves what they do otherwise (unlearnkit.texts): nothing of theirs is
imported here, so that a change of theirs leaves what was found on images as it is.
"""

from torch import Tensor, nn

from data_builders import task as images
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images import train
from unlearnkit.images.heads import blocks, head


def joined(*parts):
    """All samples as one."""
    own = getattr(parts[0], "joined", None)
    return own(*parts[1:]) if own else images.joined(*parts)


def label_index(samples, index: Tensor) -> Tensor:
    """Where the labels of these samples stand among those of all: an image has one, an answer one per token."""
    own = getattr(samples, "answers_of", None)
    return own(index) if own else index


def fit(model: nn.Module, samples, recipe, *, seed: int, device: str = "auto") -> nn.Module:
    """Train a copy of `model` by its recipe."""
    return getattr(recipe, "fit", lambda *a, **k: train.fit(*a, recipe, **k))(model, samples, seed=seed, device=device)


def minimise(model: nn.Module, losses, *, optimiser: str = "", **how) -> nn.Module:
    """unlearnkit.core.optimise.minimise, by SGD for images and Adam for language models, unless the method says which."""
    return train.minimise(model, losses, optimiser=optimiser or getattr(model, "optimiser", "sgd"), **how)


def last_blocks(model: nn.Module, k: int) -> list[nn.Module]:
    """The last k blocks of a model as a list of layers. Raises BadValue for a k that it does not have."""
    found = model.blocks() if hasattr(model, "blocks") else blocks(model)
    if not 1 <= k <= len(found):
        raise BadValue(f"k is a number of blocks, from 1 to {len(found)} for this model, got {k}")
    return [layer for block in found[-k:] for layer in block]


def own_head(model: nn.Module) -> nn.Linear:
    """The head of a model, which can be trained alone. Raises BadValue without a linear head, NotApplicable for one that
    shares its weights with the embedding."""
    if getattr(model, "tied", False):
        raise NotApplicable("the head of this model shares its weights with the embedding: it cannot be trained alone")
    return head(model)
