"""RMU: steer the hidden states of the forget set, at one layer, to one random direction."""

from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import generator, resolve_device
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import SMALL, Batch, Epochs, Rate, minimise_on_pairs, positive, text_request
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokens import Tokens

SOURCE = "Li et al. 2024 (RMU), arXiv 2403.03218"


def hidden(request: TextRequest, model: nn.Module, batch: Tokens, layer: int) -> Tensor:
    """The output of a decoder layer at the positions that answer tokens are predicted from, (answer tokens, width)
    float32."""
    caught = []

    def catch(_, inputs, output) -> None:
        caught.append(output[0] if isinstance(output, tuple) else output)

    hook = model.decoder[layer].register_forward_hook(catch)
    try:
        request.logits(model, batch)
    finally:
        hook.remove()
    return caught[0][batch.places].float()


def squared_distance(batch: Tokens, a: Tensor, b: Tensor) -> Tensor:
    """Squared difference of hidden states a and b, (answer tokens, width): mean over width, tokens, then answers, a
    scalar."""
    return batch.mean((a - b).square().mean(1)).mean()


def moving(model: nn.Module, layer: int, update: int) -> list[nn.Module]:
    """The layers that may move: `update` decoder layers up to and including `layer`, or as many as there are; in a
    model with adapters, their adapters alone."""
    chosen = model.decoder[max(layer + 1 - update, 0) : layer + 1]
    if not model.adapted:
        return chosen
    return [m for block in chosen for name, m in block.named_modules() if name.split(".")[-1].startswith("lora_")]


@method("rmu", source=SOURCE, domains=("text",))
def rmu(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 1e-3,
    layer: Annotated[int, f"ours: -1 is the middle; {SOURCE}: 7 of 32, from 0"] = -1,
    update: Annotated[int, f"{SOURCE}: 3 layers, of one matrix each in the authors' code; all of theirs: ours"] = 3,
    steering: Annotated[float, Search(2.0, 100.0, log=True), f"{SOURCE}: c, 2 to 20 by model"] = 20.0,
    retain_weight: Annotated[float, Search(1.0, 1200.0, log=True), SMALL + "1200"] = 10.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise |h_F - c u|^2 + retain_weight |h_R - h_R of the original|^2 over `update` layers up to `layer`, where h
    is the output of `layer`, u a unit vector drawn once, uniform in [0, 1) in each entry as in the authors' code, and c
    is `steering`.

    An epoch is a pass over F. No weight above the layer moves. Raises BadValue for a layer that the model does not
    have.
    """
    positive("rmu", update=update, steering=steering)
    request = text_request("rmu", request, device)
    n = len(model.decoder)
    if not -1 <= layer < n:
        raise BadValue(f"rmu: layer is from 0 to {n - 1} for this model, or -1 for the middle, got {layer}")
    layer = (n - 1) // 2 if layer == -1 else layer
    u = torch.rand(model.net.config.hidden_size, generator=generator(seed, "direction")).to(resolve_device(device))
    goal = steering * u / u.norm()

    def loss(net, reference, forget, kept, step):
        with torch.no_grad():
            before = hidden(request, reference, kept, layer)
        away = squared_distance(forget, hidden(request, net, forget, layer), goal)
        return away + retain_weight * squared_distance(kept, hidden(request, net, kept, layer), before)

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("rmu", model, request, loss, only=lambda net: moving(net, layer, update), **steps)
