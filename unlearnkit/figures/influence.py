"""Residual influence on whole data sets: against the number of near-duplicates, their similarity, and cost."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnkit.figures.style import error_bars, finished, reference_levels, shared_legend

LOW, HIGH = -0.5, 1.5
NAMED = 7  # methods with a colour of their own, beside retrain
GATES = ("not usable", "not moved")


def plot_influence(
    table: pd.DataFrame, named: Sequence[str], *, strength: float = 0.3, perturbation: str = "block_mask"
) -> tuple[Figure, pd.DataFrame]:
    """Dose-response of whole data sets: one row of panels per data set and network, one column per kind of target.

    table: of unlearnkit.analysis.influence.residual_influences. named: the methods with a line and intervals, at most
    NAMED beside retrain; all others are grey. Rows that are not usable or did not move the model are crosses without a
    line, and are not counted anywhere. Points that are masked, or whose arm was not learnt, are left out.
    """
    own = (table.control == "") & ((table.copies == 0) | ((table.strength == strength) & (table.perturbation == perturbation)))
    data = table[own & ~table.method.isin(["original", "original-again", "retrain-again", "clean"])]
    rows = list(data[["dataset", "architecture", "augment"]].drop_duplicates().itertuples(index=False))
    kinds = [kind for kind in ("memorised", "canary", "random") if (data.targets == kind).any()]
    kinds = [kind for kind in kinds if data[data.targets == kind].residual_influence.notna().any()] or kinds[:1]
    shape = {"squeeze": False, "sharey": True, "sharex": True, "layout": "constrained"}
    figure, axes = plt.subplots(len(rows), len(kinds), figsize=(1.8 + 3.7 * len(kinds), 2.7 * len(rows)), **shape)
    chosen = ["retrain", *[m for m in named if m in set(data.method)][:NAMED]]
    colours = dict(zip(chosen, ["black", *sns.color_palette("colorblind", NAMED)]))
    doses = {copies: place for place, copies in enumerate(sorted(data.copies.unique()))}
    for line, row in zip(axes, rows):
        of_set = data[(data[["dataset", "architecture", "augment"]] == list(row)).all(axis=1)]
        for axis, kind in zip(line, kinds):
            _panel(axis, of_set[of_set.targets == kind], doses, colours)
            augmented = "" if row.augment == "none" else ", augmented"
            axis.set_title(f"{row.dataset} ({row.architecture}{augmented}): {kind}", fontsize=10)
        line[0].set_ylabel("residual influence")
    figure.supxlabel("near-duplicates per target that stay, m", fontsize=11)
    shared_legend(figure, axes[0][0], "right center")
    columns = ["residual_influence", "residual_influence_low", "residual_influence_high", "verdict", "n_seeds", "n_targets"]
    return finished(figure), data[["dataset", "architecture", "augment", "targets", "copies", "strength", "method", *columns]]


def _panel(axis: Axes, data: pd.DataFrame, doses: dict, colours: dict) -> None:
    there = data[data.residual_influence.notna()]
    others = there[~there.method.isin(list(colours))]
    for number, (_, line) in enumerate(others[~others.verdict.isin(GATES)].groupby("method")):
        line = line.sort_values("copies")
        axis.plot(line.copies.map(doses), line.residual_influence, color="0.8", lw=1, zorder=1, label=None if number else "others")
    gated = there[there.verdict.isin(GATES)]
    axis.plot(gated.copies.map(doses), gated.residual_influence.clip(LOW, HIGH), "x", color="0.7", ms=4, zorder=1, label="not usable or not moved")
    for place, (name, colour) in enumerate(colours.items()):
        line = there[(there.method == name) & ~there.verdict.isin(GATES)].sort_values("copies")
        x, bars = line.copies.map(doses) + 0.05 * (place - len(colours) / 2), error_bars(line, "residual_influence")
        style = {"lw": 2.2 if name == "retrain" else 1.3, "ms": 4, "capsize": 2, "elinewidth": 1, "marker": "o"}
        axis.errorbar(x, line.residual_influence, bars, label=name, color=colour, **style)
    reference_levels(axis)
    axis.set_ylim(LOW, HIGH)
    axis.set_xlim(-0.5, len(doses) - 0.5)
    axis.set_xticks([*doses.values()], [str(copies) for copies in doses])
