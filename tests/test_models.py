import pytest
import torch
from torch import nn

from unlearnkit.contracts import same
from unlearnkit.errors import BadValue, UnknownName
from unlearnkit.models import build, fresh, models

SHAPE = (1, 28, 28)  # one that every model takes


@pytest.mark.parametrize("name", sorted(models))
@pytest.mark.parametrize("shape", [(1, 8, 8), SHAPE, (3, 32, 32), (3, 112, 92)])
def test_logits_are_the_head_of_the_features(name, shape):
    if (name, shape) == ("resnet9", (1, 8, 8)):
        with pytest.raises(BadValue, match="use 'small_cnn'"):
            build(name, shape, 7, seed=0)
        return
    net = build(name, shape, 7, seed=0).eval()
    x = torch.rand(3, *shape)
    assert net(x).shape == (3, 7)
    assert torch.equal(net.head(net.features(x)), net(x))


@pytest.mark.parametrize("name", sorted(models))
def test_the_seed_alone_decides_the_weights(name):
    torch.manual_seed(1)
    a = build(name, SHAPE, 10, seed=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(a, build(name, SHAPE, 10, seed=3))
    assert torch.equal(before, torch.get_rng_state())  # the global generator is left alone
    assert not same(a, build(name, SHAPE, 10, seed=4))


@pytest.mark.parametrize("name", sorted(models))
def test_fresh_draws_every_tensor_anew(name):
    a = build(name, SHAPE, 10, seed=3)
    for p in a.state_dict().values():
        p.copy_(torch.rand(p.shape) + 1)  # trained: the norms' weights and running statistics have moved, too
    b = fresh(a, seed=4)
    assert all(not torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_weight_that_cannot_be_drawn_anew_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.layer = nn.Linear(2, 2)

    with pytest.raises(BadValue, match="scale"):
        fresh(Odd(), 0)


def test_errors_name_the_way_out():
    with pytest.raises(UnknownName, match="Did you mean 'small_cnn'"):
        build("small_cn", (1, 8, 8), 10, 0)
    with pytest.raises(BadValue, match="use 'mlp'"):
        build("small_cnn", (1, 2, 2), 10, 0)
