"""From a dataset's name to a stored task, and what is measured of it."""

import numpy as np
import pytest
import torch

from data_builders.task import unit
from unlearnkit import figures, study
from unlearnkit.analysis.dataset_cards import dataset_cards
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.images import tasks
from unlearnkit.images.config import config_grid
from unlearnkit.images.heads import logits_and_features
from unlearnkit.images.predict import predict
from unlearnkit.images.pretrained import FeatureExtractor, pretrained
from unlearnkit.study.reference_models import measured_pairs

pytestmark = pytest.mark.slow

SMALL = {"n_targets": 4, "train_size": 80, "copies": 3, "recipe": {"epochs": 2, "batch_size": 32}}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A set of 120 small colour images in a file of the user's own."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 12, 10, 3), dtype=np.uint8), np.arange(120) % 4
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path))
    return tmp_path / "mine.npz"


def test_a_set_of_ones_own_goes_the_whole_way(own):
    grid = config_grid(dataset="mine.npz", seeds=1, **SMALL)
    task = study.load_task(grid[0])
    assert task.x.shape[1:] == (3, 12, 10) and task.facts["licence"] == "your own" and task.facts["raw_train"] == 96
    table = study.reference_scores(grid)
    assert set(table.dataset) == {"mine.npz"} and set(table.method) == {"original", "retrain", "clean"}


def test_changed_data_is_another_pool_and_moved_data_the_same(own, tmp_path, monkeypatch):
    (config,) = config_grid(dataset="mine.npz", seeds=1, **SMALL)
    before = tasks.pool_artefact(config).key
    (tmp_path / "elsewhere").mkdir()
    own.rename(tmp_path / "elsewhere" / "mine.npz")
    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path / "elsewhere"))
    assert tasks.pool_artefact(config).key == before
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (120, 12, 10, 3), dtype=np.uint8)
    np.savez(tmp_path / "elsewhere" / "mine.npz", x=x, y=np.arange(120) % 4)
    assert tasks.pool_artefact(config).key != before


def test_the_pool_is_cut_down_once_for_all_seeds():
    few, other = config_grid(seeds=2, max_pool_images=300, test_size=50, **SMALL)
    assert tasks.pool_artefact(few).key == tasks.pool_artefact(other).key
    assert len(tasks.load_pool(few).x) == 300 and len(tasks.load_pool(few).test_x) == 50
    (named,) = config_grid(seeds=1, max_pool_images=300, targets="ids", forget_ids=[7, 1390], **SMALL)
    task = study.load_task(named)  # ids are looked for in the whole set
    assert task.source[task.index("target")].tolist() == [7, 1390]


def test_natural_neighbours_by_the_features_of_a_model():
    (config,) = config_grid(seeds=1, perturbation="feature_neighbours", strength=0.0, **SMALL)
    task = study.load_task(config)
    similar = task.source[task.index("similar")]
    pool = tasks.load_pool(config)
    place = {i: row for row, i in enumerate(pool.ids.tolist())}
    assert torch.equal(task.x[task.index("similar")], pool.x[[place[i] for i in similar.tolist()]])


def test_features_are_compared_pair_by_pair():
    (config,) = config_grid(seeds=1, **SMALL)
    task, pairs = study.load_task(config), measured_pairs(config, "original")
    model = study.references([config])[0]["original"].load()
    with torch.no_grad():
        vectors = model.features(unit(task.x))
    a, b = (vectors[torch.tensor(pairs[c].to_numpy())] for c in ("anchor", "similar"))
    assert pairs.feature_cosine.tolist() == pytest.approx(torch.cosine_similarity(a, b).tolist(), abs=1e-5)
    assert "feature_cosine" not in measured_pairs(config)
    card = dataset_cards([config], features_from="original")
    assert (
        0 < card.feature_cosine_p5[0] <= card.feature_cosine[0] <= 1
        and dataset_cards([config]).feature_cosine.isna().all()
    )


def test_any_classifier_with_a_linear_head_extracts_features():
    resnet = pretrained("resnet18", weights=None, side=32)
    assert predict(resnet, torch.zeros(2, 1, 8, 8, dtype=torch.uint8))[1].shape == (2, 512)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    extractor = FeatureExtractor(net, side=4)
    x = torch.rand(3, 3, 8, 8)
    inside = net[:3](torch.nn.functional.interpolate(x, (4, 4), mode="bilinear", antialias=True))
    assert logits_and_features(extractor, x)[1].shape == inside.shape
    with pytest.raises(BadValue, match="no linear head"):
        FeatureExtractor(torch.nn.Sequential(torch.nn.Flatten()), 8)
    with pytest.raises(UnknownName, match="Did you mean 'resnet18'"):
        pretrained("resnet81")


def test_weights_that_cannot_be_fetched_are_named(monkeypatch):
    import torchvision.models

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(BadValue, match="weights of resnet18 .* connect to the network once"):
        pretrained("resnet18")


def test_sheets_show_what_their_data_says():
    grid = config_grid(seeds=1, **SMALL)
    figure, data = figures.plot_sample_sheet(grid, blocks=[2, 3, 4, 8], strengths=[0.1, 0.5])
    assert data.groupby("block_size").size().to_dict() == {2: 2, 4: 2}  # 3 does not divide 8x8, 8 leaves one block
    assert len(figure.axes) == 2 * 3
    figure, data = figures.plot_perturbation_sheet(grid, ["ssim~0.8", "ssim~0.6"])
    asked = data[data.similarity_level != ""]
    assert (asked.ssim - asked.similarity_level.str.split("~").str[1].astype(float)).abs().max() <= 0.02
    assert {"pixel_neighbours", "feature_neighbours"} == set(data.perturbation[data.similarity_level == ""])
    figure, data = figures.plot_similarity(grid, features_from="original")
    assert set(data.relation) == {"similar", "filler", "decoy"} and data.feature_cosine.notna().all()
    assert len(figure.axes) == 3


def test_the_size_of_the_training_set():
    more = {**SMALL, "recipe": {"epochs": 24, "batch_size": 16}}
    grid = [c for n in (60, 80) for c in config_grid(seeds=2, targets="canary", **{**more, "train_size": n})]
    figure, data = figures.plot_training_size(study.reference_scores(grid))
    assert set(data.train_size) == {60, 80} and set(data.n_seeds) == {2}
    assert data.learnt.all() and data.residual_influence.notna().all() and figure.axes[0].containers
