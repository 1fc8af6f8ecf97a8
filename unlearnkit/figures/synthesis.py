"""Which yardsticks, and which references, agree on who is best: F14."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.figures.style import finished
from unlearnkit.synthesis import between_metrics


def f14(scores: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Kendall's tau between the orders of the methods by two yardsticks, means over conditions and seeds: distances to
    retrain below the diagonal, to clean above it; on it, framed, the order against retrain beside that against clean.

    A blank stands for a pair without a value. Intervals are in the data.
    """
    data = between_metrics(scores)
    names = list(dict.fromkeys(data.a))
    at = {name: i for i, name in enumerate(names)}
    grid = np.full((len(names), len(names)), np.nan)
    for row in data.itertuples():
        i, j = at[row.a], at[row.b]
        grid[(i, j) if row.reference == "clean" else (j, i)] = row.tau
    side = 1.8 + 0.42 * len(names)
    figure, axis = plt.subplots(figsize=(side + 1.2, side), layout="constrained")
    shape = {"vmin": -1, "vmax": 1, "cmap": "vlag", "square": True, "linewidths": 0.5}
    bar = {"label": "Kendall's tau", "shrink": 0.6}
    sns.heatmap(
        grid,
        ax=axis,
        annot=True,
        fmt=".1f",
        annot_kws={"size": 7},
        xticklabels=names,
        yticklabels=names,
        cbar_kws=bar,
        **shape,
    )
    for i in range(len(names)):
        axis.add_patch(plt.Rectangle((i, i), 1, 1, fill=False, ec="black", lw=1.5))
    axis.set_title(
        "above: distances to clean · below: to retrain\nframed: the two orders of one yardstick", fontsize=10
    )
    axis.tick_params(labelsize=8)
    return finished(figure), data
