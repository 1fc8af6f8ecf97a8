"""What half-data models know: kept so that no other machine draws other targets, and no matter of confidence."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from unlearnkit.analysis.influence import residual_influences
from unlearnkit.core.errors import BadValue
from unlearnkit.images import half_data as module
from unlearnkit.images.config import Config
from unlearnkit.images.half_data import HalfData
from unlearnkit.images.memorisation import HalfModels
from unlearnkit.images.tasks import half_data, task_artefact
from unlearnkit.images.train import Recipe

N = 400


@pytest.fixture
def halves() -> HalfData:
    """Models of halves in which an image's margin is 6 higher for those trained on it."""
    g = torch.Generator().manual_seed(0)
    ease = torch.randn(N, generator=g)  # images are not equally hard
    pairs = torch.rand(8, N, generator=g) < 0.5
    inside = torch.cat([pairs, ~pairs])
    phi = ease + 6.0 * inside + torch.randn(16, N, generator=g)
    said = HalfModels(phi, phi > 3, inside)
    return HalfData(torch.arange(N) + 1000, said.memorisation, **said.gaussians())


def test_gaussians_by_hand():
    inside = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    phi = torch.tensor([[1.0, 10.0], [5.0, 2.0], [3.0, 4.0], [9.0, 12.0]])
    found = HalfModels(phi, phi > 0, inside).gaussians()
    assert found["mean_in"].tolist() == [2, 3] and found["mean_out"].tolist() == [7, 11]
    assert found["sd_in"].item() ** 2 == pytest.approx((2 + 2) / 2)  # sums of squares over degrees of freedom
    assert found["sd_out"].item() ** 2 == pytest.approx((8 + 2) / 2)


def margins(halves: HalfData, seen: bool, rows: torch.Tensor, seed: int) -> torch.Tensor:
    mean = (halves.mean_in if seen else halves.mean_out)[rows].double()
    return mean + torch.randn(len(rows), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CHANGES = {f"divided by {t}": lambda phi, t=t: phi / t for t in (0.5, 2, 5)} | {"+ 7": lambda phi: phi + 7}


def left(halves: HalfData, change=lambda phi: phi, calibrated: bool = True) -> float:
    """Residual influence of `original`, its margins changed, by mean log-likelihood ratios."""
    targets, decoys, means = torch.arange(100), torch.arange(100, N), {}
    models = {"original": (True, lambda phi: phi), "clean": (False, lambda phi: phi), "changed": (True, change)}
    for name, (seen, how) in models.items():
        phi, others = how(margins(halves, seen, targets, 1)), how(margins(halves, False, decoys, 2))
        if calibrated:
            ratio = halves.log_ratios(phi, halves.ids[targets], others, halves.ids[decoys])[0]
        else:
            ratio = halves._ratio(phi, targets)
        means[name] = ratio.mean().item()
    return (means["changed"] - means["clean"]) / (means["original"] - means["clean"])


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_of_confidence_moves_the_ratio(halves, change):
    assert left(halves, CHANGES[change]) == pytest.approx(1, abs=0.1)


def test_the_plain_ratio_is_caught(halves):
    assert max(abs(left(halves, change, calibrated=False) - 1) for change in CHANGES.values()) > 0.1


def test_images_that_a_model_was_trained_on_are_told_from_the_others(halves):
    targets, decoys = torch.arange(100), torch.arange(100, N)
    others = margins(halves, False, decoys, 2)
    seen, unseen = (
        halves.log_ratios(margins(halves, s, targets, 1), halves.ids[targets], others, halves.ids[decoys])[0]
        for s in (True, False)
    )
    assert (seen > 0).double().mean() > 0.95 and (unseen > 0).double().mean() < 0.05


def test_the_table_says_what_the_ratio_says():
    arm = {"dataset": "digits", "train_size": 9, "architecture": "mlp", "augment": "none", "targets": "memorised",
           "control": "",
           "copies": 0, "perturbation": "block_mask", "strength": 0.0, "similarity_level": "", "n_decoys": 200,
           "TA": 0.9, "divergence": 0.1}  # fmt: skip
    rows = []
    for method in ("original", "original-again", "retrain", "retrain-again", "clean", "clean-again", "half"):
        level = {"original": 1.0, "original-again": 1.0, "half": 0.5}.get(method, 0.0)
        for seed in range(3):
            for target in range(20):
                known = level > target / 20
                rows.append(arm | {"method": method, "seed": seed, "target": target, "score": 5.0 * known,
                                   "rank": 0.5 + known / 2, "label_given": float(level > 0),
                                   "log_ratio": 4.0 if known else -4.0,
                                   "log_ratio_rank": 1.0 if known else 0.3})  # fmt: skip
    table = residual_influences(pd.DataFrame(rows)).set_index("method")
    assert table.residual_influence_likelihood_ratio.half == pytest.approx(0.5)
    assert table.likelihood_ratio_accuracy[["original", "half", "clean"]].tolist() == [1, 0.75, 0.5]
    assert table.likelihood_ratio_tpr[["original", "half", "clean"]].tolist() == [1, 0.5, 0]
    assert (
        table.residual_influence_likelihood_ratio_low.half < 0.5 < table.residual_influence_likelihood_ratio_high.half
    )


def test_kept_half_data_are_read_and_no_model_is_trained(tmp_path, monkeypatch):
    (tmp_path / "notebooks" / "grids").mkdir(parents=True)
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "first"))
    config = Config(arms=[{"targets": "memorised", "n_targets": 1, "copies": 0}], n_decoys=2, train_size=100, model="mlp",
                    recipe=Recipe(epochs=8), max_pool_images=0)  # fmt: skip
    first = half_data(config, keep=True)
    task = task_artefact(config).key
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "second"))
    monkeypatch.setattr(module, "half_models", lambda *args, **kwargs: pytest.fail("trained"))
    second = half_data(config)
    assert all(
        getattr(first, name).equal(getattr(second, name)) for name in ("memorisation", "mean_in", "sd_out", "ids")
    )
    assert task_artefact(config).key == task
    with pytest.raises(pytest.fail.Exception, match="trained"):  # of another recipe nothing is kept
        half_data(replace(config, recipe=Recipe(epochs=2)))
    (file,) = (tmp_path / "results" / "memorisation").iterdir()
    file.write_bytes(file.read_bytes()[:200])
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "third"))
    with pytest.raises(BadValue, match="damaged.*delete it"):
        half_data(config)
