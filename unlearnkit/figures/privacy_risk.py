"""Which samples are at risk, whether a cheap proxy predicts it, and whether they are harder to forget: F11, F12,
F12-copies."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.difficulty import NOISE_FLOOR_ROW
from unlearnkit.analysis.privacy_risk import ITSELF
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.figures.style import finished, shared_legend, words

BLUE, ORANGE, GREEN, RED = sns.color_palette("colorblind")[:4]
KINDS = {"ids": "mixed memorisation"}  # of targets, by the name they are drawn by
CORRELATE_STYLES = {  # correlate: (label, colour)
    "margin_shift": ("risk and margin shift", "grey"),
    "difficulty": ("risk and difficulty", BLUE),
    "difficulty | headroom": ("... with the headroom fixed", ORANGE),
    "difficulty | headroom corrected": ("... corrected for its noise", RED),
}
DIFFICULTY_LABELS = {"gap": "gap to retrain", "steps": "steps to retrain's loss"}  # by difficulty_measure


def _targets(kind: str) -> str:
    return f"{KINDS.get(kind, kind)} targets"


def plot_privacy_risk(
    risks: pd.DataFrame, table: pd.DataFrame, measure: str = "lira_separation"
) -> tuple[Figure, pd.DataFrame]:
    """One row of panels per kind of targets: the risk of targets and, as chance, of decoys; the risk by one half of the
    shadow models against the other's; and how each proxy correlates with it, intervals over seeds thin, over samples
    thick.

    Shaded: what no proxy of the measure, with all its models, can be expected to exceed, the root of its reliability.
    risks: of unlearnkit.analysis.privacy_risk.risks; table: of unlearnkit.analysis.privacy_risk.proxies_table.
    """
    chosen = risks[risks.ranker == measure]
    keys = [*CONDITION_COLUMNS, "seed", "group", "sample"]
    wide = chosen.pivot(index=keys, columns="half", values="value").reset_index()
    names = {"": "risk", "0": "risk_half_a", "1": "risk_half_b"}
    data = wide.rename(columns=names).rename_axis(columns=None)
    data = data.reindex(columns=list(dict.fromkeys([*data, *names.values()])))  # too few models are not cut into halves
    kinds = list(risks.targets.unique())
    shape = {"squeeze": False, "layout": "constrained", "figsize": (12, 3.9 * len(kinds))}
    figure, axes = plt.subplots(len(kinds), 3, **shape, gridspec_kw={"width_ratios": [1, 1, 1.3]})
    bins = np.linspace(data.risk.min(), data.risk.max(), 31)
    for row, kind in zip(axes, kinds):
        part = data[data.targets == kind]
        for group, colour in (("target", ORANGE), ("decoy", BLUE)):
            row[0].hist(part.risk[part.group == group], bins, color=colour, alpha=0.55, lw=0, label=f"{group}s")
        row[0].set(xlabel=f"risk, {words(measure)}", ylabel=f"{_targets(kind)}\nsamples of all seeds")
        row[0].legend(fontsize=9)
        targets = part[part.group == "target"]
        row[1].plot(targets.risk_half_a, targets.risk_half_b, "o", ms=3, alpha=0.5, color=ORANGE, mew=0)
        row[1].axline((0, 0), slope=1, color="grey", lw=1)
        row[1].set(xlabel="by one half of the models", ylabel="by the other half")
        _proxies(row[2], table[(table.targets == kind) & (table.risk_measure == measure)], measure)
    return finished(figure), data


def _proxies(axis, table: pd.DataFrame, measure: str) -> None:
    table = table[table.group == "target"].set_index("risk_proxy")
    if ITSELF in table.index:
        axis.axvspan(np.sqrt(max(table.spearman_brown[ITSELF], 0)), 1, color="grey", alpha=0.2, lw=0)
    table = table.sort_values("spearman")
    y = np.arange(len(table))
    colours = [RED if name == ITSELF else "black" for name in table.index]
    axis.hlines(y, table.spearman_low.astype(float), table.spearman_high.astype(float), color=colours, lw=1)
    axis.hlines(y, table.spearman_low_samples, table.spearman_high_samples, color=colours, lw=3)
    axis.scatter(table.spearman, y, color=colours, s=30, zorder=3)
    axis.axvline(0, color="grey", lw=1)
    axis.set_yticks(y, [words(name) for name in table.index], fontsize=9)
    axis.set(xlim=(-1, 1), xlabel=f"Spearman's correlation with {words(measure)}")
    axis.grid(axis="y", visible=False)


def plot_difficulty(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How risk correlates with what a method does to a sample: a column of panels per kind of targets, a row per
    measure of difficulty, one line per method and correlate; means over seeds with 95% intervals.

    Dotted, in the same colours: what a retraining from another seed gives, whose difficulty is noise. In brackets: the
    share of targets that are never forgotten to where retraining leaves them, and which in steps are all equally hard.
    table: of unlearnkit.analysis.difficulty.difficulty_table, with a column difficulty_measure: "gap" or "steps".
    """
    kinds, measures = list(table.targets.unique()), list(table.difficulty_measure.unique())
    methods_of = {name: _by_difficulty(table[table.difficulty_measure == name]) for name in measures}
    heights = [len(methods) for methods in methods_of.values()]
    size = (5.2 * len(kinds) + 1, 0.5 * sum(heights) + 1.4 * len(measures) + 0.4)
    shape = {"squeeze": False, "layout": "constrained", "sharex": True, "figsize": size}
    figure, axes = plt.subplots(len(measures), len(kinds), **shape, height_ratios=heights)
    for row, (measure, methods) in zip(axes, methods_of.items()):
        for axis, kind in zip(row, kinds):
            part = table[(table.targets == kind) & (table.difficulty_measure == measure)]
            _lines(axis, part.set_index(["correlate", "method"]), methods)
            axis.set_title(f"{_targets(kind)}: {DIFFICULTY_LABELS[measure]}", fontsize=11)
        row[0].set_ylabel("")
    for axis in axes[-1]:
        axis.set_xlabel("Spearman's correlation")
    if NOISE_FLOOR_ROW in set(table.method):
        axes[0][0].plot([], [], ":", color="grey", label="the same of retraining again")
    shared_legend(figure, axes[0][0], ncols=3)
    return finished(figure), table


def _lines(axis, part: pd.DataFrame, methods: Sequence[str]) -> None:
    for i, (correlate, (label, colour)) in enumerate(CORRELATE_STYLES.items()):
        if correlate in part.index.get_level_values(0):
            line = part.loc[correlate].reindex(methods)
            y = np.arange(len(methods)) + 0.18 * (i - (len(CORRELATE_STYLES) - 1) / 2)
            axis.hlines(y, line.spearman_low.astype(float), line.spearman_high.astype(float), color=colour, lw=1.5)
            axis.plot(line.spearman.astype(float), y, "o", color=colour, ms=5, label=label)
            if correlate != "margin_shift" and NOISE_FLOOR_ROW in line.index:
                axis.axvline(line.spearman[NOISE_FLOOR_ROW], color=colour, lw=1, ls=":")
    names = [words(method) for method in methods]
    never = part.loc["difficulty"].reindex(methods).get("share_never_forgotten")
    if never is not None and never.notna().any():
        names = [f"{name} ({share:.0%} never)" for name, share in zip(names, never)]
    axis.axvline(0, color="black", lw=1)
    axis.set_yticks(range(len(methods)), names, fontsize=9)
    axis.set(xlim=(-1, 1), ylim=(len(methods) - 0.5, -0.5))
    axis.grid(axis="y", visible=False)


def _by_difficulty(table: pd.DataFrame) -> list[str]:
    """NOISE_FLOOR_ROW first, if it is there, then by the mean correlation of risk and difficulty."""
    mean = table[table.correlate == "difficulty"].groupby("method").spearman.mean().sort_values(ascending=False)
    return sorted(mean.index, key=lambda name: name != NOISE_FLOOR_ROW)


def plot_difficulty_by_near_duplicates(
    table: pd.DataFrame, quantities: Sequence[str] = ()
) -> tuple[Figure, pd.DataFrame]:
    """Mean risk and mean difficulty of the targets against the number of near-duplicates that stay, one line per kind
    of targets, dashed for decoys; means over seeds with 95% intervals. table: of
    unlearnkit.analysis.difficulty.near_duplicates_difficulty_table."""
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
            x, style = line.copies.map(places), {"color": colours[kind], "ls": "--" if group == "decoy" else "-"}
            label = _targets(kind) if group == "target" else f"{KINDS.get(kind, kind)} decoys: chance"
            axis.plot(x, line.value, marker="o", ms=4, **style, label=label)
            low, high = line.value_low.astype(float), line.value_high.astype(float)
            axis.fill_between(x, low, high, color=colours[kind], alpha=0.15)
        axis.axhline(0, color="grey", lw=1)
        axis.set_xticks(list(places.values()), list(places))
        axis.set_title(words(quantity), fontsize=10)
    for axis in axes.flatten()[len(quantities) :]:
        axis.set_visible(False)
    figure.supxlabel("near-duplicates per target", fontsize=10)
    shared_legend(figure, axes[0][0], "upper center", ncols=4)
    return finished(figure), data
