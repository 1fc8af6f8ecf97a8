"""Shadow ensembles over a grid: many models of each kind from other seeds, compared sample by sample with the three worlds
(unlearnkit.analysis.distributions).

Two sets of models made in the same way still differ by chance, so the rows `retrain` and `clean-again`, the references
from other seeds, are the floor that stands beside every number.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from data_builders.task import TRAINED_ON
from unlearnkit import study
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, summarise
from unlearnkit.core.store import Spec, Store
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.tasks import load_task, task_artefact
from unlearnkit.metrics.ensembles import histogram_kl, lira, lira_accuracy, resolvable, tpr_at
from unlearnkit.study.reference_models import Trained, train_references

WORLDS = tuple(TRAINED_ON)  # original, retrain, clean
SCORED_GROUPS = ("target", "similar", "filler", "decoy", "test")
MIN_MODELS = 4  # models of a kind: two to fit a Gaussian on, two to test
FAR = 3.0  # standard deviations


def drop_diverged(*ensembles: Tensor) -> list[Tensor]:
    """The ensembles, each (draws, samples), without the draws that diverged in one of them: what is compared has the
    same number of models, and a model stays beside the original that it was made from.

    Raises BadValue if fewer than FEWEST draws stay.
    """
    whole = torch.stack([e.isfinite().all(1) for e in ensembles]).all(0)
    if whole.sum() < MIN_MODELS:
        raise BadValue(f"of {len(whole)} models only {int(whole.sum())} did not diverge, and at least {MIN_MODELS} are needed: "
                       "ask for more, leave the method out, or change its options")  # fmt: skip
    return [e[whole] for e in ensembles]


def nearest_reference(models: Tensor, worlds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{world, or "none": share of the models whose margin is likeliest there, (samples,)}; worlds that tie share a model,
    and one that is more than FAR standard deviations from every world comes from none of them.

    models and each world: (draws, samples). Each sample has one Gaussian per world, fitted on every other draw and
    evaluated on the rest, then the other way round, so that no model is judged by itself or by the original that it was
    made from. Source: ours, after U-LiRA's two worlds.
    """
    found = torch.zeros(len(worlds), models.shape[1], dtype=torch.float64)
    for fold in (0, 1):
        fitted = [v[1 - fold :: 2].double() for v in worlds.values()]
        held = models[fold::2].double()
        gaussians = [torch.distributions.Normal(v.mean(0), v.std(0).clamp(min=1e-6)) for v in fitted]
        likely = torch.stack([g.log_prob(held) for g in gaussians])  # (worlds, draws, samples)
        near = torch.stack([(held - g.mean).abs() <= FAR * g.stddev for g in gaussians]).any(0)
        best = (likely == likely.amax(0)).double()
        found += (near * best / best.sum(0)).sum(1)
    shares = found / len(models)
    return dict(zip(worlds, shares)) | {"none": 1 - shares.sum(0)}


def compare(models: Tensor, worlds: Mapping[str, Tensor]) -> pd.DataFrame:
    """Per sample and world: columns sample (column number), reference, klom, lira, assigned.

    klom: KL(models || world) of the margins, nats; lira: accuracy of telling the two apart by one margin; assigned: share
    of the models that are likeliest there; what is missing to 1 comes from none. models, worlds: (draws, samples), no NaN.
    """
    share = nearest_reference(models, worlds)
    parts = []
    for name, world in worlds.items():
        values = {"klom": histogram_kl(models, world), "lira": lira_accuracy(models, world), "assigned": share[name]}
        part = pd.DataFrame({k: v.numpy() for k, v in values.items()}).rename_axis("sample").reset_index()
        parts.append(part.assign(reference=name))
    return pd.concat(parts, ignore_index=True)


def attack_tables(
    models: Tensor, worlds: Mapping[str, Tensor], task: Outputs, fpr: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(samples, scores) of one row: `compare` with columns group and models (how many), for the samples in GROUPS; and
    their means over each group with U-LiRA-TPR at `fpr`, columns metric, reference, group, value.

    models, worlds: (draws, samples), NaN for a draw that diverged; task: for its roles. The rate is left out where the
    draws that stay cannot resolve it.
    """
    asked = len(models)
    models, *rest = drop_diverged(models, *worlds.values())
    worlds = dict(zip(worlds, rest))
    rows = {g: task.rows(g) for g in SCORED_GROUPS if len(task.rows(g))}
    group = pd.Series({i: g for g, found in rows.items() for i in found.tolist()}, name="group")
    samples = compare(models, worlds).join(group, on="sample", how="inner").assign(models=len(models))
    means = samples.groupby(["reference", "group"])[["klom", "lira", "assigned"]].mean()
    means.columns = ["KLoM", "U-LiRA", "assigned"]
    scores = means.rename_axis(columns="metric").stack().rename("value").reset_index()
    none = 1 - means.assigned.groupby("group").sum()
    more = [("assigned", "none", g, value) for g, value in none.items()]
    more.append(("diverged-models", "", "all", float(asked - len(models))))
    for name, world in worlds.items():
        inside, outside = lira(models[:, rows["target"]], world[:, rows["target"]])
        if resolvable(outside, fpr):
            more.append(("U-LiRA-TPR", name, "target", tpr_at(inside, outside, fpr)))
    more = pd.DataFrame(more, columns=["metric", "reference", "group", "value"])
    return samples.reset_index(drop=True), pd.concat([scores, more], ignore_index=True)


NOISE_FLOOR_ROWS = {"retrain": "retrain", "clean-again": "clean"}  # rows that are a reference from other seeds

ATTACK_COLUMNS = {  # column: metric, group, reference
    **{f"as_{w}": ("assigned", "target", w) for w in (*WORLDS, "none")},
    **{f"LiRA_{w}": ("U-LiRA", "target", w) for w in ("retrain", "clean")},
    **{f"TPR_{w}": ("U-LiRA-TPR", "target", w) for w in ("retrain", "clean")},
    **{f"KLoM_{w}": ("KLoM", "target", w) for w in ("retrain", "clean")},
    **{f"similar_as_{w}": ("assigned", "similar", w) for w in (*WORLDS, "none")},
    **{f"LiRA_similar_{w}": ("U-LiRA", "similar", w) for w in ("retrain", "clean")},
}


# --- one ensemble ----------------------------------------------------------------------------------------------------


def members(
    config: Config,
    name: str,
    n: int,
    options: Mapping | None = None,
    *,
    tuned: bool = True,
    reference: bool = False,
    device: str = "auto",
) -> list[Trained | None]:
    """n models of one kind from other seeds, None for each that diverged; those of study.ensemble, where that takes them.

    name: with reference=True one of WORLDS; else a method, "original", "initial", or one of FLOORS. The floor `retrain` is
    trained as the reference is, together, and not one by one as the method of that name, which draws from the same
    distribution.
    """
    repeats = _repeats(n)
    if reference or name in (*WORLDS, *NOISE_FLOOR_ROWS):
        again = "" if reference or name not in NOISE_FLOOR_ROWS else "again"
        of = name if reference else NOISE_FLOOR_ROWS.get(name, name)
        return _trained([(config, of, again + repeat) for repeat in repeats], device)
    if name == study.INITIAL:
        return [study.untrained(config, repeat=repeat) for repeat in repeats]
    made = []
    for repeat, before in zip(repeats, _trained([(config, "original", repeat) for repeat in repeats], device)):
        after = before and study.unlearn(config, name, options, tuned=tuned, repeat=repeat, device=device)
        made.append(None if after is None or "diverged" in after.artefact.info else after)
    return made


def _repeats(n: int) -> list[str]:
    """n draws of the seeds, the first being the one that everything else uses. Raises BadValue for less than FEWEST."""
    if n < MIN_MODELS:
        raise BadValue(f"an attack on ensembles needs at least {MIN_MODELS} models of each kind, two to fit a Gaussian on and "
                       f"two to test; got n_models = {n}")  # fmt: skip
    return ["", *map(str, range(1, n))]


def _trained(asked: Sequence[tuple[Config, str, str]], device: str) -> list[Trained | None]:
    """The models together; where one of them diverges, which stops all that are trained beside it, one by one."""
    try:
        return list(train_references(asked, device))
    except NonFiniteLoss:
        found = []
        for one in asked:
            try:
                found += train_references([one], device)
            except NonFiniteLoss:
                found.append(None)
        return found


def margins(models: Sequence[Trained | None], device: str = "auto") -> Tensor:
    """phi of each model on every sample of the task, (models, samples) float64; NaN for one that diverged.

    Raises NonFiniteLoss if there is none.
    """
    rows = [None if model is None else study.outputs(model, device=device)[1].phi for model in models]
    like = next((row for row in rows if row is not None), None)
    if like is None:
        raise NonFiniteLoss(f"all {len(rows)} models diverged")
    return torch.stack([torch.full_like(like, torch.nan) if row is None else row for row in rows])


# --- over a grid -----------------------------------------------------------------------------------------------------


def check_rate(configs: Iterable[Config], n_models: int, fpr: float) -> None:
    """Before anything is trained: raises BadValue for a false positive rate that targets times models cannot resolve."""
    for config in configs:
        found = len(load_task(config).index("target"))
        scores = found * n_models
        if scores * fpr < 1 - 1e-9:
            raise BadValue(f"fpr: a false positive rate of {fpr:g} cannot be resolved: {found} targets times {n_models} "
                           f"models are {scores} scores, and the smallest rate is {1 / scores:.2g}; ask for more models "
                           "or more targets")  # fmt: skip


def attacks(
    configs: Sequence[Config],
    methods: Sequence[str],
    n_models: int,
    options: Mapping[str, Mapping] | None = None,
    *,
    fpr: float = 0.01,
    tuned: bool = True,
    device: str = "auto",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(samples, scores) of original, retrain from other seeds, the methods, and clean from other seeds.

    samples: the columns of the config, method, reference, group, sample, klom, lira, assigned (see `compare`), models, run.
    scores: the tidy score table of their means over each group, metrics KLoM, U-LiRA and assigned; U-LiRA-TPR at `fpr`,
    scores of a group pooled, left out where diverged models leave too few; and how many models diverged.
    Raises BadValue for fewer than FEWEST models, also where so many diverged that no more stay, and for a rate that cannot
    be resolved.
    """
    _repeats(n_models)
    check_rate(configs, n_models, fpr)
    rows = list(dict.fromkeys(["original", "retrain", *methods, "clean-again"]))
    asked = [(config, world, repeat) for config in configs for world in WORLDS for repeat in _repeats(n_models)]
    asked += [
        (c, of, f"again{repeat}") for c in configs for of in NOISE_FLOOR_ROWS.values() for repeat in _repeats(n_models)
    ]
    _trained(asked, device)  # together
    samples, scores = [], []
    with Progress("attacks", len(configs) * len(rows)) as bar:
        for config in configs:
            worlds = {w: members(config, w, n_models, reference=True, device=device) for w in WORLDS}
            known: dict[str, Tensor] = {}
            for name in rows:
                models = members(config, name, n_models, (options or {}).get(name), tuned=tuned, device=device)
                artefact = _attack(config, models, worlds, known, fpr, device)
                of = config.columns() | {"method": name}
                samples.append(pd.read_parquet(artefact.folder / "samples.parquet").assign(**of, run=artefact.key))
                scores.append(pd.read_parquet(artefact.folder / "scores.parquet").assign(**of, run=artefact.key))
                bar.step()
    return pd.concat(samples, ignore_index=True), pd.concat(scores, ignore_index=True)


def _attack(config: Config, models: list, worlds: Mapping[str, list], known: dict, fpr: float, device: str):
    """The stored tables of one row; `known` keeps the worlds' margins, which all rows of a config share."""
    keys = ["diverged" if m is None else m.key for group in (models, *worlds.values()) for m in group]
    parents = [*keys, task_artefact(config).key]
    spec = Spec("attack", {"n_models": len(models), "fpr": fpr}, (attack_tables, outputs_module), parents)

    def make(folder: Path) -> None:
        known.update({w: margins(v, device) for w, v in worlds.items() if w not in known})
        task = load_task(config)
        rows = Outputs(torch.empty(0), task.y, task.role, torch.arange(len(task.y)))
        samples, scores = attack_tables(margins(models, device), known, rows, fpr)
        samples.to_parquet(folder / "samples.parquet")
        scores.to_parquet(folder / "scores.parquet")

    return Store().get(spec, make)


def attacks_table(scores: pd.DataFrame) -> pd.DataFrame:
    """T2-attacks: one row per config and method, means over seeds with 95% intervals; original and retrain above the methods,
    clean-again below. scores: the second table of `attacks`.

    as_W: share of models whose margin on a target is likeliest in world W, as_none: of those far from all; LiRA_W: accuracy
    of telling them from the models of W, 0.5 = not at all; TPR_W: share told at the false positive rate asked for; KLoM_W:
    nats. diverged: models, of all seeds, that are in none of these numbers.
    """
    lost = scores[scores.metric == "diverged-models"].groupby([*CONDITION_COLUMNS, "method"]).value.sum().astype(int)
    table = summarise(scores, {k: v for k, v in ATTACK_COLUMNS.items() if _there(scores, v)})
    table = table.assign(diverged=lost.reindex(table.index)).reset_index()
    order = {"original": 0, "retrain": 1, "clean-again": 3}
    table = table.assign(place=table.method.map(lambda m: order.get(m, 2)))
    table = table.sort_values([*CONDITION_COLUMNS, "place", "method"], ignore_index=True).drop(columns="place")
    first = [*CONDITION_COLUMNS, "method", "n", "diverged"]
    return table[[*first, *(c for c in table if c not in first)]]


def _there(scores: pd.DataFrame, key: tuple[str, str, str]) -> bool:
    metric, group, reference = key
    return bool(((scores.metric == metric) & (scores.group == group) & (scores.reference == reference)).any())
