"""Does the order of forgetting matter? ToW-MIA and the per-sample gap against the number of batches: F13."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.forgetting_order import ONE_SHOT, ORDERS
from unlearnkit.analysis.order_tables import COUNTS
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.figures.style import error_bars, finished, shared_legend, words

PANELS = {"ToW_MIA": "ToW-MIA\n(1 is best)", "phi_gap": "gap of phi per sample,\nlogits (0 is best)"}
LEVELS = {"retrain": (":", "retrained models against each other"), "original": ("--", "before unlearning")}
MARKS = dict(zip(ORDERS, "v^so"))


def plot_forgetting_order(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """One column of panels per condition and base, ToW-MIA above and the per-sample gap below, against the number of
    batches; one line per order from one-shot on, 95% intervals over seeds. Dotted: retrained models against each other,
    the noise floor; dashed: the model before unlearning. A row that its base refuses has no point. table: of
    unlearnkit.analysis.order_tables.order_table."""
    runs = table[table.order.isin([*ORDERS, ONE_SHOT])]
    several = [c for c in ("dataset", "train_size", "copies") if runs[c].nunique() > 1]
    panels = list(runs[[*CONDITION_COLUMNS, "base"]].drop_duplicates().itertuples(index=False))
    batches = sorted(runs.batches.unique())
    colours = dict(zip(ORDERS, sns.color_palette("colorblind")))
    shape = {"squeeze": False, "sharex": True, "layout": "constrained", "figsize": (1.4 + 2.3 * len(panels), 5.2)}
    figure, axes = plt.subplots(len(PANELS), len(panels), **shape)
    for column, panel in zip(axes.T, panels):
        part = table[(table[CONDITION_COLUMNS] == list(panel[:-1])).all(axis=1)]
        for axis, name in zip(column, PANELS):
            for row, (style, label) in LEVELS.items():
                level = part[part.order == row][name].iloc[0]
                axis.axhline(level, color="0.4", lw=1.4, ls=style, label=label, zorder=0)
            _lines(axis, part[part.base == panel.base], name, batches, colours)
        title = ", ".join([str(getattr(panel, c)) for c in several] + [f"{panel.targets} targets"])
        column[0].set_title(f"{words(panel.base)}\n{title}", fontsize=11)
        column[-1].set_xlabel("batches (1: all at once)", fontsize=11)
    ends = table[[*interval_columns("ToW_MIA", {})]].astype(float)
    for axis in axes[0]:  # one scale; gaps are of other sizes from base to base
        axis.set_ylim(max(ends.min().min(), 0) - 0.03, min(ends.max().max(), 1) + 0.03)
    for axis, label in zip(axes[:, 0], PANELS.values()):
        axis.set_ylabel(label, fontsize=11)
    shared_legend(figure, axes[0][0], ncols=3)
    columns = [column for name in ("ToW", *PANELS) for column in interval_columns(name, {})]
    keys = [*CONDITION_COLUMNS, "base", "order", "batches"]
    return finished(figure), table[[*keys, *columns, "n_seeds", *COUNTS]]


def _lines(axis, part: pd.DataFrame, name: str, batches: list[int], colours: dict) -> None:
    """One line per order that was asked for; all of them start at one-shot, which has one interval."""
    one_shot = part[part.order == ONE_SHOT]
    for place, order in enumerate(ORDERS):
        if order not in set(part.order) and len(part.order.unique()) > 1:
            continue
        line = pd.concat([one_shot, part[part.order == order].sort_values("batches")]).dropna(subset=name)
        x = line.batches.map(batches.index) + (0.08 * (place - 1.5)) * (line.batches > 1)
        style = {"marker": MARKS[order], "ms": 4, "capsize": 2, "lw": 1.2, "elinewidth": 0.9}
        axis.errorbar(x, line[name], error_bars(line, name), color=colours[order], label=order, **style)
    axis.set_xticks(range(len(batches)), batches)
