"""Does the order of forgetting matter? RSU(base) in each order against one-shot, on one footing: T8.

All rows of a cell share its retrained models, from several draws of the seeds, and its shadow models. One-shot is RSU in one
batch, which is the base alone; it has the seeds of the other rows, so that differences are paired.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from unlearnkit import per_stratum, study
from unlearnkit.cell import Cell
from unlearnkit.errors import BadValue, NotApplicable
from unlearnkit.evidence import Evidence
from unlearnkit.methods import methods
from unlearnkit.progress import Progress
from unlearnkit.rankers import rankers
from unlearnkit.ranking.shadows import of_forget
from unlearnkit.references import Trained, trained
from unlearnkit.store import Spec, Store
from unlearnkit.summary import CELL, mean_interval
from unlearnkit.tasks import load_task

ORDERS = ("descending", "ascending", "random", "shuffled")
ONE_SHOT = "one-shot"
FEWEST = 3  # retrained models of a cell
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
PAIRED = ("ToW", "ToW_MIA", "LiRA_gap", "phi_gap", "TA", "seconds")  # whose difference to one-shot is shown, too


def rows(
    bases: Sequence[str], batches: Sequence[int], orders: Sequence[str], options: Mapping[str, Mapping], by: str
) -> list[tuple[str, dict]]:
    """(base, options) of each base in one batch, then in each order and number of batches. Raises UnknownName and BadValue
    for what there is not, before anything runs."""
    rankers[by]
    made = []
    for base in bases:
        ways = [{"batches": 1}, *({"batches": b, "order": order} for b in batches if b > 1 for order in orders)]
        made += [(base, {**options.get(base, {}), "by": by, **way}) for way in ways]
    for base, how in made:
        methods[f"rsu({base})"].resolve(how)
    return made


def measured(
    cells: Sequence[Cell],
    bases: Sequence[str],
    batches: Sequence[int],
    orders: Sequence[str] = ORDERS,
    options: Mapping[str, Mapping] | None = None,
    *,
    by: str = "lira_online",
    retrains: int = FEWEST,
    tuned: bool = True,
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy scores: the columns of the cell, base, order, batches, metric, stratum ("all", or "low", "middle", "high"
    risk by the ranker `by`), value, run.

    Beside the orders of each base stands the order "one-shot", and with base "" the models before unlearning, "original",
    and the retrained ones, each against the others: "retrain", the floor. A row that its base refuses has one score, of
    metric "refused", and one that diverged, "diverged". options: {base: options} that differ from the tuned values.
    Raises BadValue for fewer than 3 retrained models, and for names and values that there are not.
    """
    if retrains < FEWEST:
        raise BadValue(f"gaps are means over at least {FEWEST} retrained models, got retrains={retrains}")
    wanted = rows(bases, batches, orders, options or {}, by)
    draws = ["", *map(str, range(1, retrains))]
    trained([(c, of, d) for c in cells for of, d in (("original", ""), *(("retrain", d) for d in draws))], device)
    frames = []
    with Progress("sequences", len(cells) * (len(wanted) + 1)) as bar:
        for cell in cells:
            refs = trained([(cell, "retrain", draw) for draw in draws], device)
            of = {"base": "", "order": "retrain", "batches": 0}
            frames.append(_scored(cell, refs[0], refs, by, of, device))
            (original,) = trained([(cell, "original", "")], device)
            frames.append(_scored(cell, original, refs, by, of | {"order": "original"}, device))
            bar.step()
            for base, how in wanted:
                frames.append(_row(cell, base, how, refs, tuned, device))
                bar.step()
    return pd.concat(frames, ignore_index=True)


def _row(cell: Cell, base: str, how: Mapping, refs: Sequence[Trained], tuned: bool, device: str) -> pd.DataFrame:
    order = how.get("order", ONE_SHOT)
    of = {"base": base, "order": order, "batches": how["batches"]}
    try:
        model = study.unlearn(cell, f"rsu({base})", how, tuned=tuned, device=device)
    except NotApplicable:
        return _marked("refused", cell, of, refs[0].key)
    if "diverged" in model.artefact.info:
        return _marked("diverged", cell, of, model.key)
    table = _scored(cell, model, refs, how["by"], of, device)
    cost = [{"metric": k, "stratum": "all", "value": model.artefact.info[k]} for k in ("steps", "seconds")]
    return pd.concat([table, pd.DataFrame(cost).assign(**cell.columns(), **of, run=table.run[0])], ignore_index=True)


def _marked(metric: str, cell: Cell, of: Mapping, run: str) -> pd.DataFrame:
    return pd.DataFrame([cell.columns() | of | {"metric": metric, "stratum": "all", "value": 1.0, "run": run}])


def _scored(cell: Cell, model: Trained, refs: Sequence[Trained], by: str, of: Mapping, device: str) -> pd.DataFrame:
    """`per_stratum.compared` of a model, stored; where it is the first of the retrained ones, of each against the others."""
    (original,) = trained([(cell, "original", "")], device)
    floor = model.key == refs[0].key
    parents = [*([] if floor else [model.key]), *(r.key for r in refs), original.key]
    spec = Spec("sequence", {"by": by, "shadows": SHADOWS}, (per_stratum, rankers[by], of_forget), parents)

    def make(folder: Path) -> None:
        request = load_task(cell).request(cell.recipe)
        net = original.load()
        parts = per_stratum.strata(rankers[by](net, request, seed=cell.seed, device=device))
        seen, n = of_forget(net, request, SHADOWS, device)
        said = [_evidence(ref, device) for ref in refs]
        pairs = [(_evidence(model, device), said)]
        if floor:
            pairs = [(one, [other for other in said if other is not one]) for one in said]
        tables = [per_stratum.compared(*pair, seen.of(samples=slice(n)), parts) for pair in pairs]
        mean = pd.concat(tables).groupby(["metric", "stratum"], sort=False).value.mean().reset_index()
        mean.to_parquet(folder / "scores.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "scores.parquet").assign(**cell.columns(), **of, run=artefact.key)


def _evidence(model: Trained, device: str) -> Evidence:
    return study.evidence(model, device=device)[1]


# --- tables ----------------------------------------------------------------------------------------------------------


def t8(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, base, order and number of batches: means over seeds with 95% intervals, and `d_...`, the difference
    to one-shot of the same base and seed. refused, diverged: on how many seeds, which are in no mean. scores: `measured`.
    """
    parts = []
    for index, part in scores.groupby([*CELL, *ROW], sort=False):
        key = dict(zip([*CELL, *ROW], index, strict=True))
        once = scores[(scores[CELL] == list(index[: len(CELL)])).all(axis=1) & (scores.base == key["base"])]
        once = once[once.order == ONE_SHOT]
        row = key | {"n": int(part[part.metric == "ToW"].seed.nunique())}
        for name, which in COLUMNS.items():
            values = _by_seed(part, *which)
            row |= _named(name, values)
            if name in PAIRED and key["order"] in ORDERS:
                row |= _named(f"d_{name}", (values - _by_seed(once, *which)).dropna())
        lost = {name: int((part.metric == name).sum()) for name in ("refused", "diverged")}
        parts.append(row | lost | {"run": " ".join(sorted(part.run.unique()))})
    return pd.DataFrame(parts)


def contrasts(scores: pd.DataFrame, first: str = "descending", second: str = "ascending") -> pd.DataFrame:
    """One row per cell, number of batches, base and metric of PAIRED: the mean over seeds of `first` less `second`, paired,
    with its interval; base "all" is the mean over the bases that have both on a seed and read the forget set."""
    parts = []
    for index, part in scores[scores.order.isin([first, second])].groupby([*CELL, "batches"], sort=False):
        for name in PAIRED:
            wide = part[(part.metric == COLUMNS[name][0]) & (part.stratum == COLUMNS[name][1])]
            wide = wide.pivot_table(index=["base", "seed"], columns="order", values="value")
            if not {first, second} <= set(wide):
                continue
            apart = (wide[first] - wide[second]).dropna().unstack("base")
            reads = [base for base in apart if methods[base].info["reads_forget_set"]]
            apart = apart.assign(all=apart[reads].mean(axis=1))
            key = dict(zip([*CELL, "batches"], index, strict=True)) | {"metric": name}
            runs = " ".join(sorted(part.run.unique()))
            for base in apart:
                found = mean_interval(apart[base].dropna())
                parts.append(key | {"base": base, "difference": found["mean"], "difference_low": found["low"],
                                    "difference_high": found["high"], "n": found["n"], "run": runs})  # fmt: skip
    return pd.DataFrame(parts)


def _by_seed(part: pd.DataFrame, metric: str, stratum: str) -> pd.Series:
    chosen = part[(part.metric == metric) & (part.stratum == stratum)]
    return chosen.set_index("seed").value


def _named(name: str, values: pd.Series) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    found = mean_interval(values)
    return {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
