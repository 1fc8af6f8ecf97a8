"""Does the order of forgetting matter? RSU(base) in each order against one-shot, on one footing: the scores of T8.

All rows of a config share its retrained models, from several draws of the seeds, and its shadow models. One-shot is RSU
in one batch, which is the base alone; it has the seeds of the other rows, so that differences are paired.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.analysis.pool_shadows import memorisation_strata_config, pool_outputs, stratum_alone
from unlearnkit.analysis.privacy_risk import mixed_memorisation_config
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.outputs import Outputs
from unlearnkit.images.request import request_of
from unlearnkit.images.tasks import load_task
from unlearnkit.methods import methods
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.gaps import tug_of_war, tug_of_war_by_attack
from unlearnkit.privacy_risk import rankers
from unlearnkit.privacy_risk.shadow_models import check, moments, shadow_outputs
from unlearnkit.privacy_risk.subset_models import SubsetOutputs
from unlearnkit.study.ensembles import draws
from unlearnkit.study.memory import Kept
from unlearnkit.study.reference_models import Trained, train_references
from unlearnkit.study.rows import Row, resolve_row
from unlearnkit.study.unlearned_models import unlearn_row
from unlearnkit.wrappers.rsu import ranked_by

STRATA = ("low", "middle", "high")
ORDERS = ("descending", "ascending", "random", "shuffled")
ONE_SHOT = "one-shot"
REFINED = " refined"  # behind the order of a sequence whose strata have methods of their own
MIN_RETRAINED = 3  # retrained models of a config
SHADOWS = 32  # as many as rankers take, who share them


# --- one model -------------------------------------------------------------------------------------------------------


def strata(risk: Tensor) -> dict[str, Tensor]:
    """{name: row numbers} of thirds of the samples by risk, (n,), sizes that differ by one at most; larger = higher."""
    return dict(zip(STRATA, risk.argsort(stable=True).tensor_split(len(STRATA))))


def membership(shadows: SubsetOutputs, phi: Tensor) -> Tensor:
    """Probability that a model with these margins, (n,), was trained on each sample, (n,), by the Gaussians of the
    shadow models with and without it and an even prior. Source: online LiRA, Carlini et al. 2022, arXiv 2112.03570, as
    a probability, since the likelihood ratio itself has no bound."""
    check(shadows.inside)
    with_, without = (
        torch.distributions.Normal(mean, variance.sqrt().clamp(min=1e-6)).log_prob(phi)
        for mean, variance in (moments(shadows.phi, which) for which in (shadows.inside, ~shadows.inside))
    )
    return (with_ - without).sigmoid()


def strata_scores(
    model: Outputs, retrained: Sequence[Outputs], shadows: SubsetOutputs, parts: Mapping[str, Tensor]
) -> pd.DataFrame:
    """Columns metric, stratum, value: means over the retrained models, and over the targets of a stratum.

    ToW, ToW-MIA: as unlearnkit.metrics.gaps, 1 is best; phi-gap: |difference of phi|, logits; LiRA-gap: |difference of
    `membership`|, from 0 to 1; FA-gap: |difference of the accuracy on the stratum|; and the model's own FA, phi, RA,
    TA. shadows: of the targets alone; parts: {stratum: rows among the targets}, to which "all" is added.
    """
    rows = model.rows("target")
    parts = {"all": torch.arange(len(rows)), **parts}
    phi, right = model.phi[rows], model.correct[rows]
    member = membership(shadows, phi)
    scores = []
    for other in retrained:
        scores += [("ToW", "all", tug_of_war(model, other)["all"])]
        scores += [("ToW-MIA", "all", tug_of_war_by_attack(model, other)["all"])]
        gaps = {
            "phi-gap": (phi - other.phi[rows]).abs(),
            "LiRA-gap": (member - membership(shadows, other.phi[rows])).abs(),
        }
        scores += [(name, s, gap[part].mean().item()) for name, gap in gaps.items() for s, part in parts.items()]
        retrained_right = other.correct[rows]
        scores += [("FA-gap", s, (right[p].mean() - retrained_right[p].mean()).abs().item()) for s, p in parts.items()]
    scores += [("FA", s, right[p].mean().item()) for s, p in parts.items()]
    scores += [("phi", s, phi[p].mean().item()) for s, p in parts.items()]
    scores += [("RA", "all", accuracy(model, "retain")), ("TA", "all", accuracy(model, "test"))]
    return _mean(pd.DataFrame(scores, columns=["metric", "stratum", "value"]))


def _mean(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.groupby(["metric", "stratum"], sort=False).value.mean().reset_index()


# --- over a grid -----------------------------------------------------------------------------------------------------


def target_configs(
    targets: Sequence[str], pool_models: int = 0, *, memory: str = "", device: str = "auto", **common
) -> list[Config]:
    """The configs of these kinds of targets; "mixed" ones are a third each of the most, half and least memorised
    training samples (unlearnkit.analysis.privacy_risk.mixed_memorisation_config), and are called "ids" in tables.
    pool_models: instead of shadow models of each task so many of the whole pool, by which mixed targets are then chosen
    (unlearnkit.analysis.pool_shadows); memory: keeps which they are. common: as of unlearnkit.images.config.config_grid."""
    plain = [kind for kind in targets if kind != "mixed"]
    configs = config_grid(targets=plain, **common) if plain else []
    if "mixed" in targets:
        start = config_grid(targets="random", **common)
        if pool_models:
            kwargs = {"memory": memory, "device": device}
            return configs + [memorisation_strata_config(c, c.n_targets, pool_models, **kwargs) for c in start]
        train_references([(config, "original", "") for config in start], device)  # together
        configs += [mixed_memorisation_config(config, config.n_targets, device=device) for config in start]
    return configs


def orders_of_bases(
    bases: Sequence[str],
    batches: Sequence[int],
    orders: Sequence[str],
    options: Mapping[str, Mapping],
    ranker: str,
    refined: Mapping[str, str] | None = None,
) -> list[tuple[str, dict]]:
    """(base, options) of each base in one batch, then in each order and number of batches, then of `refined`. Raises
    UnknownName and BadValue for names and values that do not exist, before anything runs."""
    if ranker:
        rankers[ranker]
    pairs = []
    for base in bases:
        sequences = [{"batches": 1}, *({"batches": b, "order": order} for b in batches if b > 1 for order in orders)]
        if names := (refined or {}).get(base):
            sequences.append({"batches": len(names.split(",")), "order": "ascending", "refine": names})
        pairs += [(base, {**options.get(base, {}), "ranker": ranker, **sequence}) for sequence in sequences]
    for base, chosen in pairs:
        methods[f"rsu({base})"].resolve(chosen)
    return pairs


def order_scores(
    grid: Sequence[Config],
    bases: Sequence[str],
    batches: Sequence[int],
    orders: Sequence[str] = ORDERS,
    options: Mapping[str, Mapping] | None = None,
    *,
    ranker: str = "lira_separation",
    retrains: int = MIN_RETRAINED,
    pool_models: int = 0,
    refined: Mapping[str, str] | None = None,
    tuned: bool = True,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy scores: the columns of the config, base, order, batches, metric, stratum ("all", or "low", "middle",
    "high" risk by the ranker), value, run.

    Beside the orders of each base stands the order "one-shot", and with base "" the models before unlearning,
    "original", and the retrained ones, each against the others: "retrain", the noise floor. A row that its base refuses
    has one score, of metric "refused", and one that diverged, "diverged". options: {base: options} that differ from the
    tuned values. refined: {base: names of the methods of its strata as `rsu` takes them in `refine`}, in RUM's direction, a
    row "ascending refined" more. pool_models: instead of shadow models of each task so many of the whole pool; memory: see
    unlearnkit.study.memory.Kept. Raises BadValue for fewer than 3 retrained models, and for names and values that do not
    exist.
    """
    if retrains < MIN_RETRAINED:
        raise BadValue(f"gaps are means over at least {MIN_RETRAINED} retrained models, got retrains={retrains}")
    wanted = orders_of_bases(bases, batches, orders, options or {}, ranker, refined)
    kept = Kept(memory, "orders", ranker=ranker, retrains=retrains, pool_models=pool_models)
    rows = []
    for config in grid:
        rows += [(Row(config, order), {"base": "", "order": order, "batches": 0}) for order in ("retrain", "original")]
        for base, chosen in wanted:  # a row that is refused stands in the table
            order = chosen.get("order", ONE_SHOT) + (REFINED if "refine" in chosen else "")
            columns = {"base": base, "order": order, "batches": chosen["batches"]}
            rows.append((resolve_row(config, f"rsu({base})", chosen, tuned=tuned), columns))
    missing = dict.fromkeys(row.config for row in kept.missing([row for row, _ in rows]))
    names = [("original", ""), *(("retrain", draw) for draw in draws(retrains))]
    train_references([(config, *name) for config in missing for name in names], device)  # together
    tables = []
    with Progress("orders of forgetting", len(rows)) as bar:
        for row, columns in rows:

            def make(row=row) -> pd.DataFrame:
                original, *retrained = train_references([(row.config, *name) for name in names], device)
                return _row_scores(row, original, retrained, ranker, pool_models, device)

            tables.append(kept.get(row, make).assign(**row.config.columns(), **columns))
            bar.step()
    return pd.concat(tables, ignore_index=True)


def thirds_alone(grid: Sequence[Config], names: Sequence[str], bases: Sequence[str], **kwargs) -> pd.DataFrame:
    """`order_scores` of each base at once on single thirds of mixed targets, whose kind is then "NAME memorisation"; empty
    without names, which are of unlearnkit.analysis.pool_shadows.STRATA. kwargs: as of `order_scores`."""
    parts = [pd.DataFrame()]
    for name in names:
        thirds = [stratum_alone(config, name) for config in grid if config.targets == "ids"]
        scores = order_scores(thirds, bases, [1], **kwargs | {"refined": {}})
        parts.append(scores.assign(targets=f"{name} memorisation"))
    return pd.concat(parts, ignore_index=True)


def _row_scores(
    row: Row, original: Trained, retrained: Sequence[Trained], ranker: str, pool_models: int, device: str
) -> pd.DataFrame:
    if row.name in ("retrain", "original"):
        model = original if row.name == "original" else retrained[0]
        return _scores(model, original, retrained, ranker, pool_models, device)
    try:
        model = unlearn_row(row, original, device=device)
    except NotApplicable:
        return _marks({"refused": 1.0}, retrained[0].key)
    if model.diverged:
        return _marks({"diverged": 1.0}, model.key)
    table = _scores(model, original, retrained, ranker, pool_models, device)
    cost = _marks({k: model.artefact.info[k] for k in ("steps", "seconds")}, table.run[0])
    return pd.concat([table, cost], ignore_index=True)


def _marks(scores: Mapping[str, float], run: str) -> pd.DataFrame:
    table = pd.DataFrame([{"metric": name, "stratum": "all", "value": value} for name, value in scores.items()])
    return table.assign(run=run)


def _scores(
    model: Trained, original: Trained, retrained: Sequence[Trained], ranker: str, pool_models: int, device: str
) -> pd.DataFrame:
    """`strata_scores` of a model, stored; where it is the first of the retrained ones, of each against the others."""
    config = model.config
    floor = model.key == retrained[0].key
    parents = [*([] if floor else [model.key]), *(other.key for other in retrained), original.key]
    params = {"ranker": ranker, "shadows": SHADOWS} | ({"pool_models": pool_models} if pool_models else {})
    roots = [strata_scores, ranked_by, *([rankers[ranker]] if ranker else [])]
    spec = Spec("sequence", params, (*roots, pool_outputs if pool_models else shadow_outputs), parents)

    def make() -> pd.DataFrame:
        request = request_of(load_task(config), config.recipe)
        net = original.load()
        parts = strata(ranked_by(ranker, net, request, seed=config.seed, device=device))
        if pool_models:
            shadows = pool_outputs(config, load_task(config).index("target"), pool_models, device=device)
        else:
            shadows, n = shadow_outputs(net, request, SHADOWS, device)
            shadows = shadows.of(samples=slice(n))
        others = [_outputs(other, device) for other in retrained]
        pairs = [(_outputs(model, device), others)]
        if floor:
            pairs = [(one, [other for other in others if other is not one]) for one in others]
        return _mean(pd.concat([strata_scores(*pair, shadows, parts) for pair in pairs]))

    return stored_table(spec, make)


def _outputs(model: Trained, device: str) -> Outputs:
    return study.outputs(model, device=device)[1]
