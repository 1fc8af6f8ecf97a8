"""An unlearning method to copy: `UNLEARNKIT_PLUGINS=my_method.py unlearnkit list methods` then lists it.

Rename file and function, and say what yours does. CONTRIBUTING.md says what comes next.
"""

from typing import Annotated

from unlearnkit.core.optimise import minimise
from unlearnkit.methods import Search, method


@method("my_method", source="A. Author 2026, arXiv 0000.00000, equation 1", domains=("image", "text"))
def my_method(
    model,
    request,
    *,
    seed: int,
    device: str = "auto",
    lr: Annotated[float, Search(1e-4, 0.1, log=True), "A. Author 2026, table 1"] = 0.01,
    forget_weight: Annotated[float, "ours"] = 0.1,
):
    """Minimise the loss on R less `forget_weight` times that on F, for one pass over R.

    model: as trained on everything, to be left as it is; request: `forget` and `retain`, without a word on which retained
    samples are near-duplicates. Returns a new model on the CPU. `minimise` copies the model and takes a step on each loss
    that the generator yields; it raises NonFiniteLoss where the training diverges.
    """
    request = request.to(device)

    def losses(net):
        for batch in request.retain.batches(64, seed):
            kept = request.losses(net, batch).mean()
            yield kept - forget_weight * request.losses(net, request.forget).mean()

    return minimise(model, losses, lr=lr, device=device)
