"""What every metric must hold to, each rule guarding against a defect seen in public code.

`check(metric, all_outputs)` runs them over a metric of your own; the tests run them over all that are registered, and see
each fail on a broken copy. A contract is a function of (metric, all_outputs) that raises AssertionError; all_outputs: those of
original, retrain, clean and initial, with what the metric needs.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import torch

from data_builders.task import ROLES
from unlearnkit.core.registry import Entry
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import text_contracts as texts
from unlearnkit.texts.outputs import TextOutputs

# scores of these are not about samples
NOT_OF_SAMPLES = {"seconds", "steps", "RTE", "relearn"}
# fitted anew, so that equal inputs in other words give about the same number
RENAMED = {"MIA-loss": 0.35, "LP": 0.02}  # other test samples are drawn beside the targets; a solver stops early
DOUBLED = {"MIA": 0.25, "avg-gap": 0.1, "ToW-MIA": 0.25, "MIA-loss": 0.35, "LP": 0.02}
# 5 neighbours are 3 where each comes twice; clusters and pairs of samples are others among copies
CHANGED_BY_COPIES = {"k-NN", "NMI", "F1", "forget-quality"}  # a test is surer of more samples


def outputs(logits, labels, roles, **more) -> Outputs:
    role = torch.tensor([ROLES.index(r) for r in roles], dtype=torch.int8)
    return Outputs(
        torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(labels), role, torch.arange(len(role)), **more
    )


def values(metric, seen: Outputs, references: Mapping[str, Outputs]) -> dict[tuple[str, str], float]:
    """{(reference, group): value}."""
    found = {}
    for name in metric.info["references"] or ("",):
        for group, value in metric(seen, references.get(name)).items():
            found[name, group] = value
    return found


def rows_of(e: Outputs, order: torch.Tensor, **more) -> Outputs:
    """The samples `order` of some outputs, as they are."""
    if isinstance(e, TextOutputs):
        return texts.rows_of(e, order, **more)
    features = None if e.features is None else e.features[order]
    margins = None if e.margins is None else e.margins[:, order]
    parts = {"logits": e.logits[order], "labels": e.labels[order], "role": e.role[order], "ids": e.ids[order]}
    return dataclasses.replace(e, **(parts | {"features": features, "margins": margins} | more))


def close(a: dict, b: dict, tolerance: float) -> bool:
    """The same keys, and values that are equal to 1e-6 of their size or `tolerance`."""
    return a.keys() == b.keys() and all(math.isclose(a[k], b[k], rel_tol=1e-6, abs_tol=tolerance) for k in a)


def both_ways(metric, seen, references, change) -> tuple[dict, dict]:
    """Values before and after `change` of all outputs."""
    return values(metric, seen, references), values(metric, change(seen), {k: change(v) for k, v in references.items()})


# --- over every registered metric ---


def order_of_samples(metric, all_outputs):
    """A metric on the first rows; an attack whose folds depend on where a sample stands."""

    def shuffled(e):
        return rows_of(e, torch.randperm(len(e.ids), generator=torch.Generator().manual_seed(1)))

    plain, mixed = both_ways(metric, all_outputs["retrain"], all_outputs, shuffled)
    assert plain and close(plain, mixed, 1e-9), "the order of samples changes the value"


def names_of_classes(metric, all_outputs):
    """An index that picks a class, or the whole batch, instead of each sample's label. Texts have no classes."""
    if isinstance(all_outputs["original"], TextOutputs):
        return
    to = torch.randperm(10, generator=torch.Generator().manual_seed(0))

    def renamed(e):
        logits = torch.empty_like(e.logits)
        logits[:, to] = e.logits
        return dataclasses.replace(e, logits=logits, labels=to[e.labels])

    plain, other = both_ways(metric, all_outputs["original"], all_outputs, renamed)
    assert close(plain, other, RENAMED.get(metric.name, 1e-6)), "the names of classes change the value"


def doubled_samples(metric, all_outputs):
    """A sum that is called a mean; a score per batch."""
    if metric.name in CHANGED_BY_COPIES:
        return

    def doubled(e):
        n = len(e.ids)
        return rows_of(e, torch.arange(n).repeat(2), ids=torch.cat([e.ids, e.ids + n]))

    once, twice = both_ways(metric, all_outputs["retrain"], all_outputs, doubled)
    assert close(once, twice, DOUBLED.get(metric.name, 1e-6)), "samples that all come twice change the value"


@functools.cache
def large(changed: bool = False) -> Outputs:
    """1,200 samples in each of five roles; `changed`: the last 200 of each are others."""
    g = torch.Generator().manual_seed(0)
    roles = [r for r in ("target", "similar", "filler", "decoy", "test") for _ in range(1200)]
    n, classes, width = len(roles), 4, 6
    labels = torch.randint(classes, (n,), generator=g)
    known = torch.tensor([1.0 if r in ("decoy", "test") else 3.0 for r in roles])[:, None]
    logits = torch.randn(n, classes, generator=g) + known * torch.nn.functional.one_hot(labels, classes)
    features = torch.randn(classes, width, generator=g)[labels] + 0.5 * torch.rand(n, width, generator=g)
    margins = logits.gather(1, labels[:, None]).T + torch.randn(8, n, generator=g)
    if changed:
        last = torch.arange(n) % 1200 >= 1000
        logits[last] = logits[last].roll(1, 1)
        features[last] = torch.randn(int(last.sum()), width, generator=g)
        margins[:, last] -= 5
    return outputs(logits, labels, roles, features=features, margins=margins, extra={"attack_class": 0})


def every_sample_counts(metric, all_outputs):
    """A metric that ran on the first 1,000 samples of a group."""
    if metric.name in NOT_OF_SAMPLES:
        return
    made = texts.large if isinstance(all_outputs["original"], TextOutputs) else large
    references = {name: made() for name in all_outputs}
    before, after = (values(metric, made(changed), references) for changed in (False, True))
    same = [key for key, value in before.items() if value == after.get(key)]
    assert not same, f"samples beyond the first 1,000 do not count: {same}"


def itself_is_perfect(metric, all_outputs):
    """An oracle row far from itself."""
    for name in metric.info["references"]:
        found = list(metric(all_outputs[name], all_outputs[name]).values())
        assert found and all(abs(v - metric.info["best"]) < 1e-9 for v in found), (
            f"{name} against itself is not {metric.info['best']}"
        )


def direction_is_as_stated(metric, all_outputs):
    """A sign that is flipped: a model that knows nothing scores better against a reference than the reference."""
    for name in metric.info["references"]:
        own, other = (metric(all_outputs[m], all_outputs[name]) for m in (name, "initial"))
        for group, value in own.items():
            gain = {"lower": value - other[group], "higher": other[group] - value, "gap": 0.0}[metric.info["direction"]]
            assert gain <= 1e-9, f"{group}: the untrained model is better than {name} itself"


class Boom(Exception):
    """What no metric expects."""


class Unreadable(Mapping):
    def _boom(self, *args):
        raise Boom

    __getitem__ = __iter__ = __len__ = __contains__ = _boom


def unreadable_rows(self, group):
    raise Boom


def exceptions_come_through(metric, all_outputs):
    """An exception that was caught and became a number."""
    seen = all_outputs["retrain"]
    kept = {f.name: getattr(seen, f.name) for f in dataclasses.fields(seen) if f.init}
    broken = type("Broken", (type(seen),), {"rows": unreadable_rows})(
        **(kept | {"cost": Unreadable(), "extra": Unreadable()})
    )
    try:
        values(metric, broken, dict.fromkeys(all_outputs, broken))
    except Boom:
        return
    raise AssertionError("an exception was swallowed")


CONTRACTS = (
    order_of_samples,
    names_of_classes,
    doubled_samples,
    every_sample_counts,
    itself_is_perfect,
    direction_is_as_stated,
    exceptions_come_through,
)


def check(metric: Entry, all_outputs: Mapping[str, Outputs]) -> dict[str, str]:
    """{contract: "holds" or what is wrong}, for a metric of your own."""
    found = {}
    for contract in CONTRACTS:
        try:
            contract(metric, all_outputs)
            found[contract.__name__] = "holds"
        except AssertionError as error:
            found[contract.__name__] = str(error)
    return found
