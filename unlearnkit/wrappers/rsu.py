"""Forgetting in sequence: the forget set batch by batch, in the order of a risk, with any method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import derive, generator, measure_cost, uncounted
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Entry
from unlearnkit.images.request import Request
from unlearnkit.privacy_risk import rankers
from unlearnkit.wrappers import wrapper
from unlearnkit.wrappers.partial_passes import PartialPass

Order = Literal["descending", "ascending", "random", "shuffled"]
P3 = "P3 (arXiv 2410.06446) by its abstract: ranking, then unlearning in sequence; all details are ours"
RUM = "RUM (Zhao et al. 2024, arXiv 2406.01257): another method for each subset"


def partition(risk: Tensor | None, n: int, batches: int, order: Order, seed: int) -> list[tuple[int, Tensor]]:
    """[(stratum, row numbers in order)] of the batches, in the order in which they are forgotten.

    Sizes differ by one at most. risk: (n,), larger = higher; equal ones in the order of their rows. "descending" and
    "ascending": strata of like risk, from the highest to the lowest or the other way round; "random": the same strata in
    random order; "shuffled": no strata, but a partition at random, for which `risk` may be None. Strata are counted from
    the lowest risk, 0.
    """
    g = generator(seed, "rsu", order)
    rows = torch.randperm(n, generator=g) if order == "shuffled" else risk.argsort(stable=True)
    parts = [(i, part.sort().values) for i, part in enumerate(rows.tensor_split(batches))]
    if order == "descending":
        return parts[::-1]
    return [parts[i] for i in torch.randperm(batches, generator=g)] if order == "random" else parts


def refined(refine: str, batches: int) -> list[str]:
    """The names of methods in `refine`, from the lowest to the highest risk; [] for none. Raises BadValue unless there are
    as many as batches."""
    names = [name.strip() for name in refine.split(",")] if refine else []
    if names and len(names) != batches:
        raise BadValue(
            f"rsu: refine names {len(names)} methods for {batches} batches: name one for each, from the lowest risk to the "
            "highest; 'base' is the method in brackets"
        )
    return names


def uses(options: Mapping) -> Sequence[Entry]:
    """What options name: a ranker, and methods of strata."""
    from unlearnkit.methods import methods

    named = [methods[name] for name in refined(options["refine"], options["batches"]) if name != "base"]
    return [rankers[options["by"]], *named]


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
    by: Annotated[str, "ours: a ranker, see unlearnkit.privacy_risk"] = "loss",
    replay: Annotated[float, "ours: the share of what is forgotten already that is asked for again"] = 0.0,
    refine: Annotated[str, RUM + "; as names from the lowest to the highest risk, 'finetune, base, salun'"] = "",
) -> nn.Module:
    """Rank the forget set by the risk of its samples, cut it into equal batches (`partition`), and forget one after the
    other with the base, each time from the weights that the last one left.

    The retain set is the task's throughout: no sample that is forgotten later is ever retained. Budget: the base is asked
    for all it would do, with passes that are cut to a turn's share (unlearnkit.wrappers.partial_passes), so that all batches together take
    exactly the steps of the base alone, which is one batch; to first order in the learning rate each target is then pushed
    as far, too. What ranking takes is no part of the cost. A base without optimiser steps is applied once a batch, and its
    time is not split. A base that does not read the forget set knows no order.

    Raises BadValue for fewer batches than one or more than there are samples; NotApplicable where the budget cannot be
    split: for a base that starts anew, that goes through its data in a way of its own (joined sets), or that has less than
    a step on the forget set for each batch.
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
    with uncounted():  # all orders share it, and its cost is a ranker's own
        risk = rankers[by](model, request, seed=seed, device=device) if ranked else torch.zeros(n)
    parts = partition(risk, n, batches, order, seed)
    for turn, (stratum, rows) in enumerate(parts):
        before = torch.cat([rows[:0], *(done for _, done in parts[:turn])])
        g = generator(seed, "rsu replay", turn)
        again = before[torch.randperm(len(before), generator=g)[: round(replay * len(before))]]
        asked = request.forget[torch.cat([rows, again]).sort().values.to(request.forget.y.device)]
        own = replace(
            request,
            forget=PartialPass(asked, n, turn, batches),
            retain=PartialPass(request.retain, len(request.retain), turn, batches),
        )
        method = _named(names[stratum], base) if names else base
        with measure_cost() as cost:
            model = method(model, own, seed=derive(seed, "rsu", turn) if turn else seed, device=device)
        if batches > 1:
            _check(method, own, cost.steps)
    return model


def _named(name: str, base: Callable) -> Callable:
    from unlearnkit.methods import methods

    return base if name == "base" else methods[name]


def _check(method: Callable, own: Request, steps: int) -> None:
    """Raises NotApplicable where the method did not take just its turn's share of its budget."""
    entry = getattr(method, "func", method)
    name, anew = getattr(entry, "name", "the base"), getattr(entry, "info", {}).get("starts_anew", False)
    forget, retain = own.forget.tally, own.retain.tally  # type: ignore[attr-defined]
    if anew:
        raise NotApplicable(f"rsu: {name} starts from new weights, so that nothing is carried from batch to batch")
    if steps > forget.steps + retain.steps:
        raise NotApplicable(
            f"rsu: the budget of {name} cannot be split over batches, since it goes through its data in a way of its own: "
            "use a method that takes forget and retain set in turn"
        )
    for what, tally in (("forget", forget), ("retain", retain)):
        if tally.passes and not tally.steps:
            raise NotApplicable(
                f"rsu: {name} has fewer steps on the {what} set than there are batches, so that one would be left out: use "
                "fewer batches, a smaller batch_size, or more epochs"
            )
