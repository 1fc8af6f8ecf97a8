"""What every metric must hold to, each guarding against a defect seen in public code.

`CONTRACTS` run over all registered metrics (test_metrics.py), the others over the functions below them; each is seen to
fail on a broken copy (mutants_metrics.py). A contract raises AssertionError.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import pytest
import torch

from unlearnkit.evidence import Evidence
from unlearnkit.task import ROLES

# scores of these are not about samples
NOT_OF_SAMPLES = {"seconds", "steps", "RTE", "relearn"}
# fitted anew, so that equal inputs in other words give about the same number
RENAMED = {"MIA-loss": 0.35, "LP": 0.02}  # other test samples are drawn beside the targets; a solver stops early
DOUBLED = {"MIA": 0.25, "MIA-filler": 0.25, "avg-gap": 0.1, "ToW-MIA": 0.25, "MIA-loss": 0.35, "LP": 0.02}
# 5 neighbours are 3 where each comes twice; clusters and pairs of samples are others among copies
CHANGED_BY_COPIES = {"k-NN", "NMI", "F1"}


def evidence(logits, labels, roles, **more) -> Evidence:
    role = torch.tensor([ROLES.index(r) for r in roles], dtype=torch.int8)
    return Evidence(
        torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(labels), role, torch.arange(len(role)), **more
    )


def values(metric, seen: Evidence, references: Mapping[str, Evidence]) -> dict[tuple[str, str], float]:
    """{(reference, group): value}."""
    found = {}
    for name in metric.info["references"] or ("",):
        for group, value in metric(seen, references.get(name)).items():
            found[name, group] = value
    return found


def rows_of(e: Evidence, order: torch.Tensor, **more) -> Evidence:
    """The samples `order` of some evidence, as they are."""
    features = None if e.features is None else e.features[order]
    margins = None if e.margins is None else e.margins[:, order]
    parts = {"logits": e.logits[order], "labels": e.labels[order], "role": e.role[order], "ids": e.ids[order]}
    return dataclasses.replace(e, **(parts | {"features": features, "margins": margins, "_memo": {}} | more))


def both_ways(metric, seen, references, change) -> tuple[dict, dict]:
    """Values before and after `change` of all evidence."""
    return values(metric, seen, references), values(metric, change(seen), {k: change(v) for k, v in references.items()})


# --- over every registered metric ---


def order_of_samples(metric, evidences):
    """A metric on the first rows; an attack whose folds depend on where a sample stands."""

    def shuffled(e):
        return rows_of(e, torch.randperm(len(e.ids), generator=torch.Generator().manual_seed(1)))

    plain, mixed = both_ways(metric, evidences["retrain"], evidences, shuffled)
    assert plain and plain == pytest.approx(mixed, rel=1e-6, abs=1e-9), "the order of samples changes the value"


def names_of_classes(metric, evidences):
    """An index that picks a class, or the whole batch, instead of each sample's label."""
    to = torch.randperm(10, generator=torch.Generator().manual_seed(0))

    def renamed(e):
        logits = torch.empty_like(e.logits)
        logits[:, to] = e.logits
        return dataclasses.replace(e, logits=logits, labels=to[e.labels], _memo={})

    plain, other = both_ways(metric, evidences["original"], evidences, renamed)
    close = pytest.approx(other, rel=1e-6, abs=RENAMED.get(metric.name, 1e-6))
    assert plain == close, "the names of classes change the value"


def doubled_samples(metric, evidences):
    """A sum that is called a mean; a score per batch."""
    if metric.name in CHANGED_BY_COPIES:
        return

    def doubled(e):
        n = len(e.ids)
        return rows_of(e, torch.arange(n).repeat(2), ids=torch.cat([e.ids, e.ids + n]))

    once, twice = both_ways(metric, evidences["retrain"], evidences, doubled)
    close = pytest.approx(twice, rel=1e-6, abs=DOUBLED.get(metric.name, 1e-6))
    assert once == close, "samples that all come twice change the value"


@functools.cache
def large(changed: bool = False) -> Evidence:
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
    return evidence(logits, labels, roles, features=features, margins=margins)


def every_sample_counts(metric, evidences):
    """A metric that ran on the first 1,000 samples of a group."""
    if metric.name in NOT_OF_SAMPLES:
        return
    references = {name: large() for name in evidences}
    before, after = (values(metric, large(changed), references) for changed in (False, True))
    same = [key for key, value in before.items() if value == after.get(key)]
    assert not same, f"samples beyond the first 1,000 do not count: {same}"


def itself_is_perfect(metric, evidences):
    """An oracle row far from itself."""
    for name in metric.info["references"]:
        found = list(metric(evidences[name], evidences[name]).values())
        best = pytest.approx([metric.info["best"]] * len(found), abs=1e-9)
        assert found and found == best, f"{name} against itself is not {metric.info['best']}"


def direction_is_as_stated(metric, evidences):
    """A sign that is flipped: a model that knows nothing scores better against a reference than the reference."""
    for name in metric.info["references"]:
        own, other = (metric(evidences[m], evidences[name]) for m in (name, "initial"))
        for group, value in own.items():
            gain = {"lower": value - other[group], "higher": other[group] - value, "gap": 0.0}[metric.info["direction"]]
            assert gain <= 1e-9, f"{group}: the untrained model is better than {name} itself"


class Boom(Exception):
    """What no metric expects."""


class Unreadable(Mapping):
    def _boom(self, *args):
        raise Boom

    __getitem__ = __iter__ = __len__ = __contains__ = _boom


class Broken(Evidence):
    """Evidence of which no group can be read."""

    def rows(self, group):
        raise Boom


def exceptions_come_through(metric, evidences):
    """An exception that was caught and became a number."""
    kept = {f.name: getattr(evidences["retrain"], f.name) for f in dataclasses.fields(Evidence)}
    broken = Broken(**(kept | {"cost": Unreadable(), "extra": Unreadable(), "_memo": {}}))
    try:
        values(metric, broken, dict.fromkeys(evidences, broken))
    except Boom:
        return
    raise AssertionError("an exception was swallowed")


CONTRACTS = [
    order_of_samples,
    names_of_classes,
    doubled_samples,
    every_sample_counts,
    itself_is_perfect,
    direction_is_as_stated,
    exceptions_come_through,
]


# --- over single functions ---


def log(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def kl_is_kl(kl):
    """Arguments swapped; a mean over classes where a sum is meant."""
    p, q = log([0.5, 0.5], [0.2, 0.8]), log([0.9, 0.1], [0.5, 0.5])
    assert kl(p, p).tolist() == pytest.approx([0, 0])
    expected = [0.5 * math.log(5 / 9) + 0.5 * math.log(5), 0.2 * math.log(0.4) + 0.8 * math.log(1.6)]
    assert kl(p, q).tolist() == pytest.approx(expected)
    assert kl(q, p).tolist() != pytest.approx(expected, abs=1e-3)


def js_is_bounded(js):
    """A divergence that is called Jensen-Shannon."""
    p, q = log([1.0, 0.0], [0.5, 0.5], [0.25, 0.75]), log([0.0, 1.0], [0.5, 0.5], [0.75, 0.25])
    middle = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert js(p, q).tolist() == pytest.approx([math.log(2), 0, middle])
    assert js(q, p).tolist() == pytest.approx(js(p, q).tolist())


def modified_entropy_is_right(mentr):
    """log p where log(1 - p) is meant; an index over the whole batch instead of each sample's label."""
    p = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]
    e = evidence(torch.tensor(p).log(), [0, 2], ["target", "target"])
    expected = [
        -0.3 * math.log(0.7) - 0.2 * math.log(0.8) - 0.1 * math.log(0.9),
        -0.7 * math.log(0.3) - 0.1 * math.log(0.9) - 0.6 * math.log(0.4),
    ]
    assert mentr(e).tolist() == pytest.approx(expected, rel=1e-6)
    certain = evidence([[90.0, 0.0], [90.0, 0.0]], [0, 1], ["target", "target"])  # p rounds to 1
    assert mentr(certain).tolist() == pytest.approx([0, 180], abs=1e-9)


def histogram_counts_all(histogram_kl):
    """The largest sample falls out of the last bin; arguments swapped."""
    column = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    other = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    p, q = ([(share + 1e-5) / (1 + 20e-5) for share in shares] for shares in ((0.75, 0.25), (0.5, 0.5)))
    expected = sum(a * math.log(a / b) for a, b in zip(p, q))
    assert histogram_kl(column[:, None], other[:, None]).tolist() == pytest.approx([expected])
    assert histogram_kl(column[:, None], column[:, None]).item() == 0


def zrf_is_bounded(zrf):
    """ZRF without a bound, or a cosine in disguise."""
    e, other = (evidence(z, [0, 0], ["target"] * 2) for z in ([[900.0, 0], [0, 0]], [[0, 900.0], [0, 0]]))
    assert zrf(e, e) == {"target": pytest.approx(1)}
    assert zrf(e, other) == {"target": pytest.approx(1 - math.log(2) / 2)}
    mild, even = (evidence([[z, 0.0]], [0], ["target"]) for z in (math.log(3), 0.0))
    js = 0.5 * (0.75 * math.log(1.2) + 0.25 * math.log(2 / 3)) + 0.5 * (0.5 * math.log(0.8) + 0.5 * math.log(4 / 3))
    assert zrf(mild, even) == {"target": pytest.approx(1 - js)}


def population(memorised: bool, n: int = 300, seed: int = 0) -> Evidence:
    """Members are confident, others less so; the targets are like members if memorised, else like others."""
    g = torch.Generator().manual_seed(seed)
    roles = ["target"] * n + ["filler"] * n + ["test"] * n
    margin = torch.randn(3 * n, generator=g)
    margin[n : 2 * n] += 8
    margin[:n] += 8 if memorised else 0
    labels = torch.randint(2, (3 * n,), generator=g)
    logits = torch.zeros(3 * n, 2).scatter_(1, labels[:, None], margin[:, None])
    return evidence(logits, labels, roles)


def attack_is_right(attack):
    """A sign that is not what it says; an attack scored on samples that it was fitted on. attack(evidence) -> share of
    targets taken for non-members."""
    assert attack(population(True)) < 0.05, "a memorised sample is not caught"
    assert attack(population(False)) > 0.95, "a sample never seen counts as a member"


def stranger_is_at_chance(attack):
    """An attack fitted and scored on the same samples tells apart what cannot be told. attack(evidence) -> accuracy."""
    assert attack(population(True)) > 0.95, "a memorised sample is not caught"
    assert abs(attack(population(False)) - 0.5) < 0.1, "the attack finds what is not there"


def batches_do_not_matter(take, task):
    """Evidence taken in training mode: a sample's output depends on which others are in its batch."""
    layers = [torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 10)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(*layers)
        for layer in layers[1::2]:
            layer.reset_parameters()
    a, b = (take(model, task, features=True, batch_size=size, device="cpu") for size in (64, 1000))
    torch.testing.assert_close(a.logits, b.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(a.features, b.features, atol=1e-5, rtol=1e-4)
