"""How hard single samples are, measured without the model that is to forget them."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnkit.core.compute import derive
from unlearnkit.images.predict import predict
from unlearnkit.images.models import build
from unlearnkit.images.train_many import fit_many
from data_builders.task import Samples
from unlearnkit.images.train import Recipe

FOLDS = 5


def held_out_loss(x: Tensor, y: Tensor, n_classes: int, model: str, recipe: Recipe) -> Tensor:
    """Cross-entropy of each image, (n,), in nats, under the one of five models that was not trained on its fold.

    x: (n, channels, height, width) uint8; y: (n,).
    """
    fold = torch.arange(len(x)) % FOLDS
    parts = [Samples(x[fold != f], y[fold != f]) for f in range(FOLDS)]
    seeds = [derive(0, "difficulty", f) for f in range(FOLDS)]
    nets = [build(model, tuple(x.shape[1:]), n_classes, seed) for seed in seeds]
    trained = fit_many(nets, parts, recipe, seeds=seeds)
    loss = torch.empty(len(x))
    for f, net in enumerate(trained):
        logits, _ = predict(net, x[fold == f], precision=recipe.precision)
        loss[fold == f] = cross_entropy(logits, y[fold == f], reduction="none")
    return loss
