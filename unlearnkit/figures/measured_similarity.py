"""Residual influence against similarity as measured, one colour per kind: F3-similarity."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.measured_similarity import SIMILARITY_MEASURES
from unlearnkit.figures.style import finished


def plot_influence_by_similarity(responses: pd.DataFrame, method: str = "retrain") -> tuple[Figure, pd.DataFrame]:
    """rho of one method against each ruler; a line joins the degrees of one kind. 95% intervals over seeds.

    responses: unlearnkit.analysis.measured_similarity.influence_by_similarity(...). If similarity as measured were all that counts, all kinds would lie on
    one curve. One row of panels per data set; masked values have no point.
    """
    data = responses[responses.method == method].dropna(subset="rho")
    names, kinds = list(dict.fromkeys(data.dataset)), sorted(data.perturbation.unique())
    colours = dict(zip(kinds, sns.color_palette("tab20" if len(kinds) > 10 else "tab10", len(kinds)), strict=True))
    size = (3.6 * len(SIMILARITY_MEASURES), 2.9 * max(len(names), 1))
    figure, axes = plt.subplots(
        max(len(names), 1), len(SIMILARITY_MEASURES), figsize=size, squeeze=False, layout="constrained", sharey=True
    )
    for row, name in zip(axes, names, strict=False):
        for axis, ruler in zip(row, SIMILARITY_MEASURES, strict=True):
            for kind in kinds:
                line = data[(data.dataset == name) & (data.perturbation == kind)].sort_values(ruler)
                spread = line[["rho_low", "rho_high"]].sub(line.rho, axis=0).abs().fillna(0).T.to_numpy()
                style = {"ms": 4, "capsize": 2, "elinewidth": 0.8, "lw": 1.2, "color": colours[kind]}
                axis.errorbar(line[ruler], line.rho, spread, marker="o", label=kind.replace("_", " "), **style)
            for level in (0, 1):
                axis.axhline(level, color="0.5", lw=1, ls="--", zorder=0)
            axis.set(xlabel=f"{ruler.replace('_', ' ')} to the target", title=name, ylim=(-0.6, 1.6))
        row[0].set_ylabel(f"residual influence rho\nof {method}")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    columns = ["dataset", "train_size", "targets", "copies", "perturbation", "strength", "similarity_level", "method"]
    return finished(figure), data[[*columns, *SIMILARITY_MEASURES, "rho", "rho_low", "rho_high", "n"]]
