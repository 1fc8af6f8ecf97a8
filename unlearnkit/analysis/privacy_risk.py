"""Privacy risk of the samples of a config, by any ranker, beside what chance gives; and forget sets chosen by it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor, nn

from data_builders.task import ROLES, TRAINED_ON, SimilarityTask
from unlearnkit.analysis.pool_shadows import chance, pool_outputs
from unlearnkit.core.compute import derive, generator
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.rank_correlation import over_seeds, spearman
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images.config import Config
from unlearnkit.images.request import Request, request_of
from unlearnkit.images.tasks import load_task, task_artefact
from unlearnkit.privacy_risk import rankers, ranking
from unlearnkit.privacy_risk.shadow_models import STATISTICS, ensemble, left_out
from unlearnkit.privacy_risk.subset_models import SubsetOutputs, halves
from unlearnkit.study.memory import Kept
from unlearnkit.study.reference_models import references
from unlearnkit.study.rows import Row

N_MODELS = 32
RISK_GROUPS = (*TRAINED_ON["original"], "decoy")
OF_ONE_MODEL = {"classes", "features"}  # what rankers may need that is known of a sample that was never trained on
ITSELF = "half against half"  # the row of a measure by one half of the shadow models against the same by the other


# --- risks -----------------------------------------------------------------------------------------------------------


def risks(
    configs: Sequence[Config],
    names: Sequence[str] = (),
    n_models: int = N_MODELS,
    groups: Sequence[str] = ("target", "decoy"),
    *,
    of_pool: bool = False,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """One row per sample and ranker: the columns of the config, sample (row number in the task), group, ranker, half,
    value, run. names: rankers, all of images if none are given; one that a config cannot give is left out. groups: of
    RISK_GROUPS.

    half: "" for all shadow models; of the rankers that these alone decide also "0" and "1", every other pair of them:
    two estimates that share no model show how noisy they are. Decoys were never trained on, so a random half of the
    shadow models is taken for those that were: what is found of them is chance. of_pool: the shadow models are of the whole
    pool, of which every image is in half of them (unlearnkit.analysis.pool_shadows); rankers that need shadow models of the
    task are then left out. memory: see unlearnkit.study.memory.Kept. Raises UnknownName for an unknown
    ranker, BadValue for an unknown group or too few models, NotApplicable if a config gives none of the rankers.
    """
    names = list(names) or ranking("image")
    entries = [rankers[name] for name in names]
    if of_pool:
        names = [name for name in names if name in STATISTICS or "shadows" not in rankers[name].info["needs"]]
    halves(n_models)  # fails now, not after the references
    if wrong := set(groups) - set(RISK_GROUPS):
        raise BadValue(f"groups: {', '.join(sorted(wrong))} is none of {', '.join(RISK_GROUPS)}")
    params = {"names": names, "n_models": n_models, "groups": list(groups)} | ({"of_pool": True} if of_pool else {})
    kept = Kept(memory, "risks", **params)
    missing = kept.missing([Row(config, "original") for config in configs])
    references([row.config for row in missing], ["original"], device=device)  # together
    tables = []
    with Progress("risks", len(configs)) as bar:
        for config in configs:

            def make(config=config) -> pd.DataFrame:
                original = references([config], ["original"], device=device)[0]["original"]
                spec = Spec("risks", params, (_risks, *entries), [original.key, task_artefact(config).key])
                arguments = (names, n_models, groups, of_pool, device)
                return stored_table(spec, lambda: _risks(config, original.load(), *arguments))

            tables.append(kept.get(Row(config, "original"), make).assign(**config.columns()))
            bar.step()
    return pd.concat(tables, ignore_index=True)


def _risks(
    config: Config,
    model: nn.Module,
    names: Sequence[str],
    n_models: int,
    groups: Sequence[str],
    of_pool: bool,
    device: str,
) -> pd.DataFrame:
    task, parts, refusal = load_task(config), [], None
    rows = {group: task.index(group) for group in groups if len(task.index(group))}

    def note(name: str, half: str, values: Mapping[str, Tensor]) -> None:
        for group, value in values.items():
            columns = {"sample": rows[group].numpy(), "group": group, "ranker": name, "half": half}
            parts.append(pd.DataFrame(columns | {"value": value.numpy()}))

    by_shadow_models = [name for name in names if name in STATISTICS]
    if by_shadow_models:
        source = _of_pool if of_pool else _shadow_outputs
        outputs, role = source(config, task, model, n_models, device)
        for half, models in _halves(n_models).items():
            for name in by_shadow_models:
                value = STATISTICS[name](outputs.of(models=models))
                note(name, half, {group: value[role == ROLES.index(group)] for group in rows})
    for name in (name for name in names if name not in STATISTICS):
        needs = rankers[name].info["needs"]
        options = {"n_models": n_models} if "shadows" in needs else {}
        for group in rows:
            if group == "decoy" and not OF_ONE_MODEL.issuperset(needs):
                continue
            request = _request(task, group, config)
            try:
                value = rankers[name](model, request, seed=derive(config.seed, "rank"), device=device, **options)
            except NotApplicable as error:
                refusal = error
            else:
                note(name, "", {group: value})
    if not parts:
        raise refusal or NotApplicable(f"none of the groups {', '.join(groups)} has samples that can be ranked")
    return pd.concat(parts, ignore_index=True)


def _request(task: SimilarityTask, group: str, config: Config) -> Request:
    """As if this group were to be forgotten, and all else that was trained on stayed."""
    rest = [role for role in TRAINED_ON["original"] if role != group]
    return Request(task.of(group), task.of(*rest), task.n_classes, config.recipe)


def _shadow_outputs(
    config: Config, task: SimilarityTask, model: nn.Module, n_models: int, device: str
) -> tuple[SubsetOutputs, Tensor]:
    """The outputs of the shadow models of the training set on it and on the decoys, and the role of each column."""
    shadows = ensemble(model, request_of(task, config.recipe), n_models, device)
    trained, decoys = task.index("target"), task.index("decoy")
    trained = torch.cat([trained, task.index("similar", "filler")])
    drawn = halves(n_models)(2 * len(decoys), derive(config.seed, "decoys"))[:, : len(decoys)]
    request = request_of(task, config.recipe)
    samples = request.forget.joined(request.retain, task.of("decoy"))
    return shadows.outputs(samples, torch.cat([shadows.inside, drawn], 1)), task.role[torch.cat([trained, decoys])]


def _of_pool(
    config: Config, task: SimilarityTask, model: nn.Module, n_models: int, device: str
) -> tuple[SubsetOutputs, Tensor]:
    """`_shadow_outputs` of models of the whole pool."""
    trained = torch.cat([task.index("target"), task.index("similar", "filler")])
    decoys = task.index("decoy")
    inside = pool_outputs(config, trained, n_models, device=device)
    outside = chance(pool_outputs(config, decoys, n_models, device=device), config.seed)
    parts = (torch.cat([getattr(o, f) for o in (inside, outside)], 1) for f in ("phi", "correct", "inside"))
    return SubsetOutputs(*parts), task.role[torch.cat([trained, decoys])]


def _halves(n_models: int) -> dict[str, Tensor]:
    """Rows of all models, and of every other pair of them where each half can fit its Gaussians."""
    pair = torch.arange(n_models) // 2
    rows = {"": torch.arange(n_models)}
    if n_models >= 8:
        rows |= {str(h): (pair % 2 == h).nonzero().squeeze(1) for h in (0, 1)}
    return rows


# --- proxies ---------------------------------------------------------------------------------------------------------


def spearman_columns(interval: Mapping) -> dict:
    """An interval of unlearnkit.core.rank_correlation.over_seeds as columns: spearman with its interval over n_seeds
    seeds, and spearman_low_samples, spearman_high_samples over the n_samples samples of all seeds."""
    columns = interval_columns("spearman", interval) | {"n_seeds": interval["n"]}
    columns |= {f"spearman_{end}_samples": interval[f"{end}_samples"] for end in ("low", "high")}
    return columns | {"n_samples": interval["samples"]}


def proxies_table(risks: pd.DataFrame, measures: Sequence[str] = ("lira_separation", "memorisation")) -> pd.DataFrame:
    """One row per config, group, risk_measure and risk_proxy: Spearman's correlation of the two over the samples
    (`spearman_columns`).

    ITSELF is the measure's own reliability at *half* of its models; spearman_brown in that row what it would be at all
    of them, by Spearman and Brown's 2 r / (1 + r): no proxy can be expected to exceed its root. Decoys show what is
    found where there is nothing. risks: of `risks`. Raises BadValue for a measure that is not among them.
    """
    rows = []
    for measure in measures:
        if measure not in STATISTICS or measure not in set(risks.ranker):
            known = ", ".join(sorted(set(STATISTICS) & set(risks.ranker)))
            raise BadValue(f"{measure!r} is no measure of these risks: known are {known or 'none'}")
        for (*config, group), part in risks.groupby([*CONDITION_COLUMNS, "group"], sort=False):
            seeds: dict[str, list] = {}
            for _, of_seed in part.groupby("seed"):
                wide = of_seed.pivot(index="sample", columns=["ranker", "half"], values="value")
                target = wide[measure, ""].to_numpy()
                for proxy, half in wide:
                    if half == "" and proxy != measure:
                        seeds.setdefault(proxy, []).append([target, wide[proxy, half].to_numpy()])
                if (measure, "0") in wide:
                    seeds.setdefault(ITSELF, []).append([wide[measure, h].to_numpy() for h in "01"])
            for proxy, columns in seeds.items():
                interval = over_seeds(spearman, columns)
                row = dict(zip(CONDITION_COLUMNS, config)) | {"group": group}
                row |= {"risk_measure": measure, "risk_proxy": proxy} | spearman_columns(interval)
                if proxy == ITSELF and interval["mean"] is not None:
                    row["spearman_brown"] = 2 * interval["mean"] / (1 + interval["mean"])
                rows.append(row)
    return pd.DataFrame(rows)


# --- forget sets -----------------------------------------------------------------------------------------------------


def mixed_memorisation_config(
    config: Config, n_targets: int, n_models: int = N_MODELS, *, device: str = "auto"
) -> Config:
    """The config with n_targets in three equal parts: the most memorised training samples, those nearest to half as
    memorised as these, and of the least memorised a random draw. Source: ours, after RUM (Zhao et al. 2024, arXiv
    2406.01257).

    Memorisation is that of the config's own training set; the new config draws other retained samples of its own,
    trains its own models, and ranks its targets by shadow models of its own, so that nothing is chosen and judged by
    the same numbers. Raises BadValue if there are not enough samples.
    """
    task = load_task(config)
    (refs,) = references([config], ["original"], device=device)
    request = request_of(task, config.recipe)
    third, n = n_targets // 3, len(request.forget) + len(request.retain)
    if third < 1 or n_targets >= n:
        raise BadValue(f"n_targets must be at least 3 and below the {n} training samples, got {n_targets}")
    shadows = ensemble(refs["original"].load(), request, n_models, device)
    value = left_out(shadows.outputs(request.forget.joined(request.retain), shadows.inside))
    value = value + 1e-6 * torch.rand(n, generator=generator(config.seed, "ties"))  # of which there are many at 0
    order = value.argsort(descending=True)
    high, rest = order[:third], order[third:]
    near = (value[rest] - value[high].mean() / 2).abs().argsort()
    middle = rest[near[:third]]
    left = order[~torch.isin(order, torch.cat([high, middle]))]
    low = left[-(n_targets - 2 * third) :]
    rows = torch.cat([task.index("target"), task.index("similar", "filler")])
    ids = task.source[rows[torch.cat([high, middle, low])]].tolist()
    if len(set(ids)) < len(ids):
        raise BadValue("samples made of one image cannot all be targets: start from a config without near-duplicates")
    return replace(config, targets="ids", forget_ids=ids, n_targets=len(ids))
