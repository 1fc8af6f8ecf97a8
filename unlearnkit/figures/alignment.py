"""Study II in pictures: spectra and alignment, the path of a run, features in two dimensions: F7, F9, F10."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearnkit.core.statistics import interval_columns, mean_interval
from unlearnkit.figures.style import error_bars, finished, row_colours, shared_legend, words

TOLD_APART = (
    "original",
    "retrain",
    "initial",
    "muda",
    "random_label",
)  # lines of spectra in colours of their own; the others are grey
FORGOTTEN = "forgotten samples"
SPECTRUM = 20  # eigenvalues that are drawn
PATHS = {  # column: axis label
    "forget": "accuracy,\nforget set",
    "retain": "accuracy,\nretain set",
    "test": "accuracy,\ntest set",
    "DA": "DA",
    "effective_rank": "effective rank",
}


def conditions(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """{(data set, protocol): its name in a title} in the order of the table; the protocol alone where none has two
    sets."""
    pairs = list(dict.fromkeys(zip(table.dataset, table.protocol, strict=True)))
    several = len({protocol for _, protocol in pairs}) < len(pairs)
    return {(d, p): f"{words(d)}, {p}" if several else p for d, p in pairs}


def _part(table: pd.DataFrame, condition: tuple[str, str]) -> pd.DataFrame:
    return table[(table.dataset == condition[0]) & (table.protocol == condition[1])]


def plot_spectra(spectra: pd.DataFrame, table: pd.DataFrame, rule: str = "95%") -> tuple[Figure, pd.DataFrame]:
    """One row of panels per data set and protocol: the eigenvalues of the retain set's and of the targets' second
    moments as shares of their sum, means over seeds, those of TOLD_APART in colours; and DA of every row by `rule`, 95%
    intervals over seeds.

    spectra: the first table of unlearnkit.analysis.feature_spectra.feature_spectra; table: of
    unlearnkit.analysis.feature_spectra.spectra_table. In the data, the column quantity tells "spectrum" from "DA".
    """
    keys = ["dataset", "protocol", "method", "group", "eigenvalue_index"]
    groups = spectra[spectra.eigenvalue_index <= SPECTRUM].groupby(keys, sort=False).eigenvalue_share
    lines = groups.agg(["mean", "size"]).reset_index()
    lines = lines.rename(columns={"mean": "eigenvalue_share", "size": "n_seeds"})
    points = table[table.subspace_rule == rule]
    titles, names = conditions(spectra), list(dict.fromkeys(spectra.method))
    colour = row_colours(names)
    shape = {"squeeze": False, "layout": "constrained", "figsize": (10.5, 3.1 * len(titles) + 0.6)}
    figure, axes = plt.subplots(len(titles), 3, **shape)
    for row, (condition, title) in zip(axes, titles.items()):
        here = _part(lines, condition)
        for axis, (group, samples) in zip(row, (("retain", "retain set"), ("target", "targets"))):
            for name in names:
                line = here[(here.method == name) & (here.group == group)]
                style = {"color": colour[name], "lw": 2.2, "label": name, "zorder": 3}
                if name not in TOLD_APART:
                    style = {"color": "0.8", "lw": 1, "label": "other methods", "zorder": 1}
                axis.plot(line.eigenvalue_index, line.eigenvalue_share, **style)
            axis.set(yscale="log", ylim=(1e-5, 1), xlabel="number of the eigenvalue")
            axis.set_title(f"{title}: {samples}", fontsize=12)
        row[0].set_ylabel("share of the sum")
        part = _part(points, condition).set_index("method").reindex(names)
        bars, y = error_bars(part, "DA"), np.arange(len(names))
        for i, name in enumerate(names):
            style = {"fmt": "o", "color": colour[name], "capsize": 2}
            row[2].errorbar(part.DA.iloc[i], y[i], xerr=bars[:, i : i + 1], **style)
        row[2].set_yticks(y, [words(n) for n in names], fontsize=10)
        row[2].set(ylim=(len(names) - 0.5, -0.5), xlabel=f"DA of the targets ({rule})")
        row[2].locator_params(axis="x", nbins=4)
        row[2].ticklabel_format(axis="x", useOffset=False)
        row[2].set_title(f"{title}: alignment", fontsize=12)
    shared_legend(figure, axes[0][0], ncols=6)
    columns = ["dataset", "protocol", "method", "subspace_rule", *interval_columns("DA", {}), "n_seeds"]
    parts = [lines.assign(quantity="spectrum"), points[columns].assign(quantity="DA")]
    return finished(figure), pd.concat(parts, ignore_index=True)


def plot_trajectories(steps: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Accuracy on forget, retain and test samples, DA and effective rank of the targets' features after each step: one
    column of panels per data set and protocol, one line per method, the mean over all seeds, for as long as all run;
    shaded from the lowest to the highest seed.

    steps: of unlearnkit.analysis.trajectories.trajectories, with a column protocol. A line begins with the original at
    step 0.
    """
    titles, names = conditions(steps), list(dict.fromkeys(steps.method))
    colour = row_colours(names)
    width = max(2.6, min(4.6, 9.5 / len(titles)))
    shape = {"squeeze": False, "layout": "constrained", "sharex": "col", "figsize": (width * len(titles) + 1.2, 9)}
    figure, axes = plt.subplots(len(PATHS), len(titles), **shape)
    for column, (condition, title) in zip(axes.T, titles.items()):
        here = _part(steps, condition)
        for name, dashes in zip(names, cycle(("-", "--", "-.", ":"))):
            runs = here[here.method == name]
            for axis, quantity in zip(column, PATHS):
                over_seeds = runs.groupby("step")[quantity].agg(["mean", "min", "max", "size"])
                over_seeds = over_seeds[over_seeds["size"] == runs.seed.nunique()]  # no mean over the longer runs alone
                ends = over_seeds["min"], over_seeds["max"]
                axis.fill_between(over_seeds.index, *ends, color=colour[name], alpha=0.2, lw=0)
                style = {"marker": "o", "ms": 3} if len(over_seeds) < 25 else {}
                style |= {"color": colour[name], "ls": dashes, "lw": 2, "label": _in_short(name)}
                axis.plot(over_seeds.index, over_seeds["mean"], **style)
        column[0].set_title(title, fontsize=12)
        column[-1].set_xlabel("optimiser step")
    for row, (quantity, label) in zip(axes, PATHS.items()):
        row[0].set_ylabel(label, fontsize=11)
        if quantity in ("forget", "retain", "test"):
            for axis in row:
                axis.set_ylim(-0.03, 1.03)
    shared_legend(figure, axes[0][0], ncols=2)
    parts, keys = [], ["dataset", "protocol", "method", "step"]
    for quantity in PATHS:
        groups = steps.groupby(keys, sort=False)[quantity]
        intervals = pd.DataFrame({k: mean_interval(v.dropna()) for k, v in groups if v.notna().any()}).T
        intervals = intervals.rename_axis(keys).reset_index().rename(columns={"n": "n_seeds"})
        parts.append(intervals.assign(quantity=quantity))
    return finished(figure), pd.concat(parts, ignore_index=True)


def _in_short(name: str) -> str:
    """A run with options of its own as it stands in a legend: "gradient_ascent, epochs=20, lr=0.03"."""
    return name.replace("(", ", ").removesuffix(")")


def plot_feature_plane(planes: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Features of retained samples (dots, coloured by class) and forgotten ones (black crosses) of each model in one plane;
    a block of panels per data set, since planes of different sets have nothing in common.

    planes: of unlearnkit.analysis.feature_spectra.planes. In brackets the share of the model's covariance that the
    plane holds.
    """
    sets = list(dict.fromkeys(planes.dataset))
    panels = [(d, m) for d in sets for m in dict.fromkeys(planes[planes.dataset == d].method)]
    across = min(4, max(sum(d == name for d, _ in panels) for name in sets))
    places, used = {}, 0
    for name in sets:  # each begins a row
        of_set = [panel for panel in panels if panel[0] == name]
        places |= {panel: used + i for i, panel in enumerate(of_set)}
        used += -(-len(of_set) // across) * across
    shape = {"squeeze": False, "layout": "constrained", "figsize": (2.6 * across, 2.6 * used / across + 0.7)}
    figure, axes = plt.subplots(used // across, across, **shape)
    n = int(planes.label.max()) + 1
    palette = np.array(sns.color_palette("tab10" if n <= 10 else "husl", n))
    for (name, method), place in places.items():
        here, axis = planes[planes.dataset == name], axes.flatten()[place]
        part = here[here.method == method]
        kept, gone = part[part.group == "retain"], part[part.group == "target"]
        few = len(kept) < 1000
        axis.scatter(kept.x, kept.y, s=10 if few else 5, c=palette[kept.label], marker=".", alpha=0.75)
        axis.scatter(
            gone.x, gone.y, s=26 if few else 12, c="black", marker="x", alpha=0.75, linewidths=1.1 if few else 0.7
        )
        for limits, values in ((axis.set_xlim, here.x), (axis.set_ylim, here.y)):  # the same in all panels of a set
            edge = 0.04 * (values.max() - values.min())
            limits(values.min() - edge, values.max() + edge)
        prefix = f"{words(name)}:\n" if len(sets) > 1 else ""
        axis.set_title(f"{prefix}{words(method)} ({part.variance_explained.iloc[0]:.0%})", fontsize=11)
        axis.tick_params(labelbottom=False, labelleft=False)  # a rotated plane has no units
    for place, axis in enumerate(axes.flatten()):
        axis.set_visible(place in places.values())
    figure.supxlabel("first principal component of the original's features", fontsize=11)
    figure.supylabel("second", fontsize=11)
    shown = sorted(planes.label[planes.group == "retain"].unique())
    dots = [Line2D([], [], marker="o", ls="", ms=5, color=palette[k], label=f"class {k}") for k in shown]
    crosses = Line2D([], [], marker="x", ls="", ms=6, color="black", label=FORGOTTEN)
    figure.legend(handles=[*dots, crosses], loc="outside upper center", ncols=6, fontsize=10, frameon=False)
    return finished(figure), planes
