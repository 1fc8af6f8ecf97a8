"""RSU: forget the forget set in batches, one after the other, in the order of a privacy risk, with any method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import derive, generator, measure_cost, uncounted
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Entry, registries
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import rankers
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.partial_passes import PartialPass

Order = Literal["descending", "ascending", "random", "shuffled"]
P3 = "P3 (arXiv 2410.06446) by its abstract: ranking, then unlearning in sequence; all details are ours"
RUM = "RUM (Zhao et al. 2024, arXiv 2406.01257): another method for each subset"
BUDGET = ("epochs", "batch_size")  # options of a base that methods named in `refine` take over


def partition(risk: Tensor | None, n: int, batches: int, order: Order, seed: int) -> list[tuple[int, Tensor]]:
    """[(stratum, row numbers in order)] of the batches, in the order in which they are forgotten.

    Batch sizes differ by one at most. risk: (n,), larger = higher; ties in the order of their rows. "descending" and
    "ascending": strata of similar risk, from the highest to the lowest or the reverse; "random": the same strata in
    random order; "shuffled": no strata but a random partition, for which `risk` may be None. Stratum 0 has the lowest
    risk.
    """
    g = generator(seed, "rsu", order)
    rows = torch.randperm(n, generator=g) if order == "shuffled" else risk.argsort(stable=True)
    strata = [(i, part.sort().values) for i, part in enumerate(rows.tensor_split(batches))]
    if order == "descending":
        return strata[::-1]
    return [strata[i] for i in torch.randperm(batches, generator=g)] if order == "random" else strata


def refined(refine: str, batches: int) -> list[str]:
    """The names of methods in `refine`, from the lowest to the highest risk; [] for "". Raises BadValue unless there is
    one for each batch."""
    names = [name.strip() for name in refine.split(",")] if refine else []
    if names and len(names) != batches:
        raise BadValue(
            f"rsu: refine names {len(names)} methods for {batches} batches: name one for each, from the lowest risk to the "
            "highest; 'base' is the method in brackets"
        )
    return names


def uses(options: Mapping) -> Sequence[Entry]:
    """The registry entries that options name: the ranker, and the methods in `refine`."""
    names = [name for name in refined(options["refine"], options["batches"]) if name != "base"]
    ranker = [rankers[options["ranker"]]] if options["ranker"] else []
    return [*ranker, *(registries["method"][name] for name in names)]


def with_budget_of(base: Callable, name: str) -> Callable:
    """The method of that name with as many passes, in batches of the same size, as the base, where it has such options: a
    stratum must not win by longer work."""
    method = registries["method"][name]
    given = getattr(base, "keywords", {})
    return partial(method, **{k: given[k] for k in BUDGET if k in given and k in method.options()})


def ranked_by(ranker: str, model: nn.Module, request: Request, *, seed: int, device: str = "auto") -> Tensor:
    """The risk of each sample of the forget set by a ranker, (n,), larger = higher; by "" the order in which they stand, the
    first the riskiest, of a forget set that was put in order before (unlearnkit.analysis.pool_shadows)."""
    if not ranker:
        return -torch.arange(len(request.forget), dtype=torch.float64)
    return rankers[ranker](model, request, seed=seed, device=device)


@wrapper("rsu", source=P3, domains=("image", "text"), uses=uses)
def rsu(
    base: Callable[..., nn.Module],
    model: nn.Module,
    request: Request,
    *,
    seed: int,
    device: str = "auto",
    batches: Annotated[int, "ours: one of 1 (one-shot), 3, 5, 10"] = 3,
    order: Annotated[Order, "descending: ours, P3 read literally; ascending: RUM's direction; the others: controls"] = (
        "descending"
    ),
    ranker: Annotated[str, "ours: see unlearnkit.privacy_risk; '': the forget set stands in its order"] = "loss",
    replay: Annotated[float, "ours: the share of what is forgotten already that is asked for again"] = 0.0,
    refine: Annotated[str, RUM + "; as names from the lowest to the highest risk, 'finetune, base, salun'"] = "",
) -> nn.Module:
    """Rank the forget set by privacy risk, cut it into equal batches (`partition`), and forget one batch after the
    other with the base, each starting from the weights that the previous one left.

    The retain set is the request's throughout: no sample that is forgotten later is ever retained. Budget: each batch
    is a full call of the base whose passes are cut to the batch's share (unlearnkit.wrappers.partial_passes), so that
    all batches together take exactly the steps of the base alone, which is the case of one batch; to first order in the
    learning rate each target is then pushed as far, too. Ranking is not part of the cost. A base without optimiser
    steps is applied once per batch, and its time is not split. For a base that does not read the forget set the order
    makes no difference. Methods of `refine` take over the base's passes and batch size (`with_budget_of`).

    Raises BadValue unless batches is from 1 to the size of the forget set. Raises NotApplicable if the step budget
    cannot be split: for a base that starts from new weights, that takes steps on other data (joined sets), or that has
    fewer steps on the forget set than there are batches.
    """
    n = len(request.forget)
    if not 1 <= batches <= n:
        raise BadValue(f"rsu: a forget set of {n} can be cut into 1 to {n} batches, got batches={batches}")
    if not 0 <= replay <= 1:
        raise BadValue(f"rsu: replay is a share, from 0 to 1, got {replay}")
    names = refined(refine, batches)
    if names and order == "shuffled":
        raise BadValue("rsu: refine gives strata of risk a method each, and order='shuffled' has no strata")
    ranked = batches > 1 and order != "shuffled"
    with uncounted():  # all orders share the ranking, and its cost is the ranker's own
        risk = ranked_by(ranker, model, request, seed=seed, device=device) if ranked else torch.zeros(n)
    parts = partition(risk, n, batches, order, seed)
    for part, (stratum, rows) in enumerate(parts):
        before = torch.cat([rows[:0], *(done for _, done in parts[:part])])
        g = generator(seed, "rsu replay", part)
        again = before[torch.randperm(len(before), generator=g)[: round(replay * len(before))]]
        forget = request.forget[torch.cat([rows, again]).sort().values.to(request.forget.y.device)]
        part_request = replace(
            request,
            forget=PartialPass(forget, n, part, batches),
            retain=PartialPass(request.retain, len(request.retain), part, batches),
        )
        method = with_budget_of(base, names[stratum]) if names and names[stratum] != "base" else base
        with measure_cost() as cost:
            model = method(model, part_request, seed=derive(seed, "rsu", part) if part else seed, device=device)
        if batches > 1:
            _check(method, part_request, cost.steps)
    return model


def _check(method: Callable, partial: Request, steps: int) -> None:
    """Raises NotApplicable unless the method took exactly its batch's share of its budget."""
    entry = getattr(method, "func", method)
    name, anew = getattr(entry, "name", "the base"), getattr(entry, "info", {}).get("starts_anew", False)
    forget, retain = partial.forget.tally, partial.retain.tally  # type: ignore[attr-defined]
    if anew:
        raise NotApplicable(f"rsu: {name} starts from new weights, so that nothing is carried from batch to batch")
    if steps > forget.steps + retain.steps:
        raise NotApplicable(
            f"rsu: the step budget of {name} cannot be split over batches, since it takes steps on other data than passes "
            "over the forget set or the retain set: use a method that alternates between the two"
        )
    for part, tally in (("forget", forget), ("retain", retain)):
        if tally.passes and not tally.steps:
            raise NotApplicable(
                f"rsu: {name} has fewer steps on the {part} set than there are batches, so that one would be left out: "
                "use fewer batches, a smaller batch_size, or more epochs"
            )
