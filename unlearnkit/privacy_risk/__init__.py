"""Rankers: `(model, request, *, seed, device, **options) -> (len(task.forget),) float64`, larger = higher privacy risk.

A ranker is given what an unlearning method is given: a trained model and an `unlearnkit.images.request.Request`. The families are
the files of unlearnkit.images.tasks. A proxy says by its sign which samples it takes for risky; how far it is right is
measured (unlearnkit.analysis.privacy_risk), not assumed. What needs models trained anew, from the recipe, keeps them in the store under
the samples, the architecture and the recipe: all who rank the same samples share them, whatever `seed` they give.
"""

from collections.abc import Callable
from functools import wraps

from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.registry import Registry
from unlearnkit.images.request import Request

rankers = Registry("ranker", "unlearnkit.privacy_risk")

# what a ranker may need beyond the model and the losses of its samples
NEEDS = {
    "classes": "samples with one label each, and logits over the classes",
    "answers": "texts, whose answers have a token after the other",
    "features": "a linear head, and what it is fed",
    "retraining": "one more training, from the recipe",
    "folds": "five trainings, each without a fifth of the samples",
    "shadows": "many trainings, each on a half of the samples",
}
DIRECTIONS = ("higher = riskier", "lower = riskier")


def ranker(name: str, *, direction: str = DIRECTIONS[0], needs: tuple[str, ...] = (), source: str):
    """Register a ranker. direction: of the quantity that it is named after; "lower = riskier" ones are returned with the
    sign turned. needs: of NEEDS. source: the paper or code that its definition comes from.

    The registered ranker raises NotApplicable where the task has no classes, or no answers, and it needs them, and returns
    float64 on the CPU. Its domains, those of the methods that it can rank for, follow from its needs.
    """
    assert direction in DIRECTIONS, direction
    assert set(needs) <= set(NEEDS), needs

    only = {"image": "classes", "text": "answers"}
    domains = tuple(d for d in only if not {*needs} & ({*only.values()} - {only[d]}))

    def add(function: Callable) -> Callable:
        @wraps(function)
        def checked(model: nn.Module, request: Request, *, seed: int, device: str = "auto", **options) -> Tensor:
            domain = "image" if isinstance(request.forget, Samples) else "text"
            if domain not in domains:
                fit = ", ".join(ranking(domain))
                raise NotApplicable(f"ranker {name!r} needs {NEEDS[only[domains[0]]]}; for {domain}s there are {fit}")
            found = function(model, request, seed=seed, device=device, **options)
            return found.detach().double().cpu()

        rankers.register(name, direction=direction, needs=needs, domains=domains, source=source)(checked)
        return function

    return add


def ranking(domain: str) -> list[str]:
    """Names of the rankers of a domain, "image" or "text", sorted."""
    return sorted(name for name, entry in rankers.items() if domain in entry.info["domains"])
