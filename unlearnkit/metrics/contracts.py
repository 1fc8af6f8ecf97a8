"""The contracts of metrics; each guards against a defect seen in public code.

`check(metric, all_outputs)` runs them over a metric of your own; the tests run them over every registered metric, and
see each contract fail on a broken one. A contract is a function of (metric, all_outputs) that raises AssertionError;
all_outputs: {model: outputs} of original, retrain, clean and initial, with all that the metric needs.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import torch

from data_builders.task import ROLES
from unlearnkit.core.registry import Entry
from unlearnkit.images.outputs import Outputs
from unlearnkit.texts.outputs import TextOutputs

# these do not depend on samples
NOT_OF_SAMPLES = {"seconds", "steps", "RTE", "relearn"}
# tolerances of metrics that are fitted anew, so that equivalent inputs give about the same number
RENAMED = {"MIA-loss": 0.35}  # other test samples are drawn beside the targets
DOUBLED = {"MIA": 0.25, "avg-gap": 0.1, "ToW-MIA": 0.25, "MIA-loss": 0.35, "influence": 0.5}  # a deviation of n - 1
# 5 neighbours are 3 where each comes twice; clusters and pairs of samples are others among duplicates
CHANGED_BY_DUPLICATES = {"k-NN", "NMI", "F1", "forget-quality"}  # a test is surer of more samples


def outputs_from(logits, labels, roles, **fields) -> Outputs:
    """Outputs from lists: logits (n, classes), labels and names of roles (n,)."""
    role = torch.tensor([ROLES.index(r) for r in roles], dtype=torch.int8)
    logits, labels = torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(labels)
    return Outputs(logits, labels, role, torch.arange(len(role)), **fields)


def values(metric, outputs: Outputs, references: Mapping[str, Outputs]) -> dict[tuple[str, str], float]:
    """{(reference, group): value}."""
    names = metric.info["references"] or ("",)
    return {(name, group): v for name in names for group, v in metric(outputs, references.get(name)).items()}


def close(a: dict, b: dict, tolerance: float) -> bool:
    """The same keys, and values that are equal to 1e-6 of their size or `tolerance`."""
    return a.keys() == b.keys() and all(math.isclose(a[k], b[k], rel_tol=1e-6, abs_tol=tolerance) for k in a)


def before_and_after(metric, outputs, references, change) -> tuple[dict, dict]:
    """Values before and after `change` of all outputs."""
    changed = {name: change(reference) for name, reference in references.items()}
    return values(metric, outputs, references), values(metric, change(outputs), changed)


# --- over every registered metric ---


def order_of_samples(metric, all_outputs):
    """A metric on the first rows; an attack whose folds depend on where a sample stands."""

    def shuffled(outputs):
        return outputs.select(torch.randperm(len(outputs.ids), generator=torch.Generator().manual_seed(1)))

    plain, mixed = before_and_after(metric, all_outputs["retrain"], all_outputs, shuffled)
    assert plain and close(plain, mixed, 1e-9), "the order of samples changes the value"


def names_of_classes(metric, all_outputs):
    """An index that picks a class, or the whole batch, instead of each sample's label. Texts have no classes."""
    if all_outputs["original"].domain == "text":
        return
    new_name = torch.randperm(10, generator=torch.Generator().manual_seed(0))

    def renamed(outputs):
        logits = torch.empty_like(outputs.logits)
        logits[:, new_name] = outputs.logits
        return dataclasses.replace(outputs, logits=logits, labels=new_name[outputs.labels])

    plain, other = before_and_after(metric, all_outputs["original"], all_outputs, renamed)
    assert close(plain, other, RENAMED.get(metric.name, 1e-6)), "the names of classes change the value"


def doubled_samples(metric, all_outputs):
    """A sum that is called a mean; a score per batch."""
    if metric.name in CHANGED_BY_DUPLICATES:
        return

    def doubled(outputs):
        n = len(outputs.ids)
        return outputs.select(torch.arange(n).repeat(2), ids=torch.cat([outputs.ids, outputs.ids + n]))

    once, twice = before_and_after(metric, all_outputs["retrain"], all_outputs, doubled)
    assert close(once, twice, DOUBLED.get(metric.name, 1e-6)), "samples that all come twice change the value"


def every_sample_counts(metric, all_outputs):
    """A metric that ran on the first 1,000 samples of a group."""
    if metric.name in NOT_OF_SAMPLES:
        return
    large = LARGE[all_outputs["original"].domain]
    references = {name: large() for name in all_outputs}
    before, after = (values(metric, large(changed), references) for changed in (False, True))
    same = [key for key, value in before.items() if value == after.get(key)]
    assert not same, f"samples beyond the first 1,000 do not count: {same}"


def itself_is_perfect(metric, all_outputs):
    """An oracle row far from itself. A metric may have no number there, if it says why."""
    for name in metric.info["references"]:
        own = all_outputs[name]
        scores, why = list(metric(own, own).values()), metric.info.get("left_out", lambda *_: {})(own, own)
        assert (scores or why) and all(abs(v - metric.info["best"]) < 1e-9 for v in scores), (
            f"{name} against itself is not {metric.info['best']}"
        )


def direction_is_as_stated(metric, all_outputs):
    """A flipped sign: the untrained model scores better against a reference than the reference itself."""
    for name in metric.info["references"]:
        own, other = (metric(all_outputs[m], all_outputs[name]) for m in (name, "initial"))
        for group, value in own.items():
            gain = {"lower": value - other[group], "higher": other[group] - value, "gap": 0.0}[metric.info["direction"]]
            assert gain <= 1e-9, f"{group}: the untrained model is better than {name} itself"


class Boom(Exception):
    """An exception that no metric expects."""


def unreadable(self, *args):
    raise Boom


class Unreadable(Mapping):
    __getitem__ = __iter__ = __len__ = __contains__ = unreadable


def exceptions_come_through(metric, all_outputs):
    """An exception that was caught and became a number."""
    outputs = all_outputs["retrain"]
    steps = property(unreadable, lambda self, value: None)
    broken_type = type("Broken", (type(outputs),), {"rows": unreadable, "relearn_steps": steps})
    fields = {f.name: getattr(outputs, f.name) for f in dataclasses.fields(outputs) if f.init}
    broken = broken_type(**(fields | {"cost": Unreadable()}))
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
    verdicts = {}
    for contract in CONTRACTS:
        try:
            contract(metric, all_outputs)
            verdicts[contract.__name__] = "holds"
        except AssertionError as error:
            verdicts[contract.__name__] = str(error)
    return verdicts


# --- outputs of 1,200 samples in each of five roles; with `changed` the last 200 of each are others ---

EACH, CHANGED = 1200, 200
LARGE_ROLES = [role for role in ("target", "similar", "filler", "decoy", "test") for _ in range(EACH)]
WORDS = ("amber", "bridge", "copper", "dairy", "ember", "ferry")


@functools.cache
def large_outputs(changed: bool = False) -> Outputs:
    """Of images: four classes, six features, margins of eight models."""
    g, n, classes, width = torch.Generator().manual_seed(0), len(LARGE_ROLES), 4, 6
    labels = torch.randint(classes, (n,), generator=g)
    confidence = torch.tensor([1.0 if r in ("decoy", "test") else 3.0 for r in LARGE_ROLES])[:, None]
    logits = torch.randn(n, classes, generator=g) + confidence * torch.nn.functional.one_hot(labels, classes)
    features = torch.randn(classes, width, generator=g)[labels] + 0.5 * torch.rand(n, width, generator=g)
    margins = logits.gather(1, labels[:, None]).T + torch.randn(8, n, generator=g)
    if changed:
        last = torch.arange(n) % EACH >= EACH - CHANGED
        logits[last] = logits[last].roll(1, 1)
        features[last] = torch.randn(int(last.sum()), width, generator=g)
        margins[:, last] -= 5
    return outputs_from(logits, labels, LARGE_ROLES, features=features, margins=margins, attack_class=0)


@functools.cache
def large_text_outputs(changed: bool = False) -> TextOutputs:
    """Of texts: answers of two tokens, restated and wrong answers of one, six features, margins of eight models."""
    g, n = torch.Generator().manual_seed(0), len(LARGE_ROLES)
    scale = torch.tensor([3.0 if r in ("decoy", "test") else 1.0 for r in LARGE_ROLES])
    loss = scale[:, None] * torch.rand(n, 2, generator=g)
    restated, wrong = scale * torch.rand(n, generator=g), 2 * torch.rand(n, generator=g)
    features = torch.randn(n, 6, generator=g) * torch.tensor([4, 2, 1, 0.1, 0.1, 0.1])
    answers = [f"{WORDS[i % 6]} {WORDS[i % 5]}" for i in range(n)]
    generations = [answer if i % 3 else "amber" for i, answer in enumerate(answers)]
    similarity = torch.rand(n, generator=g)
    margins = torch.randn(8, n, generator=g) - loss.mean(1)
    if changed:
        last = torch.arange(n) % EACH >= EACH - CHANGED
        loss[last] += 2
        restated[last] += 1
        features[last] = torch.randn(int(last.sum()), 6, generator=g)
        margins[:, last] -= 5
        similarity[last] /= 2
        generations = ["" if gone else text for text, gone in zip(generations, last.tolist())]
    one = torch.ones(n, dtype=torch.int64)
    return TextOutputs(
        role=torch.tensor([ROLES.index(r) for r in LARGE_ROLES], dtype=torch.int8), ids=torch.arange(n),
        log_p=-loss.flatten(), hit=loss.flatten() < 1, count=2 * one, features=features, margins=margins,
        restated_log_p=-restated, restated_count=one, wrong_log_p=-wrong, wrong_count=one, wrong_of=torch.arange(n),
        answer=tuple(answers), fact=tuple(a.split()[0] for a in answers), generations=tuple(generations),
        answer_similarity=similarity,
    )  # fmt: skip


LARGE = {"image": large_outputs, "text": large_text_outputs}
