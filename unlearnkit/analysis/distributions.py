"""For each sample, which reference distribution best explains a method's margins, and how far the two are apart:
ensembles of models from other seeds, compared sample by sample with ensembles of the three references (T2-attacks,
F15).

Two sets of models made in the same way still differ by chance, so the rows `retrain` and `clean-again`, the references
from other seeds, are the noise floor that stands beside every number.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, in_row_order, summarise
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_tables
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.tasks import load_task, task_artefact
from unlearnkit.metrics.ensembles import histogram_kl, lira, lira_accuracy, resolvable, tpr_at
from unlearnkit.study.ensembles import (
    MIN_MODELS,
    draws,
    drop_diverged,
    margins,
    models_of_reference,
    models_of_row,
    train_or_none,
)
from unlearnkit.study.reference_models import REFERENCES, Trained
from unlearnkit.study.rows import Row, applicable_rows

SCORED_GROUPS = ("target", "similar", "filler", "decoy", "test")
FAR = 3.0  # standard deviations
NOISE_FLOOR_ROWS = {"retrain": "retrain", "clean-again": "clean"}  # row: the reference that it is, from other seeds


# --- one sample, one model -------------------------------------------------------------------------------------------


def nearest_reference(models: Tensor, references: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{reference, or "none": share of the models whose margin is likeliest under its distribution, (samples,)};
    references that tie share a model, and one that is more than FAR standard deviations from every reference comes from
    none of them.

    models and each reference: (draws, samples). Each sample has one Gaussian per reference, fitted on every other draw
    and evaluated on the rest, then the other way round, so that no model is judged by itself or by the original that it
    was made from. Source: ours, after U-LiRA's two distributions.
    """
    counts = torch.zeros(len(references), models.shape[1], dtype=torch.float64)
    for fold in (0, 1):
        fitted = [v[1 - fold :: 2].double() for v in references.values()]
        held = models[fold::2].double()
        gaussians = [torch.distributions.Normal(v.mean(0), v.std(0).clamp(min=1e-6)) for v in fitted]
        likely = torch.stack([g.log_prob(held) for g in gaussians])  # (references, draws, samples)
        near = torch.stack([(held - g.mean).abs() <= FAR * g.stddev for g in gaussians]).any(0)
        best = (likely == likely.amax(0)).double()
        counts += (near * best / best.sum(0)).sum(1)
    shares = counts / len(models)
    return dict(zip(references, shares)) | {"none": 1 - shares.sum(0)}


def compare(models: Tensor, references: Mapping[str, Tensor]) -> pd.DataFrame:
    """Per sample and reference: columns sample (column number), reference, klom, lira, assigned.

    klom: KL(models || reference) of the margins, nats; lira: accuracy of telling the two apart by one margin; assigned:
    share of the models that are likeliest under this reference; what is missing to 1 comes from none. models,
    references: (draws, samples), no NaN.
    """
    share = nearest_reference(models, references)
    parts = []
    for name, reference in references.items():
        values = {
            "klom": histogram_kl(models, reference),
            "lira": lira_accuracy(models, reference),
            "assigned": share[name],
        }
        part = pd.DataFrame({k: v.numpy() for k, v in values.items()}).rename_axis("sample").reset_index()
        parts.append(part.assign(reference=name))
    return pd.concat(parts, ignore_index=True)


def attack_tables(
    models: Tensor, references: Mapping[str, Tensor], task: Outputs, fpr: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(samples, scores) of one row: `compare` with columns group and n_models, for the samples in SCORED_GROUPS; and
    their means over each group with U-LiRA-TPR at `fpr`, columns metric, reference, group, value.

    models, references: (draws, samples), NaN for a draw that diverged; task: for its roles. The rate is left out where
    the draws that stay cannot resolve it.
    """
    asked = len(models)
    models, *rest = drop_diverged(models, *references.values())
    references = dict(zip(references, rest))
    rows = {g: task.rows(g) for g in SCORED_GROUPS if len(task.rows(g))}
    group = pd.Series({i: name for name, index in rows.items() for i in index.tolist()}, name="group")
    samples = compare(models, references).join(group, on="sample", how="inner").assign(n_models=len(models))
    means = samples.groupby(["reference", "group"])[["klom", "lira", "assigned"]].mean()
    means.columns = ["KLoM", "U-LiRA", "assigned"]
    scores = means.rename_axis(columns="metric").stack().rename("value").reset_index()
    none = 1 - means.assigned.groupby("group").sum()
    more = [("assigned", "none", g, value) for g, value in none.items()]
    more.append(("diverged-models", "", "all", float(asked - len(models))))
    for name, reference in references.items():
        inside, outside = lira(models[:, rows["target"]], reference[:, rows["target"]])
        if resolvable(outside, fpr):
            more.append(("U-LiRA-TPR", name, "target", tpr_at(inside, outside, fpr)))
    more = pd.DataFrame(more, columns=["metric", "reference", "group", "value"])
    return samples.reset_index(drop=True), pd.concat([scores, more], ignore_index=True)


# --- over a grid -----------------------------------------------------------------------------------------------------


def check_models(n_models: int) -> None:
    """Raises BadValue for fewer models of each kind than can be compared."""
    if n_models < MIN_MODELS:
        raise BadValue(
            f"an attack on ensembles needs at least {MIN_MODELS} models of each kind, two to fit a Gaussian on and "
            f"two to test; got n_models = {n_models}"
        )


def check_rate(configs: Iterable[Config], n_models: int, fpr: float) -> None:
    """Before anything is trained: raises BadValue for a false positive rate that targets times models cannot
    resolve."""
    for config in configs:
        targets = len(load_task(config).index("target"))
        scores = targets * n_models
        if scores * fpr < 1 - 1e-9:
            raise BadValue(
                f"fpr: a false positive rate of {fpr:g} cannot be resolved: {targets} targets times {n_models} models "
                f"are {scores} scores, and the smallest rate is {1 / scores:.2g}; ask for more models or more targets"
            )


def models_beside_references(row: Row, n: int, *, device: str = "auto") -> list[Trained | None]:
    """`study.ensembles.models_of_row`, except that the noise floor `retrain` is trained as the reference is, together,
    and not one by one as the method of that name, which draws from the same distribution."""
    if row.name == "retrain":
        return models_of_reference(row.config, "retrain", n, again=True, device=device)
    return models_of_row(row, n, device=device)


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
    """(samples, scores) of original, retrain from other seeds, the methods that have a meaning in a config, and clean
    from other seeds.

    samples: the columns of the config, method, reference, group, sample, klom, lira, assigned (see `compare`),
    n_models, run. scores: the tidy score table of their means over each group, metrics KLoM, U-LiRA and assigned;
    U-LiRA-TPR at `fpr`, scores of a group pooled, left out where diverged models leave too few; and how many models
    diverged. Raises BadValue for fewer than MIN_MODELS models, also where so many diverged that fewer stay, and for a
    rate that cannot be resolved.
    """
    check_models(n_models)
    check_rate(configs, n_models, fpr)
    names = list(dict.fromkeys(["original", "retrain", *methods, "clean-again"]))
    rows = [applicable_rows([config], names, options, tuned=tuned) for config in configs]
    wanted = [(reference, draw) for reference in REFERENCES for draw in draws(n_models)]
    wanted += [(reference, f"again{draw}") for reference in NOISE_FLOOR_ROWS.values() for draw in draws(n_models)]
    train_or_none([(config, *reference) for config in configs for reference in wanted], device)  # together
    samples, scores = [], []
    with Progress("attacks", sum(len(of_config) for of_config in rows)) as bar:
        for config, of_config in zip(configs, rows, strict=True):
            references = {r: models_of_reference(config, r, n_models, device=device) for r in REFERENCES}
            known: dict[str, Tensor] = {}
            for row in of_config:
                models = models_beside_references(row, n_models, device=device)
                tables = _attack(config, models, references, known, fpr, device)
                columns = config.columns() | {"method": row.name}
                samples.append(tables["samples"].assign(**columns))
                scores.append(tables["scores"].assign(**columns))
                bar.step()
    return pd.concat(samples, ignore_index=True), pd.concat(scores, ignore_index=True)


def _attack(
    config: Config, models: list, references: Mapping[str, list], known: dict, fpr: float, device: str
) -> dict[str, pd.DataFrame]:
    """The stored tables of one row; `known` keeps the references' margins, which all rows of a config share."""
    keys = ["diverged" if m is None else m.key for kind in (models, *references.values()) for m in kind]
    parents = [*keys, task_artefact(config).key]
    spec = Spec("attack", {"n_models": len(models), "fpr": fpr}, (attack_tables, outputs_module), parents)

    def make() -> dict[str, pd.DataFrame]:
        known.update({r: margins(trained, device) for r, trained in references.items() if r not in known})
        task = load_task(config)
        roles = Outputs(torch.empty(0), task.y, task.role, torch.arange(len(task.y)))
        samples, scores = attack_tables(margins(models, device), known, roles, fpr)
        return {"samples": samples, "scores": scores}

    return stored_tables(spec, make)


ATTACK_COLUMNS = {  # column: metric, group, reference
    **{f"share_like_{r}": ("assigned", "target", r) for r in (*REFERENCES, "none")},
    **{f"ulira_accuracy_vs_{r}": ("U-LiRA", "target", r) for r in ("retrain", "clean")},
    **{f"tpr_vs_{r}": ("U-LiRA-TPR", "target", r) for r in ("retrain", "clean")},
    **{f"klom_vs_{r}": ("KLoM", "target", r) for r in ("retrain", "clean")},
    **{f"near_duplicate_share_like_{r}": ("assigned", "similar", r) for r in (*REFERENCES, "none")},
    **{f"near_duplicate_ulira_accuracy_vs_{r}": ("U-LiRA", "similar", r) for r in ("retrain", "clean")},
}


def attacks_table(scores: pd.DataFrame) -> pd.DataFrame:
    """T2-attacks: one row per config and method, means over n_seeds seeds with 95% intervals; original and retrain
    above the methods, clean-again below. scores: the second table of `attacks`.

    share_like_R: share of models whose margin on a target is likeliest under reference R, share_like_none: of those far
    from all; ulira_accuracy_vs_R: accuracy of telling them from the models of R, 0.5 = not at all; tpr_vs_R: share that
    is told at the false positive rate asked for; klom_vs_R: nats; near_duplicate_...: the same on near-duplicates.
    n_diverged: models, of all seeds, that are in none of these numbers.
    """
    lost = scores[scores.metric == "diverged-models"].groupby([*CONDITION_COLUMNS, "method"]).value.sum().astype(int)
    known = set(scores[["metric", "group", "reference"]].itertuples(index=False, name=None))
    table = summarise(scores, {name: key for name, key in ATTACK_COLUMNS.items() if key in known})
    table = in_row_order(table.assign(n_diverged=lost.reindex(table.index)))
    first = [*CONDITION_COLUMNS, "method", "n_seeds", "n_diverged"]
    return table[[*first, *(c for c in table if c not in first)]]
