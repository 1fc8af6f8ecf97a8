"""Study II in pictures: spectra and alignment, the way of a run, features in two dimensions: F7, F9, F10."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from unlearnkit.figures.style import finished
from unlearnkit.summary import mean_interval

FIXED = {"original": "0.45", "retrain": "black", "initial": "tan"}
SPECTRUM = 20  # eigenvalues that are drawn
WAYS = ("forget", "retain", "test", "DA", "effective_rank")


def colours(names: Sequence[str]) -> dict:
    """A colour for each row: the references' own, the others' from a palette for all eyes."""
    rest = [name for name in names if name not in FIXED]
    return {n: FIXED[n] for n in names if n in FIXED} | dict(
        zip(rest, sns.color_palette("colorblind", len(rest)), strict=True)
    )


def f7(spectra: pd.DataFrame, table: pd.DataFrame, way: str = "95%") -> tuple[Figure, pd.DataFrame]:
    """One row of panels per protocol: the eigenvalues of the retain set's and of the targets' second moments as shares of
    their sum, means over seeds; and DA of every row taken by `way`, 95% intervals over seeds.

    spectra: the first table of unlearnkit.spectra.looked_at; table: unlearnkit.spectra.t5_spectra. In the data, part tells
    spectra from DA.
    """
    by = ["protocol", "method", "group", "place"]
    mean = spectra[spectra.place <= SPECTRUM].groupby(by, sort=False).share
    lines = mean.agg(["mean", "size"]).reset_index().rename(columns={"mean": "share", "size": "n"})
    points = table[table.way == way]
    protocols, names = list(dict.fromkeys(spectra.protocol)), list(dict.fromkeys(spectra.method))
    colour = colours(names)
    shape = {"squeeze": False, "layout": "constrained", "figsize": (12, 2.9 * len(protocols) + 0.5)}
    figure, axes = plt.subplots(len(protocols), 3, **shape)
    for row, protocol in zip(axes, protocols):
        for axis, (group, title) in zip(row, (("retain", "retain set"), ("target", "targets"))):
            for name in names:
                line = lines[(lines.protocol == protocol) & (lines.method == name) & (lines.group == group)]
                axis.plot(line.place, line.share, color=colour[name], lw=2 if name in FIXED else 1.2, label=name)
            axis.set(yscale="log", ylim=(1e-5, 1), xlabel="eigenvalue", title=f"{protocol}: {title}")
        row[0].set_ylabel("share of the sum")
        part = points[points.protocol == protocol].set_index("method").reindex(names)
        spread = part[["DA_low", "DA_high"]].sub(part.DA, axis=0).abs().fillna(0).T.to_numpy()
        at = np.arange(len(names))
        for i, name in enumerate(names):
            row[2].errorbar(part.DA.iloc[i], at[i], xerr=spread[:, i : i + 1], fmt="o", color=colour[name], capsize=2)
        row[2].set_yticks(at, [n.replace("_", " ") for n in names], fontsize=9)
        row[2].set(ylim=(len(names) - 0.5, -0.5), title=f"{protocol}: DA, {way} of the energy")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9, frameon=False
    )
    columns = ["protocol", "method", "way", "DA", "DA_low", "DA_high", "n"]
    data = pd.concat([lines.assign(part="spectrum"), points[columns].assign(part="DA")], ignore_index=True)
    return finished(figure), data


def f9(steps: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Accuracy on forget, retain and test samples, DA and effective rank of the targets' features after each step: one
    column of panels per protocol, one line per method; a thin line is a seed, a thick one the mean over all seeds.

    steps: of unlearnkit.trajectory.trajectories, with a column protocol. A line begins with the original at step 0.
    """
    protocols, names = list(dict.fromkeys(steps.protocol)), list(dict.fromkeys(steps.method))
    colour = colours(names)
    shape = {"squeeze": False, "layout": "constrained", "sharex": "col", "figsize": (5 * len(protocols) + 1, 9)}
    figure, axes = plt.subplots(len(WAYS), len(protocols), **shape)
    for column, protocol in zip(axes.T, protocols):
        for name in names:
            runs = steps[(steps.protocol == protocol) & (steps.method == name)]
            for axis, way in zip(column, WAYS):
                for _, run in runs.groupby("seed"):
                    axis.plot(run.step, run[way], color=colour[name], lw=0.5, alpha=0.6)
                mean = runs.groupby("step")[way].agg(["mean", "size"])
                mean = mean[mean["size"] == runs.seed.nunique()]  # no mean over the longer runs alone
                axis.plot(mean.index, mean["mean"], color=colour[name], lw=2, label=name)
        column[0].set_title(protocol, fontsize=11)
        column[-1].set_xlabel("step")
    for row, way in zip(axes, WAYS):
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
    for way in WAYS:
        groups = steps.groupby(["dataset", "protocol", "method", "step"], sort=False)[way]
        found = pd.DataFrame({k: mean_interval(v.dropna()) for k, v in groups if v.notna().any()}).T
        parts.append(found.rename_axis(["dataset", "protocol", "method", "step"]).reset_index().assign(what=way))
    return finished(figure), pd.concat(parts, ignore_index=True)


def f10(
    planes: Mapping[str, tuple[Tensor, float]], labels: Tensor, forgotten: Tensor, retained: Tensor
) -> tuple[Figure, pd.DataFrame]:
    """Features of retained samples (dots, coloured by label) and forgotten ones (crosses) of each model in one plane.

    planes: {name: (coordinates (n, 2), share of the model's second moment that the plane holds)} of
    unlearnkit.spectra.plane; labels: (n,); forgotten, retained: row numbers.
    """
    across = min(4, len(planes))
    down = -(-len(planes) // across)
    shape = {"squeeze": False, "sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(down, across, figsize=(3 * across, 2.9 * down), **shape)
    palette = np.array(sns.color_palette("tab10" if int(labels.max()) < 10 else "husl", int(labels.max()) + 1))
    parts = []
    for axis, (name, (xy, share)) in zip(axes.flatten(), planes.items()):
        for rows, marker, size in ((retained, ".", 10), (forgotten, "x", 26)):
            edge = {} if marker == "." else {"linewidths": 1.1}
            colour = palette[labels[rows].numpy()] if marker == "." else "black"
            axis.scatter(*xy[rows].T.numpy(), s=size, c=colour, marker=marker, alpha=0.75, **edge)
            part = pd.DataFrame(xy[rows].numpy(), columns=["x", "y"])
            group = "retain" if marker == "." else "target"
            parts.append(part.assign(method=name, group=group, label=labels[rows].numpy(), held=share))
        axis.set_title(f"{name.replace('_', ' ')} ({share:.0%})", fontsize=10)
        axis.tick_params(labelsize=7)
    for axis in axes.flatten()[len(planes) :]:
        axis.set_visible(False)
    return finished(figure), pd.concat(parts, ignore_index=True)
