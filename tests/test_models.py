import copy

import pytest
import torch
from torch import nn

from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.images.heads import Ensemble, blocks, head, head_name, logits_and_features, with_head
from unlearnkit.images.models import Classifier, build, fresh, models
from unlearnkit.methods.contracts import same

pytestmark = pytest.mark.slow

SHAPE = (1, 28, 28)  # one that every model takes
NAMES = [*sorted(models), "torchvision:mobilenet_v3_small"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), SHAPE, (3, 32, 32), (3, 112, 92)])
def test_logits_are_the_head_of_the_features(name, shape):
    if (name, shape) == ("resnet9", (1, 8, 8)):
        with pytest.raises(BadValue, match="use 'small_cnn'"):
            build(name, shape, 7, seed=0)
        return
    net = build(name, shape, 7, seed=0).eval()
    x = torch.rand(3, *shape)
    with torch.no_grad():
        logits, features = logits_and_features(net, x)
        assert logits.shape == (3, 7) and torch.equal(logits, net(x)) and torch.equal(head(net)(features), logits)
        assert not isinstance(net, Classifier) or torch.equal(net.features(x), features)
    assert not head(net)._forward_pre_hooks  # nothing is left behind


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name):
    torch.manual_seed(1)
    a = build(name, SHAPE, 10, seed=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(a, build(name, SHAPE, 10, seed=3))
    assert torch.equal(before, torch.get_rng_state())  # the global generator is left alone
    assert not same(a, build(name, SHAPE, 10, seed=4))


@pytest.mark.parametrize("name", NAMES)
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
    with pytest.raises(UnknownName, match="'torchvision:NAME'"):
        build("mobilenet_v3_small", SHAPE, 10, 0)
    with pytest.raises(UnknownName, match="torchvision classifier.* Did you mean 'mobilenet_v3_small'"):
        build("torchvision:mobilenet_v3_smal", SHAPE, 10, 0)
    with pytest.raises(BadValue, match="alexnet cannot take images of 28x28 pixels"):
        build("torchvision:alexnet", SHAPE, 10, 0)
    with pytest.raises(BadValue, match="1 or 3 channels, got 2"):
        build("torchvision:resnet18", (2, 32, 32), 10, 0)


def test_a_net_without_a_linear_head_is_named_when_it_is_built(monkeypatch):
    with pytest.raises(BadValue, match="'torchvision:squeezenet1_1': RebuildableNet has no linear head"):
        build("torchvision:squeezenet1_1", (3, 64, 64), 10, 0)
    monkeypatch.setitem(models._entries, "wide", lambda shape, n: nn.Sequential(nn.Flatten(), nn.Linear(784, n + 1)))
    with pytest.raises(BadValue, match="its last linear layer, 1, is no head for 10 classes"):
        build("wide", SHAPE, 10, 0)
    for find in (head, head_name, lambda net: logits_and_features(net, torch.zeros(1, 4))):
        with pytest.raises(BadValue, match="Sequential has no linear head"):
            find(nn.Sequential(nn.Flatten()))


def test_what_torchvision_makes_is_what_it_made():
    """Its own initialisation, of parameters that belong to no layer, too; three equal channels of a grey image."""
    from torchvision.models import get_model

    net = build("torchvision:vit_b_32", (1, 32, 32), 10, 3)
    theirs = get_model("vit_b_32", weights=None, num_classes=10, image_size=32)
    assert net.net.state_dict().keys() == theirs.state_dict().keys()
    found, expected = (v.encoder.pos_embedding.std().item() for v in (net.net, theirs))
    assert found == pytest.approx(expected, rel=0.1)
    net = build("torchvision:resnet18", (1, 32, 32), 10, 3).eval()
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(x), net.net(torch.cat([x, x, x], 1)))


def test_resnet18_has_the_stem_for_small_images():
    net = build("resnet18", (3, 32, 32), 10, 0)
    assert sum(p.numel() for p in net.parameters()) == 11_173_962
    deep = []
    net.net.layer4.register_forward_hook(lambda layer, x, y: deep.append(y.shape))
    net(torch.rand(2, 3, 32, 32))
    assert deep == [(2, 512, 4, 4)]


@pytest.mark.parametrize("name", NAMES)
def test_a_head_can_be_changed_in_a_copy(name):
    net = build(name, SHAPE, 10, 0).eval()
    before = copy.deepcopy(net)
    wider = with_head(net, nn.Linear(head(net).in_features, 11))
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert wider(x).shape == (2, 11) and torch.equal(
            logits_and_features(wider, x)[1], logits_and_features(net, x)[1]
        )
    assert same(net, before)


def test_blocks_are_the_layers_in_order():
    found = blocks(build("small_cnn", (1, 8, 8), 10, 0))
    kinds = [[type(layer).__name__ for layer in block] for block in found]
    assert kinds == [["Conv2d", "GroupNorm"], ["Conv2d", "GroupNorm"], ["Linear"], ["Linear"]]
    for name, n in (("mlp", 3), ("resnet9", 8), ("resnet18", 10), ("torchvision:mobilenet_v3_small", 15)):
        net = build(name, SHAPE, 10, 0)
        found = blocks(net)
        assert len(found) == n and found[-1][-1] is head(net), name
        inside = [id(p) for block in found for layer in block for p in layer.parameters()]
        assert inside == [id(p) for p in net.parameters()], name


def test_an_ensemble_is_the_mean_of_its_members():
    members = [build(name, SHAPE, 10, seed=i).eval() for i, name in enumerate(("mlp", "small_cnn"))]
    both, x = Ensemble(members), torch.rand(4, *SHAPE)
    with torch.no_grad():
        logits, features = logits_and_features(both, x)
        mean = torch.stack([m(x).softmax(1) for m in members]).mean(0)
        torch.testing.assert_close(logits.exp(), mean)
        assert torch.equal(both(x), logits)
        assert torch.equal(features, torch.cat([logits_and_features(m, x)[1] for m in members], 1))
    assert not same(fresh(both, 5), both)
    with pytest.raises(BadValue, match="Ensemble has no linear head"):
        head(both)
