"""Sample by sample, how far a method's models are from those that never saw the targets, and from those that saw nothing
similar either: F15."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.figures.style import finished

POPULATIONS = ("target", "similar", "decoy", "test")
BLUE, ORANGE = sns.color_palette("colorblind")[:2]
COLOURS = {"original": ORANGE, "retrain": "black", "clean": BLUE}
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
NOISE_FLOOR_ROWS = {"retrain": "retrain", "clean-again": "clean"}  # row: the reference whose noise floor it is


def plot_distributions(samples: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """KLoM of each sample against the retrain and against the clean ensemble: one row of panels per kind of task, one
    panel per population, one line per method and reference.

    A line spans 5% to 95% of the samples of all seeds, its thick part the quartiles, and the dot is the median. Dotted:
    the noise floors, the median of a reference's own models from other seeds. samples: of unlearnkit.analysis.distributions.attacks.
    """
    found = samples[samples.reference.isin(["retrain", "clean"]) & samples.group.isin(POPULATIONS)]
    by = [*CONDITION_COLUMNS, "method", "reference", "group"]
    data = found.groupby(by, sort=False).klom.quantile(list(SHARES)).unstack()
    data.columns = [f"q{100 * share:02.0f}" for share in SHARES]
    data = data.join(found.groupby(by, sort=False).agg(samples=("klom", "size"), seeds=("seed", "nunique")))
    data = data.join(found.groupby(by, sort=False).models.min()).reset_index()
    tasks = list(data[CONDITION_COLUMNS].drop_duplicates().itertuples(index=False))
    methods = _ordered(data.method.unique())
    groups = [g for g in POPULATIONS if g in set(data.group)]
    size = (2.5 * len(groups) + 1.5, 0.42 * len(methods) * len(tasks) + 1.3)
    shape = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained", "figsize": size}
    figure, axes = plt.subplots(len(tasks), len(groups), **shape)
    for row, task in zip(axes, tasks):
        part = data[(data[CONDITION_COLUMNS] == list(task)).all(axis=1)]
        for axis, group in zip(row, groups):
            _lines(axis, part[part.group == group], methods)
            axis.set_title(f"{group}s" if group in ("target", "decoy") else group, fontsize=10)
        row[0].set_ylabel(f"{task.dataset}, {task.targets} targets,\n{task.copies} copies", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("KLoM, nats", fontsize=9)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False
    )
    return finished(figure), data


def _ordered(methods: Sequence[str]) -> list[str]:
    place = {"original": 0, "retrain": 1, "clean-again": 3}
    return sorted(methods, key=lambda m: (place.get(m, 2), m))


def _lines(axis, data: pd.DataFrame, methods: Sequence[str]) -> None:
    """Two lines per method, against retrain above and against clean below; from the top down."""
    of = data.set_index(["method", "reference"])
    for up, reference in ((-0.16, "retrain"), (0.16, "clean")):
        line = of.xs(reference, level="reference").reindex(methods)
        at, colour = np.arange(len(methods)) + up, COLOURS[reference]
        axis.hlines(at, line.q05, line.q95, color=colour, lw=1)
        axis.hlines(at, line.q25, line.q75, color=colour, lw=3.5)
        axis.plot(line.q50, at, "o", color=colour, ms=5, mec="white", mew=0.7, label=f"against {reference}")
    for row, reference in NOISE_FLOOR_ROWS.items():
        if (row, reference) in of.index:
            floor = of.q50[row, reference]
            axis.axvline(floor, color=COLOURS[reference], lw=1, ls=":", label=f"floor of {reference}", zorder=0)
    axis.set_yticks(range(len(methods)), [m.replace("_", " ") for m in methods], fontsize=9)
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.set_xlim(-0.3, 12)  # 11.5 nats where no bin is shared
    axis.set_xticks(range(0, 13, 4))
    axis.tick_params(axis="x", labelsize=9)
    axis.grid(axis="y", visible=False)


def plot_margins(margins: Mapping[str, Tensor], worlds: Mapping[str, Tensor]) -> tuple[Figure, pd.DataFrame]:
    """One sample's margin in many models: the three worlds filled, the models of each method as an outline, a panel each.

    margins, worlds: {name: (models,)}, NaN for a model that diverged.
    """
    margins, worlds = ({k: v[v.isfinite()] for k, v in kinds.items()} for kinds in (margins, worlds))
    rows = [(name, value) for kinds in (worlds, margins) for name, v in kinds.items() for value in v.tolist()]
    data = pd.DataFrame(rows, columns=["kind", "margin"])
    lowest, highest = data.margin.quantile([0.005, 0.995])
    bins = np.linspace(lowest - 0.5, highest + 0.5, 29)
    columns = min(3, len(margins))
    shape = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    down = -(-len(margins) // columns)
    figure, axes = plt.subplots(down, columns, figsize=(3.2 * columns, 1.7 * down + 0.6), **shape)
    for axis, (name, values) in zip(axes.flatten(), margins.items()):
        for world, others in worlds.items():
            axis.hist(others.clip(*bins[[0, -1]]).numpy(), bins, color=COLOURS[world], alpha=0.35, lw=0, label=world)
        mine = {"histtype": "step", "color": "black", "lw": 1.5, "label": "the method"}
        axis.hist(values.clip(*bins[[0, -1]]).numpy(), bins, **mine)
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.grid(axis="x", visible=False)
    for axis in axes.flatten()[len(margins) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("models", fontsize=9)
    figure.supxlabel("margin phi of the target's label", fontsize=9)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    return finished(figure), data
