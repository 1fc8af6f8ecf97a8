"""Does the order of forgetting matter? RSU(base) in each order against one-shot, on one footing: T8.

All rows of a config share its retrained models, from several draws of the seeds, and its shadow models. One-shot is RSU in one
batch, which is the base alone; it has the seeds of the other rows, so that differences are paired.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.analysis import forgetting_order as per_stratum
from unlearnkit.analysis.privacy_risk import mixed_memorisation_config
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval
from unlearnkit.core.store import Spec, Store
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
from unlearnkit.study.reference_models import Trained, train_references

STRATA = ("low", "middle", "high")


def strata(risk: Tensor) -> dict[str, Tensor]:
    """{name: row numbers} of thirds of the samples by risk, (n,), sizes that differ by one at most; larger = higher."""
    return dict(zip(STRATA, risk.argsort(stable=True).tensor_split(len(STRATA))))


def membership(seen: SubsetOutputs, phi: Tensor) -> Tensor:
    """Probability that a model with these margins, (n,), was trained on each sample, (n,), by the Gaussians of the shadow
    models with and without it and an even prior. Source: online LiRA, Carlini et al. 2022, arXiv 2112.03570, as a
    probability, since the likelihood ratio itself has no bound."""
    check(seen.inside)
    with_, without = (
        torch.distributions.Normal(mean, variance.sqrt().clamp(min=1e-6)).log_prob(phi)
        for mean, variance in (moments(seen.phi, which) for which in (seen.inside, ~seen.inside))
    )
    return (with_ - without).sigmoid()


def strata_scores(
    model: Outputs, retrained: Sequence[Outputs], shadows: SubsetOutputs, parts: Mapping[str, Tensor]
) -> pd.DataFrame:
    """Columns metric, stratum, value: means over the retrained models, and over the targets of a stratum.

    ToW, ToW-MIA: as unlearnkit.metrics.gaps, 1 is best; phi-gap: |difference of phi|, logits; LiRA-gap: |difference of
    `membership`|, from 0 to 1; FA-gap: |difference of the accuracy on the stratum|; and the model's own FA, phi, RA, TA.
    shadows: of the targets alone; parts: {stratum: rows among the targets}, to which "all" is added.
    """
    rows = model.rows("target")
    parts = {"all": torch.arange(len(rows)), **parts}
    phi, right = model.phi[rows], model.correct[rows]
    member = membership(shadows, phi)
    found = []
    for other in retrained:
        found += [("ToW", "all", tug_of_war(model, other)["all"])]
        found += [("ToW-MIA", "all", tug_of_war_by_attack(model, other)["all"])]
        for name, mine, theirs in (
            ("phi-gap", phi, other.phi[rows]),
            ("LiRA-gap", member, membership(shadows, other.phi[rows])),
        ):
            apart = (mine - theirs).abs()
            found += [(name, s, apart[part].mean().item()) for s, part in parts.items()]
        there = other.correct[rows]
        found += [("FA-gap", s, (right[p].mean() - there[p].mean()).abs().item()) for s, p in parts.items()]
    found += [("FA", s, right[p].mean().item()) for s, p in parts.items()]
    found += [("phi", s, phi[p].mean().item()) for s, p in parts.items()]
    found += [("RA", "all", accuracy(model, "retain")), ("TA", "all", accuracy(model, "test"))]
    table = pd.DataFrame(found, columns=["metric", "stratum", "value"])
    return table.groupby(["metric", "stratum"], sort=False).value.mean().reset_index()


ORDERS = ("descending", "ascending", "random", "shuffled")
ONE_SHOT = "one-shot"
MIN_RETRAINED = 3  # retrained models of a config
SHADOWS = 32  # as many as rankers take, who share them
ROW = ["base", "order", "batches"]
COLUMNS = {  # column: metric, stratum
    "ToW": ("ToW", "all"),
    "ToW_MIA": ("ToW-MIA", "all"),
    "LiRA_gap": ("LiRA-gap", "all"),
    "phi_gap": ("phi-gap", "all"),
    **{f"{s}_{name}_gap": (f"{name}-gap", s) for name in ("FA", "phi") for s in per_stratum.STRATA},
    "FA": ("FA", "all"),
    "RA": ("RA", "all"),
    "TA": ("TA", "all"),
    "steps": ("steps", "all"),
    "seconds": ("seconds", "all"),
}
LOST = ("refused", "diverged")
PAIRED = ("ToW", "ToW_MIA", "LiRA_gap", "phi_gap", "TA", "seconds")  # whose difference to one-shot is shown, too


def conditions(targets: Sequence[str], *, device: str = "auto", **common) -> list[Config]:
    """The configs of these kinds of targets; "mixed" ones are a third each of the most, half and least memorised training
    samples (unlearnkit.analysis.privacy_risk.mixed_memorisation_config), and are called "ids" in tables. common: as of unlearnkit.images.config.config_grid."""
    plain = [kind for kind in targets if kind != "mixed"]
    made = config_grid(targets=plain, **common) if plain else []
    if "mixed" in targets:
        start = config_grid(targets="random", **common)
        train_references([(config, "original", "") for config in start], device)  # together
        made += [mixed_memorisation_config(config, config.n_targets, device=device) for config in start]
    return made


def rows(
    bases: Sequence[str], batches: Sequence[int], orders: Sequence[str], options: Mapping[str, Mapping], ranker: str
) -> list[tuple[str, dict]]:
    """(base, options) of each base in one batch, then in each order and number of batches. Raises UnknownName and BadValue
    for what there is not, before anything runs."""
    rankers[ranker]
    made = []
    for base in bases:
        ways = [{"batches": 1}, *({"batches": b, "order": order} for b in batches if b > 1 for order in orders)]
        made += [(base, {**options.get(base, {}), "ranker": ranker, **way}) for way in ways]
    for base, how in made:
        methods[f"rsu({base})"].resolve(how)
    return made


def order_scores(
    grid: Sequence[Config],
    bases: Sequence[str],
    batches: Sequence[int],
    orders: Sequence[str] = ORDERS,
    options: Mapping[str, Mapping] | None = None,
    *,
    ranker: str = "lira_online",
    retrains: int = MIN_RETRAINED,
    tuned: bool = True,
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy scores: the columns of the config, base, order, batches, metric, stratum ("all", or "low", "middle", "high"
    risk by `ranker`), value, run.

    Beside the orders of each base stands the order "one-shot", and with base "" the models before unlearning, "original",
    and the retrained ones, each against the others: "retrain", the floor. A row that its base refuses has one score, of
    metric "refused", and one that diverged, "diverged". options: {base: options} that differ from the tuned values.
    Raises BadValue for fewer than 3 retrained models, and for names and values that there are not.
    """
    if retrains < MIN_RETRAINED:
        raise BadValue(f"gaps are means over at least {MIN_RETRAINED} retrained models, got retrains={retrains}")
    wanted = rows(bases, batches, orders, options or {}, ranker)
    draws = ["", *map(str, range(1, retrains))]
    train_references(
        [(c, of, d) for c in grid for of, d in (("original", ""), *(("retrain", d) for d in draws))], device
    )
    frames = []
    with Progress("sequences", len(grid) * (len(wanted) + 1)) as bar:
        for config in grid:
            refs = train_references([(config, "retrain", draw) for draw in draws], device)
            of = {"base": "", "order": "retrain", "batches": 0}
            frames.append(_scored(config, refs[0], refs, ranker, of, device))
            (original,) = train_references([(config, "original", "")], device)
            frames.append(_scored(config, original, refs, ranker, of | {"order": "original"}, device))
            bar.step()
            for base, how in wanted:
                frames.append(_row(config, base, how, refs, tuned, device))
                bar.step()
    return pd.concat(frames, ignore_index=True)


def _row(config: Config, base: str, how: Mapping, refs: Sequence[Trained], tuned: bool, device: str) -> pd.DataFrame:
    order = how.get("order", ONE_SHOT)
    of = {"base": base, "order": order, "batches": how["batches"]}
    try:
        model = study.unlearn(config, f"rsu({base})", how, tuned=tuned, device=device)
    except NotApplicable:
        return _marked("refused", config, of, refs[0].key)
    if "diverged" in model.artefact.info:
        return _marked("diverged", config, of, model.key)
    table = _scored(config, model, refs, how["ranker"], of, device)
    cost = [{"metric": k, "stratum": "all", "value": model.artefact.info[k]} for k in ("steps", "seconds")]
    return pd.concat([table, pd.DataFrame(cost).assign(**config.columns(), **of, run=table.run[0])], ignore_index=True)


def _marked(metric: str, config: Config, of: Mapping, run: str) -> pd.DataFrame:
    return pd.DataFrame([config.columns() | of | {"metric": metric, "stratum": "all", "value": 1.0, "run": run}])


def _scored(
    config: Config, model: Trained, refs: Sequence[Trained], ranker: str, of: Mapping, device: str
) -> pd.DataFrame:
    """`per_stratum.compared` of a model, stored; where it is the first of the retrained ones, of each against the others."""
    (original,) = train_references([(config, "original", "")], device)
    floor = model.key == refs[0].key
    parents = [*([] if floor else [model.key]), *(r.key for r in refs), original.key]
    spec = Spec(
        "sequence", {"ranker": ranker, "shadows": SHADOWS}, (per_stratum, rankers[ranker], shadow_outputs), parents
    )

    def make(folder: Path) -> None:
        request = request_of(load_task(config), config.recipe)
        net = original.load()
        parts = per_stratum.strata(rankers[ranker](net, request, seed=config.seed, device=device))
        seen, n = shadow_outputs(net, request, SHADOWS, device)
        said = [_outputs(ref, device) for ref in refs]
        pairs = [(_outputs(model, device), said)]
        if floor:
            pairs = [(one, [other for other in said if other is not one]) for one in said]
        tables = [per_stratum.strata_scores(*pair, seen.of(samples=slice(n)), parts) for pair in pairs]
        mean = pd.concat(tables).groupby(["metric", "stratum"], sort=False).value.mean().reset_index()
        mean.to_parquet(folder / "scores.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "scores.parquet").assign(**config.columns(), **of, run=artefact.key)


def _outputs(model: Trained, device: str) -> Outputs:
    return study.outputs(model, device=device)[1]


# --- tables ----------------------------------------------------------------------------------------------------------


def order_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per config, base, order and number of batches: means over seeds with 95% intervals, and `d_...`, the difference
    to one-shot of the same base and seed. refused, diverged: on how many seeds, which are in no mean. scores: `measured`.
    """
    values = _wide(scores)
    once = values.xs(ONE_SHOT, level="order").droplevel("batches")
    runs = scores.groupby([*CONDITION_COLUMNS, *ROW], sort=False).run.agg(lambda run: " ".join(sorted(set(run))))
    parts = []
    for index, run in runs.items():
        key = dict(zip([*CONDITION_COLUMNS, *ROW], index, strict=True))
        mine = values.loc[index]  # (seeds, (metric, stratum))
        row = key | {"n": int(mine["ToW", "all"].count())}
        for name, which in COLUMNS.items():
            row |= _named(name, mine[which])
            if name in PAIRED and key["order"] in ORDERS:
                row |= _named(
                    f"d_{name}", mine[which] - once.loc[(*index[: len(CONDITION_COLUMNS)], key["base"])][which]
                )
        parts.append(row | {name: int(mine[name, "all"].count()) for name in LOST} | {"run": run})
    return pd.DataFrame(parts)


def order_contrasts(scores: pd.DataFrame, first: str = "descending", second: str = "ascending") -> pd.DataFrame:
    """One row per config, number of batches, base and metric of PAIRED: the mean over seeds of `first` less `second`, paired,
    with its interval; base "all" is the mean over the bases that have both on a seed and read the forget set."""
    values, parts = _wide(scores), []
    apart = values.xs(first, level="order") - values.xs(second, level="order")
    for index, part in apart.groupby(level=[*CONDITION_COLUMNS, "batches"]):
        run = " ".join(sorted(scores[scores.order.isin([first, second]) & (scores.batches == index[-1])].run.unique()))
        for name in PAIRED:
            by_base = part[COLUMNS[name]].droplevel([*CONDITION_COLUMNS, "batches"]).unstack("base")  # (seeds, bases)
            reads = [base for base in by_base if methods[base].info["reads_forget_set"]]
            by_base = by_base.assign(all=by_base[reads].mean(axis=1)).dropna(axis=1, how="all")
            for base, found in by_base.items():
                key = dict(zip([*CONDITION_COLUMNS, "batches"], index, strict=True)) | {"base": base, "metric": name}
                parts.append(key | _named("difference", found) | {"n": int(found.count()), "run": run})
    return pd.DataFrame(parts)


def _wide(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows: config, base, order, batches, seed; columns: (metric, stratum), all that tables are made from."""
    wide = scores.set_index([*CONDITION_COLUMNS, *ROW, "seed", "metric", "stratum"]).value.unstack(
        ["metric", "stratum"]
    )
    wanted = [*COLUMNS.values(), *((name, "all") for name in LOST)]
    return wide.reindex(columns=pd.MultiIndex.from_tuples(dict.fromkeys(wanted))).sort_index()


def _named(name: str, values: pd.Series) -> dict[str, float | None]:
    values = values.dropna()
    found = mean_interval(values) if len(values) else dict.fromkeys(("mean", "low", "high"))
    return {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
