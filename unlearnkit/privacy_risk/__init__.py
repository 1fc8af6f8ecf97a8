"""Rankers: `(model, request, *, seed, device, **options) -> (len(request.forget),) float64`, larger = higher privacy
risk.

A ranker is given what an unlearning method is given: a trained model and an `unlearnkit.images.request.Request`. The
files here are families of rankers. The sign of a proxy says which samples it takes for risky; how well it agrees with
measured risk is tested in unlearnkit.analysis.privacy_risk, not assumed. Rankers that train models from the recipe keep
them in the store, keyed by the samples, the architecture and the recipe: all requests with the same samples share them,
whatever `seed`.
"""

from collections.abc import Callable
from functools import wraps

from torch import Tensor, nn

from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.registry import Registry
from unlearnkit.images.request import Request

rankers = Registry("ranker", "unlearnkit.privacy_risk")

# what a ranker may need beyond the model and the losses of its samples
NEEDS = {
    "classes": "samples with one label each, and logits over the classes",
    "answers": "texts, with losses of single answer tokens",
    "features": "a linear head, and the features that enter it",
    "retraining": "one more training, from the recipe",
    "folds": "five trainings, each without a fifth of the samples",
    "shadows": "many trainings, each on a half of the samples",
}
DIRECTIONS = ("higher = riskier", "lower = riskier")


def ranker(name: str, *, direction: str = DIRECTIONS[0], needs: tuple[str, ...] = (), source: str):
    """Register a ranker. direction: of the quantity that it is named after; if "lower = riskier", the ranker returns
    its negative. needs: keys of NEEDS. source: the paper or code of its definition.

    The registered ranker returns float64 on the CPU. It raises NotApplicable if it needs classes, or answers, and the
    request has none. Its domains ("image", "text") follow from its needs.
    """
    assert direction in DIRECTIONS, direction
    assert set(needs) <= set(NEEDS), needs

    only = {"image": "classes", "text": "answers"}
    domains = tuple(d for d in only if not {*needs} & ({*only.values()} - {only[d]}))

    def add(function: Callable) -> Callable:
        @wraps(function)
        def checked(model: nn.Module, request: Request, *, seed: int, device: str = "auto", **options) -> Tensor:
            if request.domain not in domains:
                fit = ", ".join(ranking(request.domain))
                need = NEEDS[only[domains[0]]]
                raise NotApplicable(f"ranker {name!r} needs {need}; for {request.domain}s there are {fit}")
            return function(model, request, seed=seed, device=device, **options).detach().double().cpu()

        rankers.register(name, direction=direction, needs=needs, domains=domains, source=source)(checked)
        return function

    return add


def ranking(domain: str) -> list[str]:
    """The names of the rankers for a domain, "image" or "text", sorted."""
    return sorted(name for name, entry in rankers.items() if domain in entry.info["domains"])
