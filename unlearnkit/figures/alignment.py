"""Study II in pictures: spectra and alignment, the way of a run, features in two dimensions: F7, F9, F10."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.core.statistics import mean_interval
from unlearnkit.figures.style import finished

FIXED = {"original": "0.45", "retrain": "black", "initial": "tan"}
SPECTRUM = 20  # eigenvalues that are drawn
SUBSPACE_COLUMNS = ("forget", "retain", "test", "DA", "effective_rank")


def colours(names: Sequence[str]) -> dict:
    """A colour for each row: the references' own, the others' from a palette for all eyes."""
    rest = [name for name in names if name not in FIXED]
    return {n: FIXED[n] for n in names if n in FIXED} | dict(
        zip(rest, sns.color_palette("colorblind", len(rest)), strict=True)
    )


def conditions(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """{(data set, protocol): its name in a title} in the order of the table; the protocol alone where none has two sets."""
    found = list(dict.fromkeys(zip(table.dataset, table.protocol, strict=True)))
    several = len({protocol for _, protocol in found}) < len(found)
    return {(d, p): f"{d.replace('_', ' ')}, {p}" if several else p for d, p in found}


def _of(table: pd.DataFrame, condition: tuple[str, str]) -> pd.DataFrame:
    return table[(table.dataset == condition[0]) & (table.protocol == condition[1])]


def plot_spectra(spectra: pd.DataFrame, table: pd.DataFrame, way: str = "95%") -> tuple[Figure, pd.DataFrame]:
    """One row of panels per data set and protocol: the eigenvalues of the retain set's and of the targets' second moments
    as shares of their sum, means over seeds; and DA of every row taken by `way`, 95% intervals over seeds.

    spectra: the first table of unlearnkit.analysis.feature_spectra.feature_spectra; table: unlearnkit.analysis.feature_spectra.spectra_table. In the data, part tells
    spectra from DA.
    """
    by = ["dataset", "protocol", "method", "group", "place"]
    mean = spectra[spectra.place <= SPECTRUM].groupby(by, sort=False).share
    lines = mean.agg(["mean", "size"]).reset_index().rename(columns={"mean": "share", "size": "n"})
    points = table[table.way == way]
    asked, names = conditions(spectra), list(dict.fromkeys(spectra.method))
    colour = colours(names)
    shape = {"squeeze": False, "layout": "constrained", "figsize": (12, 2.9 * len(asked) + 0.5)}
    figure, axes = plt.subplots(len(asked), 3, **shape)
    for row, (condition, said) in zip(axes, asked.items()):
        here = _of(lines, condition)
        for axis, (group, title) in zip(row, (("retain", "retain set"), ("target", "targets"))):
            for name in names:
                line = here[(here.method == name) & (here.group == group)]
                axis.plot(line.place, line.share, color=colour[name], lw=2 if name in FIXED else 1.2, label=name)
            axis.set(yscale="log", ylim=(1e-5, 1), xlabel="eigenvalue", title=f"{said}: {title}")
        row[0].set_ylabel("share of the sum")
        part = _of(points, condition).set_index("method").reindex(names)
        spread = part[["DA_low", "DA_high"]].sub(part.DA, axis=0).abs().fillna(0).T.to_numpy()
        at = np.arange(len(names))
        for i, name in enumerate(names):
            row[2].errorbar(part.DA.iloc[i], at[i], xerr=spread[:, i : i + 1], fmt="o", color=colour[name], capsize=2)
        row[2].set_yticks(at, [n.replace("_", " ") for n in names], fontsize=9)
        row[2].set(ylim=(len(names) - 0.5, -0.5), title=f"{said}: DA, {way} of the energy")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9, frameon=False
    )
    columns = ["dataset", "protocol", "method", "way", "DA", "DA_low", "DA_high", "n"]
    data = pd.concat([lines.assign(part="spectrum"), points[columns].assign(part="DA")], ignore_index=True)
    return finished(figure), data


def plot_trajectories(steps: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Accuracy on forget, retain and test samples, DA and effective rank of the targets' features after each step: one
    column of panels per data set and protocol, one line per method; a thin line is a seed, a thick one the mean over
    all seeds.

    steps: of unlearnkit.analysis.trajectories.trajectories, with a column protocol. A line begins with the original at step 0.
    """
    asked, names = conditions(steps), list(dict.fromkeys(steps.method))
    colour = colours(names)
    width = max(2.6, min(5, 16 / len(asked)))
    shape = {"squeeze": False, "layout": "constrained", "sharex": "col", "figsize": (width * len(asked) + 1, 9)}
    figure, axes = plt.subplots(len(SUBSPACE_COLUMNS), len(asked), **shape)
    for column, (condition, said) in zip(axes.T, asked.items()):
        here = _of(steps, condition)
        for name in names:
            runs = here[here.method == name]
            for axis, way in zip(column, SUBSPACE_COLUMNS):
                for _, run in runs.groupby("seed"):
                    axis.plot(run.step, run[way], color=colour[name], lw=0.5, alpha=0.6)
                mean = runs.groupby("step")[way].agg(["mean", "size"])
                mean = mean[mean["size"] == runs.seed.nunique()]  # no mean over the longer runs alone
                axis.plot(mean.index, mean["mean"], color=colour[name], lw=2, label=name)
        column[0].set_title(said, fontsize=11)
        column[-1].set_xlabel("step")
    for row, way in zip(axes, SUBSPACE_COLUMNS):
        row[0].set_ylabel(
            {"forget": "accuracy, forget", "retain": "retain", "test": "test"}.get(way, way.replace("_", " "))
        )
        if way in ("forget", "retain", "test"):
            for axis in row:
                axis.set_ylim(-0.03, 1.03)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False
    )
    parts = []
    for way in SUBSPACE_COLUMNS:
        groups = steps.groupby(["dataset", "protocol", "method", "step"], sort=False)[way]
        found = pd.DataFrame({k: mean_interval(v.dropna()) for k, v in groups if v.notna().any()}).T
        parts.append(found.rename_axis(["dataset", "protocol", "method", "step"]).reset_index().assign(what=way))
    return finished(figure), pd.concat(parts, ignore_index=True)


def plot_feature_plane(planes: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Features of retained samples (dots, coloured by label) and forgotten ones (crosses) of each model in one plane; a
    block of panels per data set, since planes of different sets have nothing in common.

    planes: of unlearnkit.analysis.feature_spectra.planes. In brackets the share of the model's covariance that the plane holds.
    """
    sets = list(dict.fromkeys(planes.dataset))
    panels = [(d, m) for d in sets for m in dict.fromkeys(planes[planes.dataset == d].method)]
    across = min(4, max(sum(d == name for d, _ in panels) for name in sets))
    places, used = {}, 0
    for name in sets:  # each begins a row
        mine = [panel for panel in panels if panel[0] == name]
        places |= {panel: used + i for i, panel in enumerate(mine)}
        used += -(-len(mine) // across) * across
    shape = {"squeeze": False, "layout": "constrained", "figsize": (3 * across, 2.9 * used / across)}
    figure, axes = plt.subplots(used // across, across, **shape)
    n = int(planes.label.max()) + 1
    palette = np.array(sns.color_palette("tab10" if n <= 10 else "husl", n))
    for (name, method), place in places.items():
        here, axis = planes[planes.dataset == name], axes.flatten()[place]
        part = here[here.method == method]
        kept, gone = part[part.group == "retain"], part[part.group == "target"]
        axis.scatter(kept.x, kept.y, s=10, c=palette[kept.label], marker=".", alpha=0.75)
        axis.scatter(gone.x, gone.y, s=26, c="black", marker="x", alpha=0.75, linewidths=1.1)
        for limits, values in ((axis.set_xlim, here.x), (axis.set_ylim, here.y)):  # the same in all panels of a set
            edge = 0.04 * (values.max() - values.min())
            limits(values.min() - edge, values.max() + edge)
        of = f"{name.replace('_', ' ')}: " if len(sets) > 1 else ""
        axis.set_title(f"{of}{method.replace('_', ' ')} ({part.held.iloc[0]:.0%})", fontsize=10)
        axis.tick_params(labelsize=7)
    for place, axis in enumerate(axes.flatten()):
        axis.set_visible(place in places.values())
    return finished(figure), planes
