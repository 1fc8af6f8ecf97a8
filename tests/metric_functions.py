"""Contracts of single functions behind metrics; each is seen to fail on a broken copy (mutants_metrics.py)."""

import math

import pytest
import torch

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics.contracts import outputs_from
from unlearnkit.texts.outputs import TextOutputs


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
    e = outputs_from(torch.tensor(p).log(), [0, 2], ["target", "target"])
    expected = [
        -0.3 * math.log(0.7) - 0.2 * math.log(0.8) - 0.1 * math.log(0.9),
        -0.7 * math.log(0.3) - 0.1 * math.log(0.9) - 0.6 * math.log(0.4),
    ]
    assert mentr(e).tolist() == pytest.approx(expected, rel=1e-6)
    certain = outputs_from([[90.0, 0.0], [90.0, 0.0]], [0, 1], ["target", "target"])  # p rounds to 1
    assert mentr(certain).tolist() == pytest.approx([0, 180], abs=1e-9)


def histogram_counts_all(histogram_kl):
    """The largest sample falls out of the last bin; arguments swapped."""
    column = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    other = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    p, q = ([(share + 1e-5) / (1 + 20e-5) for share in shares] for shares in ((0.75, 0.25), (0.5, 0.5)))
    expected = sum(a * math.log(a / b) for a, b in zip(p, q))
    assert histogram_kl(column[:, None], other[:, None]).tolist() == pytest.approx([expected])
    assert histogram_kl(column[:, None], column[:, None]).item() == 0


def min_k_is_of_a_fifth(min_k):
    """Rounded up; the end token among the least likely."""
    end = [0.01]  # the least likely of all
    p = [[0.9] * 8 + [0.1, 0.2] + end, [0.9] * 7 + [0.1, 0.2] + end, [0.5, 0.4, *end], [0.5]]
    log_p = torch.tensor([v for one in p for v in one]).log()
    e = TextOutputs(log_p=log_p, count=torch.tensor([len(one) for one in p]))
    two = (math.log(0.1) + math.log(0.2)) / 2
    assert min_k(e).tolist() == pytest.approx([two, math.log(0.1), math.log(0.4), math.log(0.5)])


def zrf_is_bounded(zrf):
    """ZRF without a bound, or a cosine in disguise."""
    e, other = (outputs_from(z, [0, 0], ["target"] * 2) for z in ([[900.0, 0], [0, 0]], [[0, 900.0], [0, 0]]))
    assert zrf(e, e) == {"target": pytest.approx(1)}
    assert zrf(e, other) == {"target": pytest.approx(1 - math.log(2) / 2)}
    mild, even = (outputs_from([[z, 0.0]], [0], ["target"]) for z in (math.log(3), 0.0))
    js = 0.5 * (0.75 * math.log(1.2) + 0.25 * math.log(2 / 3)) + 0.5 * (0.5 * math.log(0.8) + 0.5 * math.log(4 / 3))
    assert zrf(mild, even) == {"target": pytest.approx(1 - js)}


def population(memorised: bool, n: int = 300, seed: int = 0, *, tests: int = 1, lift: float = 8) -> Outputs:
    """Members are confident by `lift`, others less so; the targets are like members if memorised, else like others. There
    are `tests` times as many test samples as members."""
    g = torch.Generator().manual_seed(seed)
    roles = ["target"] * n + ["filler"] * n + ["test"] * n * tests
    margin = torch.randn(len(roles), generator=g)
    margin[n : 2 * n] += lift
    margin[:n] += lift if memorised else 0
    labels = torch.randint(2, (len(roles),), generator=g)
    logits = torch.zeros(len(roles), 2).scatter_(1, labels[:, None], margin[:, None])
    return outputs_from(logits, labels, roles)


def attack_is_right(attack):
    """A sign that is not what it says; an attack scored on samples that it was fitted on, or fitted on more of one side.
    attack(outputs) -> share of targets taken for non-members."""
    assert attack(population(True)) < 0.05, "a memorised sample is not caught"
    assert attack(population(False)) > 0.95, "a sample never seen counts as a member"
    assert attack(population(True, tests=6, lift=2)) < 0.25, "the larger side is presumed"  # 0.16 for equal sides


def stranger_is_at_chance(attack):
    """An attack fitted and scored on the same samples tells apart what cannot be told; one on sides of unequal size is
    right by naming the larger. attack(outputs) -> accuracy."""
    assert attack(population(True)) > 0.95, "a memorised sample is not caught"
    for tests in (1, 3):
        assert abs(attack(population(False, tests=tests)) - 0.5) < 0.1, "the attack finds what is not there"


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
