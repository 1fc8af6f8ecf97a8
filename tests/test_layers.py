"""Features of named layers: the right numbers, from one pass, of any classifier, within bounds."""

import pytest
import torch
from torch import nn

from unlearnkit import study
from unlearnkit.analysis.layerwise import by_depth, layer_scores
from unlearnkit.core.compute import threads
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.images import layers
from unlearnkit.images.config import config_grid
from unlearnkit.images.heads import Ensemble, logits_and_features
from unlearnkit.images.layers import features, flat, names, stages
from unlearnkit.images.models import Classifier, build
from unlearnkit.images.predict import BATCH, predict
from unlearnkit.study.model_outputs import by_layer

pytestmark = pytest.mark.slow

SHAPE = (3, 32, 32)


def images(n: int, shape=SHAPE) -> torch.Tensor:
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("name", ["small_cnn", "mlp", "resnet9", "resnet18", "torchvision:vgg11"])
def test_the_last_stage_is_what_the_head_is_fed(name):
    net, x = build(name, SHAPE, 10, 0), images(9)
    found = features(net, x, stages(net), width=10**6)
    assert len(found) == len(stages(net)) >= 2
    torch.testing.assert_close(found[stages(net)[-1]], predict(net, x)[1], atol=2e-5, rtol=1e-4)
    assert all(v.shape[0] == 9 and v.dtype == torch.float32 and not v.requires_grad for v in found.values())
    assert net.training


def test_a_layer_is_what_the_layers_before_it_make():
    net, x = build("small_cnn", (1, 8, 8), 10, 0), images(2 * BATCH + 3, (1, 8, 8))
    with torch.no_grad():
        expected = {f"body.{i}": net.eval().body[: i + 1](x.float() / 255).flatten(1) for i in range(len(net.body))}
    for n in (1, 2):
        with threads(n):
            found = features(net, x, list(expected))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_stages_of_small_nets():
    assert stages(build("mlp", SHAPE, 10, 0)) == ["body.0", "body.2", "body.4"]
    assert stages(build("small_cnn", (1, 8, 8), 10, 0)) == ["body.3", "body.7", "body.9"]
    assert stages(build("resnet18", SHAPE, 10, 0))[-2:] == ["net.layer4.0", "net.avgpool"]


def test_all_layers_come_from_one_pass():
    class Counting(nn.Flatten):
        passes = 0

        def forward(self, x):
            Counting.passes += 1
            return super().forward(x)

    net = Classifier(nn.Sequential(Counting(), nn.Linear(4, 5), nn.ReLU()), nn.Linear(5, 2))
    with threads(1):
        features(net, images(BATCH + 1, (1, 2, 2)), ["body.0", "body.1", "body.2", "head"])
    assert Counting.passes == 2  # one for each batch


def test_what_a_later_layer_writes_in_place_is_not_seen():
    linear = nn.Linear(4, 50)
    net = Classifier(nn.Sequential(nn.Flatten(), linear, nn.ReLU(inplace=True)), nn.Linear(50, 2))
    x = images(20, (1, 2, 2))
    found = features(net, x, ["body.1", "body.2"])
    torch.testing.assert_close(found["body.1"], linear(x.float().flatten(1) / 255).detach())
    assert (found["body.1"] < 0).any() and (found["body.2"] >= 0).all()


def test_a_layer_that_runs_twice_gives_what_it_gave_last():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.step(self.step(x.flatten(1))))

    net, x = Twice(), images(6, (1, 2, 2))
    torch.testing.assert_close(features(net, x, ["step"])["step"], predict(net, x)[1])


def test_maps_are_averaged_over_the_finest_grid_that_fits():
    maps = torch.arange(2 * 4 * 4 * 4.0).view(2, 4, 4, 4)
    assert torch.equal(flat(maps, width=64), maps.flatten(1))
    quarters = maps.view(2, 4, 2, 2, 2, 2).mean((3, 5)).flatten(1)
    assert flat(maps, width=63).shape == (2, 36)  # 3 x 3 configs
    torch.testing.assert_close(flat(maps, width=16), quarters)
    for width in (1, 4, 15):
        torch.testing.assert_close(flat(maps, width=width), maps.mean((2, 3)))
    tokens = maps.view(2, 16, 4)
    torch.testing.assert_close(flat(tokens), tokens.mean(1))
    assert flat(torch.zeros(1, 8, 1, 6), width=8).shape == (1, 8)
    for wrong in (torch.zeros(3), torch.zeros(1, 2, 3, 4, 5), (maps, maps)):
        with pytest.raises(BadValue, match="body.3 gives .* ask for another layer"):
            flat(wrong, "body.3")


def test_an_ensemble_has_its_members_side_by_side():
    members, x = [build("mlp", (1, 4, 4), 3, seed) for seed in (0, 1)], images(7, (1, 4, 4))
    found = features(Ensemble(members), x, ["body.4"])["body.4"]
    torch.testing.assert_close(
        found, torch.cat([logits_and_features(m, x.float() / 255)[1] for m in members], 1).detach()
    )
    assert stages(Ensemble(members)) == stages(members[0]) and names(Ensemble(members)) == names(members[0])


def test_a_layer_that_there_is_not_is_named_with_those_that_there_are():
    net = build("mlp", (1, 4, 4), 3, 0)
    with pytest.raises(UnknownName, match="'body.44'. Did you mean 'body.4'\\? Known: body, body.0, .*, head"):
        features(net, images(2, (1, 4, 4)), ["head", "body.44"])
    with pytest.raises(BadValue, match="at least one layer"):
        features(net, images(2, (1, 4, 4)), [])
    with pytest.raises(BadValue, match="width must be at least 1"):
        features(net, images(2, (1, 4, 4)), ["head"], width=0)
    idle = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), nn.Linear(4, 3))
    idle.unused = nn.Linear(2, 2)
    with pytest.raises(BadValue, match="no image passes through unused"):
        features(idle, images(2, (1, 4, 4)), ["unused"])


SMALL = {"targets": "class", "copies": 0, "train_size": 120, "recipe": {"epochs": 8, "batch_size": 32, "lr": 0.1}}


def test_outputs_of_layers_is_taken_once_and_the_last_is_that_of_the_head(monkeypatch):
    (config,) = config_grid(seeds=1, **SMALL)
    model = study.model(config, "original")
    found = by_layer(model)
    assert list(found) == ["body.3", "body.7", "body.9"]
    seen = study.outputs(model, features=True)[1]
    torch.testing.assert_close(found["body.9"][1].features, seen.features)
    assert torch.equal(found["body.3"][1].logits, seen.logits) and found["body.3"][1].features.shape[1] == 128
    asked, real = [], layers.features
    monkeypatch.setattr(
        layers, "features", lambda net, x, wanted, **how: asked.append(wanted) or real(net, x, wanted, **how)
    )
    assert by_layer(model, ["body.7"])["body.7"][0] == found["body.7"][0]
    by_layer(model, ["body.3", "head", "body.0"])
    assert asked == [["head", "body.0"]]  # one pass, for what was not there


def test_metrics_layer_by_layer():
    grid = config_grid(seeds=2, **SMALL)
    found = layer_scores(grid, ["original", "classifier_only", "initial", "unsir"], metrics=["DA", "CKA", "k-NN"])
    table = by_depth(found)
    assert (
        set(table.layer) == {"body.3", "body.7", "body.9"}
        and set(table.depth) == {1, 2, 3}
        and set(table.n_seeds) == {2}
    )
    assert set(table.method) == {"original", "classifier_only", "initial", "unsir"}
    wide = found.pivot_table(index=["seed", "metric", "reference", "group", "layer"], columns="method", values="value")
    assert torch.allclose(
        *(torch.tensor(wide[m].values) for m in ("original", "classifier_only"))
    )  # features untouched
    last = found[(found.method == "original") & (found.depth == 3) & (found.metric == "DA")]
    usual = study.scores(grid, ["original"], metrics=["DA"])
    assert last.value.tolist() == pytest.approx(usual.value.tolist())
    with pytest.raises(BadValue, match="'UA' does not read features alone: of layers there are CKA, DA"):
        layer_scores(grid, ["original"], metrics=["UA"])
