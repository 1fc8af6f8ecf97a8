"""KL minimisation: gradient ascent on the forget set, held to the original's predictions on the retain set."""

from torch import nn

from unlearnkit.images.request import Request
from unlearnkit.methods import method
from unlearnkit.methods.text_losses import TOFU, Batch, Epochs, Rate, Weight, minimise_on_pairs


@method("kl_min", source=TOFU, domains=("text",))
def kl_min(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    retain_weight: Weight = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise -NLL_F + KL(original || model) on R, both means over the tokens of an answer; an epoch is a pass over F."""

    def loss(net, reference, forget, *_):
        return -request.losses(net, forget).mean()

    steps = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed, "device": device}
    return minimise_on_pairs("kl_min", model, request, loss, retain="kl", retain_weight=retain_weight, **steps)
