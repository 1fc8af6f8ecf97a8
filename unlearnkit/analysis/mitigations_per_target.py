"""Mitigations in a mixed task (T4-text): what is left of the targets of one dose by each base, bare and in each wrapper,
against what their near-duplicates lose."""

import pandas as pd

from unlearnkit.analysis.influence import (
    ARM,
    CONDITION,
    NOT_COUNTED,
    ROW_ORDER,
    residual_influences,
)
from unlearnkit.analysis.matched_controls import SEARCH, is_matched_control, matched_control, split
from unlearnkit.analysis.mitigations import pareto_front
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import in_row_order, interval_columns
from unlearnkit.study import REFERENCE_ROWS
from unlearnkit.wrappers import wrappers
from unlearnkit.wrappers.neighbours import parse

ENDS = [name for name in REFERENCE_ROWS if name != "retrain"]  # rows that are no base
REMOVED = {"influence_removed": "residual_influence", "influence_removed_rank": "residual_influence_rank"}
CONTRASTS = ("minus_retrain", "minus_control")


def target_mitigations_table(scores: pd.DataFrame, *, copies: int, strength: float) -> pd.DataFrame:
    """One row per condition and method, of the targets with so many near-duplicates of such a strength.

    influence_removed, influence_removed_rank: 1 less the residual influence, by margins and by ranks, label_given,
    minus_retrain, minus_control with their p, TA, utility of texts, usable, moved and verdict: see
    unlearnkit.analysis.influence.residual_influences; below 0, minus_control says that a search removes more than as many
    random samples do. neighbour_cost: accuracy lost against the original on the near-duplicates of all targets, of texts by
    tokens, a mean over seeds with its t interval. matched_control: whether that of a search was measured; a wrapper that
    looks for no neighbours has none. number_known: the search asks for as many neighbours as there are near-duplicates.
    pareto_optimal: of the rows that count (usable, moved, measured on all seeds, the number not known; controls, too)
    no other is at least as good in |residual influence| and in neighbour cost, and better in one.

    scores: of unlearnkit.study.target_scores. Raises BadValue if no arm has this dose.
    """
    arm = scores[(scores.copies == copies) & (scores.strength == strength) & (scores.control == "")]
    if arm.empty:
        raise BadValue(f"no arm has targets with {copies} near-duplicates of strength {strength:g}")
    table = residual_influences(arm)
    for name, left in REMOVED.items():
        ends = {name: left, f"{name}_low": f"{left}_high", f"{name}_high": f"{left}_low"}
        table = table.assign(**{removed: 1 - table[of].astype(float) for removed, of in ends.items()})
    table = table.drop(columns="neighbour_cost").merge(_neighbour_cost(arm), on=[*CONDITION, "method"])
    table = pd.concat([table, table.method.map(split).apply(pd.Series)], axis=1)
    table["matched_control"] = [_control(row, set(table.method)) for row in table.itertuples()]
    table["number_known"] = [_number_known(method, copies) for method in table.method]
    table["pareto_optimal"] = False
    for _, part in table.groupby(CONDITION):
        counts = ~part.method.isin(ENDS) & ~part.verdict.isin(NOT_COUNTED) & ~part.number_known
        counts &= part.n_seeds == part.n_seeds[part.method == "original"].item()
        goals = pd.DataFrame({"left": -(1 - part.influence_removed).abs(), "cost": -part.neighbour_cost})
        table.loc[part.index, "pareto_optimal"] = pareto_front(goals.where(counts).to_numpy())
    first = ["method", "base", "wrapper", "options", "n_seeds", "n_targets", "pareto_optimal"]
    measured = [*REMOVED, "label_given", "neighbour_cost"]
    columns = [column for name in measured for column in interval_columns(name, {})]
    columns += [
        *(name for name in ("utility", "TA") if name in table),
        "usable",
        "moved",
        "verdict",
        "matched_control",
        "number_known",
    ]
    columns += [c for name in CONTRASTS for c in (*interval_columns(name, {}), f"p_{name}")]
    return in_row_order(table, ["base", "wrapper", "options"], ROW_ORDER)[[*CONDITION, *ARM, *first, *columns]]


def _neighbour_cost(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns CONDITION, method and neighbour_cost with its interval over seeds."""
    right = scores.groupby([*CONDITION, "method", "seed"]).RA_similar.first()
    before = right.xs("original", level="method").rename("before")
    cost = (right.to_frame().join(before).eval("before - RA_similar")).groupby([*CONDITION, "method"])
    rows = {index: interval_columns("neighbour_cost", values) for index, values in cost}
    index = pd.MultiIndex.from_tuples(rows, names=[*CONDITION, "method"])
    return pd.DataFrame(list(rows.values()), index=index).reset_index()


def _control(row, measured: set[str]) -> str:
    if is_matched_control(row.method):
        return "is one"
    if not row.wrapper:
        return ""
    if "near" not in wrappers[row.wrapper].options():
        return "none: it looks for no neighbours"
    return "measured" if matched_control(row.method) in measured else "not measured"


def _number_known(method: str, copies: int) -> bool:
    """Whether a row's search asks for the number of near-duplicates that exists."""
    search = SEARCH.search(method)
    if search is None:
        return False
    asked = parse(search[0].removeprefix("near="))
    return asked.rule == "top" and asked.value == copies
