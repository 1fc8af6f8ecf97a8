"""F8: which yardstick orders methods as their true distance to retraining does. F8-layers: metrics against depth."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.figures.style import finished

FAMILIES = ("accuracy", "attack", "predictions", "features", "relearning", "ensembles")
COLOURS = dict(zip(FAMILIES, sns.color_palette("colorblind", len(FAMILIES))))
MARKS = {"KLoM on targets": (-0.17, "full"), "KLoM on all": (0.17, "none")}  # place beside the line, fill of the dot

ROOM = 0.1  # above and below the means


def plot_metric_agreement(agreement: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Kendall's tau of each yardstick's order of methods with that by KLoM, a panel for each condition, and what it costs.

    Sorted by the mean over conditions and truths; filled dots: KLoM on the targets, hollow ones: on targets, retain and
    test samples; lines: 95% intervals over seeds and methods; dotted: no better than chance; dashed: two halves of the
    ensembles with one another. agreement: of unlearnkit.analysis.metric_agreement.
    """
    data = agreement.copy()
    order = data[data.yardstick != "half of KLoM"].groupby("yardstick").tau.mean().sort_values(ascending=False).index
    tasks = list(data[CONDITION_COLUMNS].drop_duplicates().itertuples(index=False))
    shape = {"layout": "constrained", "figsize": (3.1 * len(tasks) + 3.2, 0.33 * len(order) + 1.6), "sharey": True}
    ratios = {"width_ratios": [3] * len(tasks) + [1.5]}
    figure, axes = plt.subplots(1, len(tasks) + 1, gridspec_kw=ratios, **shape)
    for axis, task in zip(axes, tasks):
        _dots(axis, data[(data[CONDITION_COLUMNS] == list(task)).all(axis=1)], order)
        copies = f", {task.copies} copies" if task.copies else ""
        axis.set_title(f"{task.dataset}: {task.targets}{copies}", fontsize=10)
    cost = data.groupby("yardstick").cost.median().reindex(order)
    axes[-1].scatter(cost, range(len(order)), s=18, color="0.35")
    axes[-1].set_xscale("log")
    axes[-1].set_title("cost, s", fontsize=10)
    axes[0].set_yticks(range(len(order)), order, fontsize=9)
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    for axis in axes:
        axis.tick_params(axis="x", labelsize=9)
    axes[(len(tasks) - 1) // 2].set_xlabel("Kendall's tau with the order by KLoM", fontsize=10)
    seen = [f for f in FAMILIES if f in set(data.family)]
    handles = [plt.Line2D([], [], marker="o", ls="", color=COLOURS[f], label=f) for f in seen]
    for truth, (_, fill) in MARKS.items():
        handles.append(plt.Line2D([], [], marker="o", ls="", color="black", fillstyle=fill, label=truth))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return finished(figure), data


def _dots(axis, data: pd.DataFrame, order: Sequence[str]) -> None:
    for truth, (up, fill) in MARKS.items():
        part = data[data.truth == truth].set_index("yardstick")
        if "half of KLoM" in part.index:
            axis.axvline(part.tau["half of KLoM"], color="black", lw=1, ls="--", alpha=1 if fill == "full" else 0.45)
        for place, yardstick in enumerate(order):
            if yardstick in part.index:
                row = part.loc[yardstick]
                colour = COLOURS[row.family]
                axis.plot([row.tau_low, row.tau_high], [place + up] * 2, color=colour, lw=1.4)
                axis.plot(
                    row.tau,
                    place + up,
                    "o",
                    color=colour,
                    ms=5.5,
                    fillstyle=fill,
                    mfc="white" if fill == "none" else colour,
                )
    axis.axvline(0, color="0.4", lw=1, ls=":")
    axis.set_xlim(-1.05, 1.05)
    axis.set_xticks([-1, -0.5, 0, 0.5, 1])


def plot_metrics_by_layer(table: pd.DataFrame, shown: Sequence[tuple[str, str, str]]) -> tuple[Figure, pd.DataFrame]:
    """Metrics of features against depth: a row of panels for each condition, a panel for each metric, a line per row.

    table: of unlearnkit.analysis.layerwise.by_depth; shown: (metric, group, reference). Bars are 95% intervals over seeds, cut
    at a panel's edge; all of these metrics are shares.
    """
    keys = ["metric", "group", "reference"]
    data = table[[key in set(shown) for key in table[keys].itertuples(index=False, name=None)]]
    tasks = list(data[CONDITION_COLUMNS].drop_duplicates().itertuples(index=False))
    methods = list(dict.fromkeys(data.method))
    colours = dict(zip(methods, sns.color_palette("colorblind", len(methods))))
    colours |= {"retrain": "black", "initial": "0.6"}
    shape = {"squeeze": False, "layout": "constrained", "sharex": True}
    figure, axes = plt.subplots(len(tasks), len(shown), figsize=(2.6 * len(shown), 2.3 * len(tasks) + 0.7), **shape)
    for row, task in zip(axes, tasks):
        part = data[(data[CONDITION_COLUMNS] == list(task)).all(axis=1)]
        for axis, key in zip(row, shown):
            at = part[(part[keys] == list(key)).all(axis=1)]
            for number, method in enumerate(methods):
                line = at[at.method == method].sort_values("depth")
                x = line.depth.astype(float) + 0.05 * (number - len(methods) / 2)
                bars = np.abs(line[["low", "high"]].astype(float).sub(line["mean"].astype(float), axis=0)).T.to_numpy()
                style = {"ls": "--" if method == "classifier_only" else "-", "marker": "o", "ms": 3.5, "lw": 1.3}
                mean = line["mean"].astype(float)
                axis.errorbar(x, mean, bars, color=colours[method], elinewidth=0.8, label=method, **style)
            metric, group, reference = key
            axis.set_title(f"{metric} of {group}" + (f", to {reference}" if reference else ""), fontsize=9)
            axis.set_xticks(sorted(data.depth.unique()))
            axis.tick_params(labelsize=8)
            means = at["mean"].astype(float)
            axis.set_ylim(max(means.min() - ROOM, -0.02), min(means.max() + ROOM, 1.02))
        row[0].set_ylabel(f"{task.dataset}: {task.targets}", fontsize=9)
    axes[-1][len(shown) // 2].set_xlabel("layer, up to the one that feeds the head", fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    labels = [name.replace("_", " ") for name in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(methods)), fontsize=9, frameon=False)
    return finished(figure), data
