"""Residual influence against the dose: number of near-duplicates, similarity, size of the training set: F3 and, for
texts, F5."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit import study
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns, residual_influence
from unlearnkit.figures.style import error_bars, finished, reference_levels, shared_legend

COLOURS = 7  # methods that a figure can tell apart, beside retrain
INFLUENCE = [*interval_columns("residual_influence", {}), "n_seeds"]
LOW, HIGH = -0.6, 1.6  # what lies outside is marked at the edge


def plot_dose_response(
    scores: pd.DataFrame, *, strength: float, copies: int, metric: str = "phi"
) -> tuple[Figure, pd.DataFrame]:
    """Dose-response: residual influence against the number of near-duplicates (at `strength`) and against strength (at
    `copies` of them).

    One row of panels per data set, size and kind of targets, one line per method, 95% intervals over seeds; a masked
    value has no point. Of many methods those have colours that end farthest from retrain at that dose, mean over the
    panels; the others are grey and without intervals, and all are in the data.
    """
    labels = {"copies": "near-duplicates per target, m", "strength": "share of blocks masked, r"}
    return _dose_response(scores, strength, copies, metric, labels, "r")


def plot_text_dose_response(
    scores: pd.DataFrame, *, strength: float, copies: int, metric: str = "phi", similarity: Mapping[float, float] = {}
) -> tuple[Figure, pd.DataFrame]:
    """As `plot_dose_response` for texts: against the number of paraphrases, and against how far they are from their
    targets.

    similarity: {strength: as measured, ROUGE-L of target and paraphrase}, written below the strength, and in the data.
    """
    labels = {"copies": "paraphrases per target, m", "strength": "strength s: share of words that differ"}
    if similarity:
        labels["strength"] += "\n(ROUGE-L to the target)"
    figure, data = _dose_response(scores, strength, copies, metric, labels, "s", similarity)
    return figure, data.assign(rouge_l=data.strength.where(data.copies > 0).map(dict(similarity)))


def _dose_response(scores, strength, copies, metric, labels, letter, similarity=None) -> tuple[Figure, pd.DataFrame]:
    data = residual_influence(scores, metric).reset_index()
    data = data[~data.method.isin(study.BASELINES)]
    keys = ["dataset", "train_size", "targets"]
    rank = {t: i for i, t in enumerate(("random", "spread", "hard", "canary"))}
    panels = sorted(data[keys].drop_duplicates().itertuples(index=False), key=lambda p: (*p[:2], rank.get(p[2], 9)))
    names = _by_distance(data[(data.strength == strength) & (data.copies == copies)], data.method.unique())
    colours = dict.fromkeys(names, "0.8") | dict(zip(names, ["black", *sns.color_palette("colorblind", COLOURS)]))
    doses = 1 + (data.strength[data.copies > 0].nunique() > 1)  # one strength alone is no dose
    across = 2 // doses  # data sets side by side, then
    down = -(-len(panels) // across)
    shape = {"squeeze": False, "sharey": True, "layout": "constrained", "figsize": (9.5, 2.9 * down)}
    figure, axes = plt.subplots(down, 2, **shape)
    rows = axes.reshape(-1, doses)
    for row, panel in zip(rows, panels):
        part = data[(data[keys] == list(panel)).all(axis=1)]
        title = f"{panel.dataset} ({panel.train_size:,}), {panel.targets} targets"
        by_copies = part[(part.strength == strength) | (part.copies == 0)]
        _dose(row[0], by_copies, "copies", names, colours, f"{title}, {letter} = {strength:g}")
        row[0].set_xlabel(labels["copies"])
        if doses == 2:
            _dose(row[1], part[part.copies == copies], "strength", names, colours, f"{title}, m = {copies}", similarity)
            row[1].set_xlabel(labels["strength"])
    for axis in rows[len(panels) :].flatten():
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("residual influence")
    shared_legend(figure, axes[0][0], "right center")
    return finished(figure), data[[*CONDITION_COLUMNS, "method", *INFLUENCE]]


def _by_distance(data: pd.DataFrame, methods: Sequence[str]) -> list[str]:
    """Methods, retrain first, then those farthest from its residual influence on average over the panels."""
    wide = data.set_index([*CONDITION_COLUMNS, "method"]).residual_influence.unstack("method")
    far = wide.sub(wide["retrain"], axis=0).abs().mean() if "retrain" in wide else pd.Series(dtype=float)
    return sorted(methods, key=lambda m: (m != "retrain", -far.fillna(0).get(m, 0), m))


def plot_training_size(scores: pd.DataFrame, metric: str = "phi") -> tuple[Figure, pd.DataFrame]:
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


def _dose(axis, data: pd.DataFrame, x: str, names, colours, title: str, similarity=None) -> None:
    """Lines with intervals; a value outside the panel is marked at its edge. similarity: written below a place."""
    places = {value: i for i, value in enumerate(sorted(data[x].unique()))}
    for offset, name in enumerate(names):
        line = data[(data.method == name) & data.residual_influence.notna()].sort_values(x)
        position = line[x].map(places) + 0.05 * (min(offset, COLOURS) - COLOURS / 2)
        if colours[name] == "0.8":
            label = "others" if offset == COLOURS + 1 else None
            axis.plot(position, line.residual_influence, color="0.8", lw=1, zorder=1, label=label)
            continue
        style = {"lw": 2.2 if name == "retrain" else 1.3, "ms": 4, "capsize": 2, "elinewidth": 1, "marker": "o"}
        bars = error_bars(line, "residual_influence")
        axis.errorbar(position, line.residual_influence, bars, label=name, color=colours[name], **style)
        for value, place in zip(line.residual_influence, position):
            if not LOW <= value <= HIGH:
                marker, edge = ("^", HIGH - 0.05) if value > HIGH else ("v", LOW + 0.05)
                axis.plot(place, edge, marker, color=colours[name], ms=6)
    reference_levels(axis)
    axis.set_ylim(LOW, HIGH)
    axis.set_xlim(-0.5, len(places) - 0.5)
    below = {v: f"\n({value:.2f})" for v, value in (similarity or {}).items()}
    axis.set_xticks([*places.values()], [f"{v:g}{below.get(v, '')}" for v in places])
    axis.set_title(title, fontsize=10)
