"""F8: which metric orders methods as their ensemble distance to retraining does. F8-layers: metrics against depth."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.metric_agreement import HALF
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.figures.style import error_bars, finished, row_colours, shared_legend

FAMILIES = ("accuracy", "attack", "predictions", "features", "relearning", "ensembles")
COLOURS = dict(zip(FAMILIES, sns.color_palette("colorblind", len(FAMILIES))))
MARKS = {"KLoM on targets": (-0.17, "full"), "KLoM on all": (0.17, "none")}  # place beside the line, fill of the dot

ROOM = 0.1  # above and below the means


def plot_metric_agreement(agreement: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Kendall's tau of each metric's order of methods with that by KLoM, a panel for each condition, and what it costs.

    Sorted by the mean over conditions and ensemble distances; filled dots: KLoM on the targets, hollow ones: on
    targets, retain and test samples; lines: 95% intervals over seeds and methods; dotted: no better than chance;
    dashed: two halves of the ensembles with one another. agreement: of
    unlearnkit.analysis.metric_agreement.metric_agreement.
    """
    data = agreement.copy()
    order = data[data.metric != HALF].groupby("metric").tau.mean().sort_values(ascending=False).index
    tasks = list(data[CONDITION_COLUMNS].drop_duplicates().itertuples(index=False))
    shape = {"layout": "constrained", "figsize": (3.1 * len(tasks) + 3.2, 0.33 * len(order) + 1.6), "sharey": True}
    ratios = {"width_ratios": [3] * len(tasks) + [1.5]}
    figure, axes = plt.subplots(1, len(tasks) + 1, gridspec_kw=ratios, **shape)
    for axis, task in zip(axes, tasks):
        _dots(axis, data[(data[CONDITION_COLUMNS] == list(task)).all(axis=1)], order)
        copies = f", {task.copies} near-duplicates" if task.copies else ""
        axis.set_title(f"{task.dataset}: {task.targets}{copies}", fontsize=10)
    cost = data.groupby("metric").cost_seconds.median().reindex(order)
    axes[-1].scatter(cost, range(len(order)), s=18, color="0.35")
    axes[-1].set_xscale("log")
    axes[-1].set_title("cost, s", fontsize=10)
    axes[0].set_yticks(range(len(order)), order, fontsize=9)
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    for axis in axes:
        axis.tick_params(axis="x", labelsize=9)
    axes[(len(tasks) - 1) // 2].set_xlabel("Kendall's tau with the order by KLoM", fontsize=10)
    families = [f for f in FAMILIES if f in set(data.metric_family)]
    handles = [plt.Line2D([], [], marker="o", ls="", color=COLOURS[f], label=f) for f in families]
    for name, (_, fill) in MARKS.items():
        handles.append(plt.Line2D([], [], marker="o", ls="", color="black", fillstyle=fill, label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return finished(figure), data


def _dots(axis, data: pd.DataFrame, order: Sequence[str]) -> None:
    for name, (shift, fill) in MARKS.items():
        part = data[data.ensemble_distance == name].set_index("metric")
        if HALF in part.index:
            axis.axvline(part.tau[HALF], color="black", lw=1, ls="--", alpha=1 if fill == "full" else 0.45)
        for place, metric in enumerate(order):
            if metric in part.index:
                row, y = part.loc[metric], place + shift
                colour = COLOURS[row.metric_family]
                axis.plot([row.tau_low, row.tau_high], [y] * 2, color=colour, lw=1.4)
                style = {"fillstyle": fill, "mfc": "white" if fill == "none" else colour}
                axis.plot(row.tau, y, "o", color=colour, ms=5.5, **style)
    axis.axvline(0, color="0.4", lw=1, ls=":")
    axis.set_xlim(-1.05, 1.05)
    axis.set_xticks([-1, -0.5, 0, 0.5, 1])


def plot_metrics_by_layer(table: pd.DataFrame, chosen: Sequence[tuple[str, str, str]]) -> tuple[Figure, pd.DataFrame]:
    """Metrics of features against depth: a row of panels for each condition, a panel for each metric, a line per row.

    table: of unlearnkit.analysis.layerwise.by_depth; chosen: (metric, group, reference). Bars are 95% intervals over
    seeds, cut at a panel's edge; all of these metrics are shares.
    """
    keys = ["metric", "group", "reference"]
    data = table[[key in set(chosen) for key in table[keys].itertuples(index=False, name=None)]]
    tasks = list(data[CONDITION_COLUMNS].drop_duplicates().itertuples(index=False))
    methods = list(dict.fromkeys(data.method))
    colours = row_colours(methods)
    shape = {"squeeze": False, "layout": "constrained", "sharex": True}
    figure, axes = plt.subplots(len(tasks), len(chosen), figsize=(2.6 * len(chosen), 2.3 * len(tasks) + 0.7), **shape)
    for row, task in zip(axes, tasks):
        part = data[(data[CONDITION_COLUMNS] == list(task)).all(axis=1)]
        for axis, key in zip(row, chosen):
            rows = part[(part[keys] == list(key)).all(axis=1)]
            for number, method in enumerate(methods):
                line = rows[rows.method == method].sort_values("depth")
                x = line.depth.astype(float) + 0.05 * (number - len(methods) / 2)
                bars = error_bars(line.rename(columns={"low": "mean_low", "high": "mean_high"}), "mean")
                style = {"ls": "--" if method == "classifier_only" else "-", "marker": "o", "ms": 3.5, "lw": 1.3}
                mean = line["mean"].astype(float)
                axis.errorbar(x, mean, bars, color=colours[method], elinewidth=0.8, label=method, **style)
            metric, group, reference = key
            axis.set_title(f"{metric} of {group}" + (f", to {reference}" if reference else ""), fontsize=9)
            axis.set_xticks(sorted(data.depth.unique()))
            axis.tick_params(labelsize=8)
            means = rows["mean"].astype(float)
            axis.set_ylim(max(means.min() - ROOM, -0.02), min(means.max() + ROOM, 1.02))
        row[0].set_ylabel(f"{task.dataset}: {task.targets}", fontsize=9)
    axes[-1][len(chosen) // 2].set_xlabel("layer, up to the one that feeds the head", fontsize=9)
    shared_legend(figure, axes[0][0], ncols=min(4, len(methods)))
    return finished(figure), data
