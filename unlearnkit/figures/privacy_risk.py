"""Which samples are at risk, whether it can be told cheaply, and whether they are harder to forget: F11, F12, F12-copies."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.difficulty import NOISE_FLOOR_ROW
from unlearnkit.analysis.privacy_risk import ITSELF
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.figures.style import finished

BLUE, ORANGE, GREEN, RED = sns.color_palette("colorblind")[:4]
KINDS = {"ids": "mixed memorisation"}  # of targets, by the name they are drawn by
CORRELATE_STYLES = {  # question: (label, colour)
    "moved": ("risk and movement", "grey"),
    "difficulty": ("risk and difficulty", BLUE),
    "difficulty | headroom": ("... with the headroom fixed", ORANGE),
    "difficulty | headroom corrected": ("... corrected for its noise", RED),
}
DIFFICULTY_LABELS = {"gap": "gap to retrain", "steps": "steps to retrain's loss"}  # how difficulty is


def _named(targets: str) -> str:
    return f"{KINDS.get(targets, targets)} targets"


def plot_privacy_risk(
    risks: pd.DataFrame, table: pd.DataFrame, measure: str = "lira_online"
) -> tuple[Figure, pd.DataFrame]:
    """One row of panels per kind of targets: the risk of targets and, as chance, of decoys; the risk by one half of the
    shadow models against the other's; and how each ranker correlates with it, intervals over seeds thin, over samples thick.

    Shaded: what the measure, with all its models, can be foretold to, the root of its reliability. risks: of
    unlearnkit.analysis.privacy_risk.risks; table: of unlearnkit.analysis.privacy_risk.proxies_table.
    """
    found = risks[risks.ranker == measure]
    wide = found.pivot(
        index=[*CONDITION_COLUMNS, "seed", "group", "sample"], columns="half", values="value"
    ).reset_index()
    data = wide.rename(columns={"": "risk", "0": "one half", "1": "other half"}).rename_axis(columns=None)
    kinds = list(risks.targets.unique())
    shape = {"squeeze": False, "layout": "constrained", "figsize": (12, 3.9 * len(kinds))}
    figure, axes = plt.subplots(len(kinds), 3, **shape, gridspec_kw={"width_ratios": [1, 1, 1.3]})
    bins = np.linspace(data.risk.min(), data.risk.max(), 31)
    for row, kind in zip(axes, kinds):
        part = data[data.targets == kind]
        for group, colour in (("target", ORANGE), ("decoy", BLUE)):
            row[0].hist(part.risk[part.group == group], bins, color=colour, alpha=0.55, lw=0, label=f"{group}s")
        row[0].set(xlabel=f"risk, {measure}", ylabel=f"{_named(kind)}\nsamples of all seeds")
        row[0].legend(fontsize=9)
        targets = part[part.group == "target"]
        row[1].plot(targets["one half"], targets["other half"], "o", ms=3, alpha=0.5, color=ORANGE, mew=0)
        row[1].axline((0, 0), slope=1, color="grey", lw=1)
        row[1].set(xlabel="by one half of the models", ylabel="by the other half")
        _proxies(row[2], table[(table.targets == kind) & (table.measure == measure)], measure)
    return finished(figure), data


def _proxies(axis, table: pd.DataFrame, measure: str) -> None:
    table = table[table.group == "target"].set_index("ranker")
    if ITSELF in table.index:
        axis.axvspan(np.sqrt(max(table.full[ITSELF], 0)), 1, color="grey", alpha=0.2, lw=0)
    table = table.sort_values("rho")
    at = np.arange(len(table))
    colours = [RED if name == ITSELF else "black" for name in table.index]
    axis.hlines(at, table.rho_low.astype(float), table.rho_high.astype(float), color=colours, lw=1)
    axis.hlines(at, table.rho_low_samples, table.rho_high_samples, color=colours, lw=3)
    axis.scatter(table.rho, at, color=colours, s=30, zorder=3)
    axis.axvline(0, color="grey", lw=1)
    axis.set_yticks(at, [name.replace("_", " ") for name in table.index], fontsize=9)
    axis.set(xlim=(-1, 1), xlabel=f"Spearman's rho with {measure}")
    axis.grid(axis="y", visible=False)


def plot_difficulty(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How risk correlates with what a method does to a sample: a column of panels per kind of targets, a row per measure of
    difficulty, one line per method and question; means over seeds with 95% intervals.

    Dotted, in the same colours: what a retraining from another seed gives, whose difficulty is noise. In brackets: the
    share of targets that never arrive where retraining leaves them, and which in steps are all equally hard. table: of
    unlearnkit.analysis.difficulty.difficulty_table, with a column difficulty: "gap" or "steps".
    """
    kinds, measures = list(table.targets.unique()), list(table.difficulty.unique())
    names = {name: _by_difficulty(table[table.difficulty == name]) for name in measures}
    heights = [len(methods) for methods in names.values()]
    size = (5.2 * len(kinds) + 1, 0.5 * sum(heights) + 1.4 * len(measures) + 0.4)
    shape = {"squeeze": False, "layout": "constrained", "sharex": True, "figsize": size}
    figure, axes = plt.subplots(len(measures), len(kinds), **shape, height_ratios=heights)
    for row, (measure, methods) in zip(axes, names.items()):
        for axis, kind in zip(row, kinds):
            part = table[(table.targets == kind) & (table.difficulty == measure)]
            _lines(axis, part.set_index(["question", "method"]), methods)
            axis.set_title(f"{_named(kind)}: {DIFFICULTY_LABELS[measure]}", fontsize=11)
        row[0].set_ylabel("")
    for axis in axes[-1]:
        axis.set_xlabel("Spearman's rho")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False
    )
    return finished(figure), table


def _lines(axis, part: pd.DataFrame, methods: Sequence[str]) -> None:
    for i, (question, (label, colour)) in enumerate(CORRELATE_STYLES.items()):
        if question in part.index.get_level_values(0):
            line = part.loc[question].reindex(methods)
            at = np.arange(len(methods)) + 0.18 * (i - (len(CORRELATE_STYLES) - 1) / 2)
            axis.hlines(at, line.rho_low.astype(float), line.rho_high.astype(float), color=colour, lw=1.5)
            axis.plot(line.rho.astype(float), at, "o", color=colour, ms=5, label=label)
            if question != "moved" and NOISE_FLOOR_ROW in line.index:
                axis.axvline(line.rho[NOISE_FLOOR_ROW], color=colour, lw=1, ls=":")
    names = [m.replace("_", " ") for m in methods]
    never = part.loc["difficulty"].reindex(methods).get("never")
    if never is not None and never.notna().any():
        names = [f"{name} ({share:.0%} never)" for name, share in zip(names, never)]
    axis.axvline(0, color="black", lw=1)
    axis.set_yticks(range(len(methods)), names, fontsize=9)
    axis.set(xlim=(-1, 1), ylim=(len(methods) - 0.5, -0.5))
    axis.grid(axis="y", visible=False)


def _by_difficulty(table: pd.DataFrame) -> list[str]:
    """FLOOR first, if it is there, then by the mean correlation of risk and difficulty."""
    rho = table[table.question == "difficulty"].groupby("method").rho.mean().sort_values(ascending=False)
    return sorted(rho.index, key=lambda name: name != NOISE_FLOOR_ROW)


def plot_difficulty_by_near_duplicates(
    table: pd.DataFrame, quantities: Sequence[str] = ()
) -> tuple[Figure, pd.DataFrame]:
    """Mean risk and mean difficulty of the targets against the number of similar copies that stay, one line per kind of
    targets, dashed for decoys; means over seeds with 95% intervals. table: of unlearnkit.analysis.difficulty.near_duplicates_difficulty_table."""
    known = list(table.quantity.unique())
    quantities = list(quantities) or [q for q in known if not q.startswith("signed")]
    data = table[table.quantity.isin(quantities)]
    columns = min(4, len(quantities))
    down = -(-len(quantities) // columns)
    shape = {"squeeze": False, "layout": "constrained", "figsize": (3.1 * columns, 2.7 * down + 0.4)}
    figure, axes = plt.subplots(down, columns, **shape)
    colours = dict(zip(sorted(data.targets.unique()), (ORANGE, BLUE, GREEN, RED)))
    for axis, quantity in zip(axes.flatten(), quantities):
        part = data[data.quantity == quantity]
        places = {m: i for i, m in enumerate(sorted(part.copies.unique()))}
        for (kind, group), line in part.sort_values("copies").groupby(["targets", "group"]):
            at, style = line.copies.map(places), {"color": colours[kind], "ls": "--" if group == "decoy" else "-"}
            label = _named(kind) if group == "target" else f"{KINDS.get(kind, kind)} decoys: chance"
            axis.plot(at, line.value, marker="o", ms=4, **style, label=label)
            axis.fill_between(
                at, line.value_low.astype(float), line.value_high.astype(float), color=colours[kind], alpha=0.15
            )
        axis.axhline(0, color="grey", lw=1)
        axis.set_xticks(list(places.values()), list(places))
        axis.set_title(quantity.replace("_", " "), fontsize=10)
    for axis in axes.flatten()[len(quantities) :]:
        axis.set_visible(False)
    figure.supxlabel("similar copies per target", fontsize=10)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9, frameon=False
    )
    return finished(figure), data
