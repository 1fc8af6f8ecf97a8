"""Residual influence against measured similarity, one colour per perturbation: F3-similarity."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.measured_similarity import SIMILARITY_MEASURES
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.figures.style import error_bars, finished, reference_levels, shared_legend, words


def plot_influence_by_similarity(responses: pd.DataFrame, method: str = "retrain") -> tuple[Figure, pd.DataFrame]:
    """Residual influence of one method against each similarity measure; a line joins the levels of one perturbation.
    95% intervals over seeds.

    responses: of unlearnkit.analysis.measured_similarity.influence_by_similarity. If measured similarity were all that
    counts, all perturbations would lie on one curve. One row of panels per data set; masked values have no point.
    """
    data = responses[responses.method == method].dropna(subset="residual_influence")
    names, kinds = list(dict.fromkeys(data.dataset)), sorted(data.perturbation.unique())
    colours = dict(zip(kinds, sns.color_palette("tab20" if len(kinds) > 10 else "tab10", len(kinds)), strict=True))
    down, across = max(len(names), 1), len(SIMILARITY_MEASURES)
    shape = {"squeeze": False, "layout": "constrained", "sharey": True, "figsize": (3.6 * across, 2.9 * down)}
    figure, axes = plt.subplots(down, across, **shape)
    for row, name in zip(axes, names, strict=False):
        for axis, measure in zip(row, SIMILARITY_MEASURES, strict=True):
            for kind in kinds:
                line = data[(data.dataset == name) & (data.perturbation == kind)].sort_values(measure)
                style = {"ms": 4, "capsize": 2, "elinewidth": 0.8, "lw": 1.2, "marker": "o", "color": colours[kind]}
                bars = error_bars(line, "residual_influence")
                axis.errorbar(line[measure], line.residual_influence, bars, label=kind, **style)
            reference_levels(axis)
            axis.set(xlabel=f"{words(measure)} to the target", title=name, ylim=(-0.6, 1.6))
        row[0].set_ylabel(f"residual influence\nof {method}")
    shared_legend(figure, axes[0][0], "right center")
    conditions = [name for name in CONDITION_COLUMNS if name != "architecture"]
    influence = [*interval_columns("residual_influence", {}), "n_seeds"]
    return finished(figure), data[[*conditions, "method", *SIMILARITY_MEASURES, *influence]]
