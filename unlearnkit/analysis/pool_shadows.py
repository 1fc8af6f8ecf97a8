"""Shadow models of a whole pool, trained on random halves of it: one set of them serves all seeds, since every training
image is in half of them. They stand for shadow models of each task, which take too long on whole data sets."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from unlearnkit.core.compute import derive, generator
from unlearnkit.core.errors import BadValue, NotApplicable, unknown
from unlearnkit.images.config import Config
from unlearnkit.images.memorisation import HALF_MODELS, HalfModels, half_models
from unlearnkit.images.tasks import load_pool, load_task, pool_artefact
from unlearnkit.privacy_risk.subset_models import SubsetOutputs, halves
from unlearnkit.study.memory import Kept
from unlearnkit.study.rows import Row

STRATA = ("high", "middle", "low")  # memorisation, in the order of the targets
DRAWN_FROM = 2  # each third of a forget set is drawn from so many times as many samples, so that seeds differ


def pool_models(config: Config, n_models: int = HALF_MODELS, *, device: str = "auto") -> HalfModels:
    """What n_models models, each trained on a random half of the config's pool by its recipe, say of the whole pool."""
    digest = pool_artefact(config).info["digest"]
    kwargs = {"n_models": n_models, "device": device}
    return half_models(load_pool(config), digest, config.model, config.recipe, **kwargs)[1]


def pool_outputs(config: Config, rows: Tensor, n_models: int = HALF_MODELS, *, device: str = "auto") -> SubsetOutputs:
    """The outputs of `pool_models` on samples of the config's task, and which of the models were trained on them.

    rows: (k,) row numbers in the task; samples that no model of the task was trained on, decoys, are in half of these
    models all the same. Raises NotApplicable where a sample is no image of the pool with its own label.
    """
    task, raw = load_task(config), load_pool(config)
    order = raw.ids.argsort()
    place = order[torch.searchsorted(raw.ids[order], task.source[rows]).clamp(max=len(order) - 1)]
    if not (torch.equal(raw.ids[place], task.source[rows]) and torch.equal(raw.y[place], task.y[rows])):
        raise NotApplicable("models of the pool know its own images and labels alone: no canaries, no near-duplicates")
    said = pool_models(config, n_models, device=device)
    return SubsetOutputs(said.phi[:, place].double(), said.correct[:, place], said.inside[:, place])


def chance(shadows: SubsetOutputs, seed: int) -> SubsetOutputs:
    """The same outputs with random halves called trained on, as if nothing depended on it: what is then found is chance."""
    k, n = shadows.inside.shape
    return replace(shadows, inside=halves(k)(2 * n, derive(seed, "decoys"))[:, :n])


def memorisation_strata_config(
    config: Config, n_targets: int, n_models: int = HALF_MODELS, *, memory: str = "", device: str = "auto"
) -> Config:
    """The config with n_targets images of its pool in three equal parts: of the most memorised ones, of those nearest to
    half as memorised as these, and of the least memorised; each drawn from DRAWN_FROM times as many, by the config's seed.

    The targets stand in the order of their memorisation, the most memorised first. Chosen and judged by the same models,
    `pool_models`: a part of what makes an image seem memorised is chance. Another processor's models would choose others:
    memory keeps which they are (unlearnkit.study.memory.Kept). Source: RUM's strata (Zhao et al. 2024, arXiv 2406.01257);
    the draw is ours. Raises BadValue if there are not enough images.
    """
    config = replace(config, max_pool_images=0)  # ids may be of any image
    kept = Kept(memory, "strata", n_targets=n_targets, n_models=n_models)
    table = kept.get(Row(config, "original"), lambda: _memorised(config, n_targets, n_models, device))
    return replace(config, targets="ids", forget_ids=table.id.tolist(), n_targets=len(table))


def stratum_alone(config: Config, name: str) -> Config:
    """The config of `memorisation_strata_config` with one of its thirds, of STRATA, for the targets; what it draws beside
    them is its own. Raises UnknownName."""
    if name not in STRATA:
        raise unknown("stratum", name, STRATA)
    third = len(config.forget_ids) // 3
    first = STRATA.index(name) * third
    return replace(config, forget_ids=config.forget_ids[first : first + third], n_targets=third)


def _memorised(config: Config, n_targets: int, n_models: int, device: str) -> pd.DataFrame:
    """Column id: the images of `memorisation_strata_config`, in their order."""
    value = pool_models(config, n_models, device=device).memorisation
    third, seed = n_targets // 3, config.seed
    if third < 1 or n_targets % 3 or 3 * DRAWN_FROM * third > len(value):
        raise BadValue(
            f"n_targets must be a multiple of 3 and at most {len(value) // (3 * DRAWN_FROM) * 3}, got {n_targets}"
        )
    noise = 1e-6 * torch.rand(len(value), generator=generator(0, "ties"))  # of which there are many at 0
    free, chosen = torch.ones(len(value), dtype=torch.bool), []
    top = value + noise
    half = top.sort(descending=True).values[: DRAWN_FROM * third].mean() / 2
    for distance in (-top, (top - half).abs(), top.abs()):  # much, half as much, none
        near = distance.where(free, torch.inf).argsort()[: DRAWN_FROM * third]
        free[near] = False
        chosen.append(near[torch.randperm(len(near), generator=generator(seed, "strata", len(chosen)))[:third]])
    rows = torch.cat(chosen)
    rows = rows[top[rows].argsort(descending=True)]
    return pd.DataFrame({"id": load_pool(config).ids[rows].numpy()})
