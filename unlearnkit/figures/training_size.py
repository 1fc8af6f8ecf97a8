"""Residual influence against the size of the training set: F3-size."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns, residual_influence
from unlearnkit.figures.style import error_bars, finished, reference_levels

INFLUENCE = [*interval_columns("residual_influence", {}), "n_seeds", "learnt"]


def plot_training_size(scores: pd.DataFrame, metric: str = "influence") -> tuple[Figure, pd.DataFrame]:
    """Residual influence of retraining against the size of the training set, one line per data set; 95% intervals."""
    data = residual_influence(scores, metric).reset_index()
    data = data[data.method == "retrain"].sort_values("train_size")
    figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    sizes = {size: place for place, size in enumerate(sorted(data.train_size.unique()))}
    for offset, (name, line) in enumerate(data.dropna(subset="residual_influence").groupby("dataset")):
        x, bars = line.train_size.map(sizes) + 0.06 * offset, error_bars(line, "residual_influence")
        axis.errorbar(x, line.residual_influence, bars, marker="o", capsize=2, label=name)
    reference_levels(axis)
    axis.set_xticks([*sizes.values()], [f"{size:,}" for size in sizes])
    axis.set(xlabel="size of the training set", ylabel="residual influence of retrain")
    if axis.get_legend_handles_labels()[0]:  # none where all are masked
        axis.legend(fontsize=9)
    return finished(figure), data[[*CONDITION_COLUMNS, *INFLUENCE]]
