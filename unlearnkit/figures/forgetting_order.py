"""Does the order of forgetting matter? ToW and the per-sample gap against the number of batches: F13."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.forgetting_order import COUNTS, ONE_SHOT, ORDERS
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.figures.style import error_bars, finished, shared_legend

PANELS = {"ToW": "ToW, 1 is best", "phi_gap": "per-sample gap of phi, logits"}
MARKS = dict(zip(ORDERS, "v^so"))


def plot_forgetting_order(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """One column of panels per condition and base, ToW above and the per-sample gap below, against the number of
    batches; one line per order from one-shot on, 95% intervals over seeds. Dotted: retrained models against each other,
    the noise floor; dashed: the model before unlearning. A row that its base refuses has no point. table: of
    unlearnkit.analysis.forgetting_order.order_table."""
    runs = table[table.order.isin([*ORDERS, ONE_SHOT])]
    several = [c for c in ("dataset", "train_size", "copies") if runs[c].nunique() > 1]
    panels = list(runs[[*CONDITION_COLUMNS, "base"]].drop_duplicates().itertuples(index=False))
    batches = sorted(runs.batches.unique())
    colours = dict(zip(ORDERS, sns.color_palette("colorblind")))
    shape = {"squeeze": False, "sharex": True, "layout": "constrained", "figsize": (1.2 + 2.3 * len(panels), 4.8)}
    figure, axes = plt.subplots(len(PANELS), len(panels), **shape)
    for column, panel in zip(axes.T, panels):
        part = table[(table[CONDITION_COLUMNS] == list(panel[:-1])).all(axis=1)]
        for axis, name in zip(column, PANELS):
            for row, style in (("retrain", ":"), ("original", "--")):
                level = part[part.order == row][name].iloc[0]
                axis.axhline(level, color="0.4", lw=1.2, ls=style, label=row, zorder=0)
            _lines(axis, part[part.base == panel.base], name, batches, colours)
        title = ", ".join([str(getattr(panel, c)) for c in several] + [f"{panel.targets} targets"])
        column[0].set_title(f"{panel.base}\n{title}", fontsize=9)
        column[-1].set_xlabel("batches")
    ends = table[[*interval_columns("ToW", {})]].astype(float)
    for axis in axes[0]:  # one scale; gaps are of other sizes from base to base
        axis.set_ylim(max(ends.min().min(), 0) - 0.03, min(ends.max().max(), 1) + 0.03)
    for axis, label in zip(axes[:, 0], PANELS.values()):
        axis.set_ylabel(label, fontsize=9)
    shared_legend(figure, axes[0][0], ncols=6)
    columns = [column for name in PANELS for column in interval_columns(name, {})]
    keys = [*CONDITION_COLUMNS, "base", "order", "batches"]
    return finished(figure), table[[*keys, *columns, "n_seeds", *COUNTS]]


def _lines(axis, part: pd.DataFrame, name: str, batches: list[int], colours: dict) -> None:
    """One line per order; all of them start at one-shot, which has one interval."""
    one_shot = part[part.order == ONE_SHOT]
    for place, order in enumerate(ORDERS):
        line = pd.concat([one_shot, part[part.order == order].sort_values("batches")]).dropna(subset=name)
        x = line.batches.map(batches.index) + (0.08 * (place - 1.5)) * (line.batches > 1)
        style = {"marker": MARKS[order], "ms": 4, "capsize": 2, "lw": 1.2, "elinewidth": 0.9}
        axis.errorbar(x, line[name], error_bars(line, name), color=colours[order], label=order, **style)
    axis.set_xticks(range(len(batches)), batches)
