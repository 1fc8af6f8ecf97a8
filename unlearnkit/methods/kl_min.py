"""KL minimisation: gradient ascent, held to what the original says of everything else."""

from torch import nn

from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import method
from unlearnkit.methods.text_losses import TOFU, Batch, Epochs, Rate, Weight, frozen, kl_to, paired, texts


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
    request = texts("kl_min", request, device)
    reference = frozen(model, request)

    def losses(net):
        for gone, stays in paired(request, epochs, batch_size, seed):
            yield retain_weight * kl_to(request, net, reference, stays) - request.losses(net, gone).mean()

    return minimise(model, losses, lr=lr, device=device)
