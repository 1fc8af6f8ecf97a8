"""Do metrics, and references, agree on the order of methods? F14."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.method_ranking import between_metrics
from unlearnkit.figures.style import finished


def plot_rank_agreement(scores: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Kendall's tau between the orders of the methods by two metrics, means over arms, of images and of
    texts: distances to retrain below the diagonal, to clean above it; on it, framed, the order against retrain beside
    that against clean.

    A blank stands for a pair without a value. Intervals are in the data.
    """
    data = between_metrics(scores)
    panels = dict([*data.groupby("domain")])
    names = {domain: list(dict.fromkeys(part.metric_a)) for domain, part in panels.items()}
    sides = [1.8 + 0.42 * len(metrics) for metrics in names.values()]
    shape = {"figsize": (sum(sides) + 1.2, max(sides)), "width_ratios": sides, "squeeze": False}
    figure, axes = plt.subplots(1, len(panels), layout="constrained", **shape)
    for axis, (domain, part) in zip(axes[0], panels.items(), strict=True):
        _orders(axis, part, names[domain], bar=axis is axes[0, -1])
        below = "above: distances to clean · below: to retrain\nframed: the two orders of one metric"
        axis.set_title(f"{domain}\n{below}", fontsize=10)
    return finished(figure), data


def _orders(axis: plt.Axes, data: pd.DataFrame, names: list[str], *, bar: bool) -> None:
    place = {name: i for i, name in enumerate(names)}
    grid = np.full((len(names), len(names)), np.nan)
    for row in data.itertuples():
        i, j = place[row.metric_a], place[row.metric_b]
        grid[(i, j) if row.reference == "clean" else (j, i)] = row.tau
    style = {"vmin": -1, "vmax": 1, "cmap": "vlag", "square": True, "linewidths": 0.5, "cbar": bar}
    style["cbar_kws"] = {"label": "Kendall's tau", "shrink": 0.6} if bar else None
    numbers = {"annot": True, "fmt": ".1f", "annot_kws": {"size": 7}}
    sns.heatmap(grid, ax=axis, xticklabels=names, yticklabels=names, **numbers, **style)
    for i in range(len(names)):
        axis.add_patch(plt.Rectangle((i, i), 1, 1, fill=False, ec="black", lw=1.5))
    axis.tick_params(labelsize=8)
    axis.tick_params(axis="y", rotation=0)
