"""Proxies of privacy risk that need one training or a few, by the request's recipe: how hard a sample is to learn or
predict."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import softplus

from unlearnkit.core.compute import derive, generator, resolve_device, threads, uncounted
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.models import fresh
from unlearnkit.images.request import Request
from unlearnkit.images.tasks import FOLDS
from unlearnkit.images.train import fit
from unlearnkit.privacy_risk import ranker
from unlearnkit.privacy_risk import subset_models as subsets
from unlearnkit.privacy_risk.output_scores import margins

TONEVA = "Toneva et al. 2019, arXiv 1812.05159; of one training, as the samples are presented"


@ranker("held_out_gap", needs=("classes", "folds"), source="ours: cross-fitted, five folds")
def held_out_gap(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """Loss under the one of five models that was not trained on the sample, minus the loss under the trained model,
    nats."""
    folds = subsets.trained_on(model, request, subsets.all_but_a_fold(FOLDS), f"{FOLDS} folds", device)
    outside = folds.outputs(request.forget.to("cpu"), folds.inside[:, : len(request.forget)])
    held_out = softplus(-outside.phi).where(~outside.inside, 0.0).sum(0)
    return held_out - softplus(-margins(model, request, request.forget, device))


def presentations(model: nn.Module, request: Request, device: str = "auto") -> Tensor:
    """Whether each sample of the forget set was classified correctly in each epoch's forward pass, before the step that
    it took part in, (epochs, n) bool. One training by the recipe on forget and retain, stored."""
    pool, place = subsets.pooled(request)
    epochs = request.recipe.epochs
    params = {"architecture": str(model), "recipe": request.recipe.as_dict(), "device": resolve_device(device).type}
    spec = Spec("presentations", params, (type(model), fresh, fit), [pool.digest()])
    seed = derive(0, "presentations", pool.digest())

    def make(folder: Path) -> None:
        predictions: list[Tensor] = []
        net = fresh(model, seed)
        net.register_forward_hook(lambda layer, inputs, logits: predictions.append(logits.detach().argmax(1)))
        with threads(1):
            fit(net, pool, request.recipe, seed=seed, device=device)
        # the orders in which Samples.batches shuffles each epoch
        orders = torch.stack([torch.randperm(len(pool), generator=generator(seed, "order", e)) for e in range(epochs)])
        predicted = torch.empty_like(orders).scatter_(1, orders, torch.cat(predictions).cpu().view(epochs, -1))
        save_file({"correct": predicted == pool.y}, folder / "presentations.safetensors")

    with uncounted():
        artefact = Store().get(spec, make)
    return load_file(artefact.folder / "presentations.safetensors")["correct"][:, place[: len(request.forget)]]


@ranker("learning_event", needs=("classes", "retraining"), source=TONEVA)
def learning_event(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """The first epoch, from 0, in which the sample is classified correctly; number of epochs + 1 if it never is."""
    correct = presentations(model, request, device)
    never = ~correct.any(0)
    return correct.int().argmax(0).where(~never, len(correct) + 1)


@ranker("forgetting_events", needs=("classes", "retraining"), source=TONEVA)
def forgetting_events(model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """How often the sample is classified correctly in one epoch and wrongly in the next; the number of epochs if it is
    never classified correctly."""
    correct = presentations(model, request, device)
    return (correct[:-1] & ~correct[1:]).sum(0).where(correct.any(0), len(correct))
