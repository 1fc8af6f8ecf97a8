"""Sample by sample, how far a method's models are from the retrained models, and from models that saw no
near-duplicates either: F15."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from unlearnkit.analysis.distributions import NOISE_FLOOR_ROWS
from unlearnkit.core.statistics import CONDITION_COLUMNS, in_row_order
from unlearnkit.figures.style import finished, shared_legend, words

POPULATIONS = {"target": "targets", "similar": "near-duplicates", "decoy": "decoys", "test": "test"}  # group: title
BLUE, ORANGE = sns.color_palette("colorblind")[:2]
COLOURS = {"original": ORANGE, "retrain": "black", "clean": BLUE}
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def plot_distributions(samples: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """KLoM of each sample against the retrain and against the clean ensemble: one row of panels per kind of task, one
    panel per population, one line per method and reference.

    A line spans 5% to 95% of the samples of all seeds, its thick part the quartiles, and the dot is the median. Dotted:
    the noise floors, the median of a reference's own models from other seeds. samples: of
    unlearnkit.analysis.distributions.attacks.
    """
    chosen = samples[samples.reference.isin(["retrain", "clean"]) & samples.group.isin([*POPULATIONS])]
    groups = chosen.groupby([*CONDITION_COLUMNS, "method", "reference", "group"], sort=False)
    data = groups.klom.quantile(list(SHARES)).unstack()
    data.columns = [f"klom_q{100 * share:02.0f}" for share in SHARES]
    data = data.join(groups.agg(n_samples=("klom", "size"), n_seeds=("seed", "nunique"), n_models=("n_models", "min")))
    data = data.reset_index()
    tasks = list(data[CONDITION_COLUMNS].drop_duplicates().itertuples(index=False))
    methods = list(in_row_order(data[["method"]].drop_duplicates()).method)
    populations = [g for g in POPULATIONS if g in set(data.group)]
    size = (2.5 * len(populations) + 1.5, 0.42 * len(methods) * len(tasks) + 1.3)
    shape = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained", "figsize": size}
    figure, axes = plt.subplots(len(tasks), len(populations), **shape)
    for row, task in zip(axes, tasks):
        part = data[(data[CONDITION_COLUMNS] == list(task)).all(axis=1)]
        for axis, group in zip(row, populations):
            _lines(axis, part[part.group == group], methods)
            axis.set_title(POPULATIONS[group], fontsize=10)
        row[0].set_ylabel(f"{task.dataset}, {task.targets} targets,\n{task.copies} near-duplicates", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("KLoM, nats", fontsize=9)
    shared_legend(figure, axes[0][0], ncols=4)
    return finished(figure), data


def _lines(axis, data: pd.DataFrame, methods: list[str]) -> None:
    """Two lines per method, against retrain above and against clean below; from the top down."""
    table = data.set_index(["method", "reference"])
    for shift, reference in ((-0.16, "retrain"), (0.16, "clean")):
        line = table.xs(reference, level="reference").reindex(methods)
        y, colour = np.arange(len(methods)) + shift, COLOURS[reference]
        axis.hlines(y, line.klom_q05, line.klom_q95, color=colour, lw=1)
        axis.hlines(y, line.klom_q25, line.klom_q75, color=colour, lw=3.5)
        axis.plot(line.klom_q50, y, "o", color=colour, ms=5, mec="white", mew=0.7, label=f"against {reference}")
    for row, reference in NOISE_FLOOR_ROWS.items():
        if (row, reference) in table.index:
            style = {"color": COLOURS[reference], "lw": 1, "ls": ":", "zorder": 0}
            axis.axvline(table.klom_q50[row, reference], label=f"noise floor of {reference}", **style)
    axis.set_yticks(range(len(methods)), [words(m) for m in methods], fontsize=9)
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.set_xlim(-0.3, 12)  # 11.5 nats where no bin is shared
    axis.set_xticks(range(0, 13, 4))
    axis.tick_params(axis="x", labelsize=9)
    axis.grid(axis="y", visible=False)


def plot_margins(margins: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> tuple[Figure, pd.DataFrame]:
    """One sample's margin in many models: the reference distributions filled, the models of each method as an outline,
    a panel each.

    margins, references: {name: (models,)}, NaN for a model that diverged. Data columns: row, margin.
    """
    margins, references = ({k: v[v.isfinite()] for k, v in kind.items()} for kind in (margins, references))
    rows = [(name, value) for kind in (references, margins) for name, v in kind.items() for value in v.tolist()]
    data = pd.DataFrame(rows, columns=["row", "margin"])
    lowest, highest = data.margin.quantile([0.005, 0.995])
    bins = np.linspace(lowest - 0.5, highest + 0.5, 29)
    columns = min(3, len(margins))
    down = -(-len(margins) // columns)
    shape = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(down, columns, figsize=(3.2 * columns, 1.7 * down + 0.6), **shape)
    for axis, (name, values) in zip(axes.flatten(), margins.items()):
        for reference, others in references.items():
            style = {"color": COLOURS[reference], "alpha": 0.35, "lw": 0, "label": reference}
            axis.hist(others.clip(*bins[[0, -1]]).numpy(), bins, **style)
        style = {"histtype": "step", "color": "black", "lw": 1.5, "label": "the method"}
        axis.hist(values.clip(*bins[[0, -1]]).numpy(), bins, **style)
        axis.set_title(words(name), fontsize=10)
        axis.grid(axis="x", visible=False)
    for axis in axes.flatten()[len(margins) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("models", fontsize=9)
    figure.supxlabel("margin phi of the target's label", fontsize=9)
    shared_legend(figure, axes[0][0], "right center")
    return finished(figure), data
