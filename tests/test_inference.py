import copy
import time

import pytest
import torch

from unlearnkit.core.compute import parallel_map, threads
from unlearnkit.core.errors import BadValue
from unlearnkit.images.heads import Ensemble, head, logits_and_features
from unlearnkit.images.models import build
from unlearnkit.images.predict import BATCH, predict
from unlearnkit.methods.contracts import same

SHAPE = (3, 28, 28)


def images(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_workers_have_one_thread_each_and_keep_the_order():
    with threads(3):
        rows = parallel_map(lambda own, i: (own, i, torch.get_num_threads()), range(9), workers=2, initialise=object)
        assert torch.get_num_threads() == 3
    assert [i for _, i, _ in rows] == list(range(9)) and {n for *_, n in rows} == {1}
    assert 1 <= len({id(own) for own, *_ in rows}) <= 2  # made once on each worker
    assert parallel_map(str, [], workers=0) == []


def test_after_an_error_nothing_that_waits_is_started():
    started = []

    def work(i: int) -> None:
        started.append(i)
        if i == 0:
            raise ValueError("the first")
        time.sleep(0.05)

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="the first"):
        parallel_map(work, range(100), workers=1)
    assert len(started) < 50 and torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["small_cnn", "resnet9", "torchvision:mobilenet_v3_small"])
def test_the_same_as_one_plain_pass(name):
    net, x = build(name, SHAPE, 10, 0), images(2 * BATCH + 3)
    before = copy.deepcopy(net)
    logits, features = predict(net, x)
    assert same(net, before) and net.training  # running statistics included
    with torch.no_grad():
        plain = logits_and_features(before.eval(), x.float() / 255)
    for found, expected in zip((logits, features), plain, strict=True):
        assert found.dtype == torch.float32 and not found.requires_grad
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_threads_does_not_count(precision):
    net, x = build("resnet9", SHAPE, 10, 0), images(2 * BATCH + 3)
    found = []
    for n in (1, 2, 3):
        with threads(n):
            found.append(predict(net, x, precision=precision))
            assert torch.get_num_threads() == n
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_bf16_keeps_the_head_exact():
    net, x = build("small_cnn", SHAPE, 10, 0), images(300)
    exact, _ = predict(net, x)
    logits, features = predict(net, x, precision="bf16")
    assert not torch.equal(logits, exact)
    torch.testing.assert_close(logits, exact, atol=0.02, rtol=0.02)
    assert not torch.equal(logits, logits.bfloat16().float())
    with torch.no_grad():
        torch.testing.assert_close(head(net)(features), logits, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_ensemble(precision):
    members, x = [build(name, SHAPE, 10, 0) for name in ("mlp", "small_cnn")], images(150)
    logits, features = predict(Ensemble(members), x, precision=precision)
    alone = [predict(m, x, precision=precision) for m in members]
    torch.testing.assert_close(logits.exp(), torch.stack([z.softmax(1) for z, _ in alone]).mean(0))
    assert torch.equal(features, torch.cat([f for _, f in alone], 1))


def test_floats_nothing_and_no_head():
    net, x = build("small_cnn", SHAPE, 10, 0), images(5)
    assert torch.equal(predict(net, x.float() / 255)[0], predict(net, x)[0])
    assert [v.shape for v in predict(net, x[:0])] == [(0, 10), (0, 128)]
    with pytest.raises(BadValue, match="no linear head"):
        predict(torch.nn.Flatten(), x)
