"""UNDIAL: the model is taught its own words, but for the one that it is to forget."""

from typing import Annotated

import torch
from torch import Tensor, nn

from unlearnkit.core.divergence import kl
from unlearnkit.core.optimise import minimise
from unlearnkit.images.request import Request
from unlearnkit.methods import Search, method
from unlearnkit.methods.text_losses import Batch, Epochs, Rate, Retain, Weight, frozen, kept, paired, positive, texts

SOURCE = "Dong et al. 2024 (UNDIAL), arXiv 2402.10052"


def lowered(logits: Tensor, y: Tensor, by: float) -> Tensor:
    """The logits, (rows, vocabulary), with that of each row's label y lowered, (rows,)."""
    return logits.scatter_add(1, y[:, None], logits.new_full((len(y), 1), -by))


@method("undial", source=SOURCE, domains=("text",))
def undial(
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    epochs: Epochs = 20,
    lr: Rate = 5e-4,
    beta: Annotated[float, Search(1.0, 30.0, log=True), SOURCE] = 10.0,
    retain: Annotated[Retain, SOURCE] = "none",
    retain_weight: Weight = 1.0,
    batch_size: Batch = 32,
) -> nn.Module:
    """Minimise KL(teacher || model) on F, the teacher being the original with the logit of each true token lowered by beta;
    mean over the tokens of an answer. Plus what keeps R; an epoch is a pass over F.

    All tokens of an answer are lowered alike. Raises BadValue for a beta that is not above 0.
    """
    positive("undial", beta=beta)
    request = texts("undial", request, device)
    reference = frozen(model, request)

    def losses(net):
        for gone, stays in paired(request, epochs, batch_size, seed):
            with torch.no_grad():
                target = lowered(request.logits(reference, gone), gone.y, beta).log_softmax(-1)
            taught = gone.mean(kl(target, request.log_probs(net, gone))).mean()
            yield taught + retain_weight * kept(retain, request, net, reference, stays)

    return minimise(model, losses, lr=lr, device=device)
