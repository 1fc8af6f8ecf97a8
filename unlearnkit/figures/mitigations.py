"""The influence that mitigations remove, and what they cost the near-duplicates: F6."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearnkit import study
from unlearnkit.analysis.matched_controls import CONTROL
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.figures.style import finished, reference_levels
from unlearnkit.wrappers.neighbours import NEAR

LOW, HIGH = -0.3, 1.5  # of influence removed; what lies outside is marked at the edge
HUES = (0, 2, 4, 1, 3, 5, 7, 8, 9)  # of seaborn's colour-blind palette, the best to tell apart first
BROKEN = 0.1  # test accuracy lost, from which on a point has a ring
RING = {"marker": "o", "ls": "", "ms": 13, "mfc": "none", "mec": "red", "mew": 0.8, "zorder": 3}
POINT = [*interval_columns("influence_removed", {}), *interval_columns("neighbour_cost", {}), "TA"]
COUNTS = ["n_seeds", "n_targets", "n_diverged", "usable", "verdict", "number_known"]  # as far as the table has them
MARKERS = "osDPXh"  # of a wrapper's variants; a matched control has that of its search
PALE = 0.55  # share of white in a matched control's colour
NO_BASES = {*study.BASELINES, *study.REFERENCE_ROWS} - {"retrain"}
NOT_USABLE = "0.6"  # the grey of rows that a gate leaves out


def plot_mitigations(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Influence removed, 1 - residual influence, against accuracy lost on the near-duplicates; one row of panels per
    condition, one column per base, bare in black and in each wrapper in a colour, its matched controls paler, 95%
    intervals; the other bases are pale grey.

    Filled points are Pareto-optimal in their condition; a triangle at the edge stands for a value outside. Rows that are not
    usable, or did not move the model, are grey where the table says so; where it does not, a red ring stands for a test
    accuracy that is BROKEN below the original's. x: the original; star: clean. A masked value has no point.
    table: of unlearnkit.analysis.mitigations.mitigations_table, or of unlearnkit.analysis.mitigations_per_target.
    """
    styles = _styles(table)
    bases = list(dict.fromkeys(table[~table.method.isin(NO_BASES)].base))
    conditions = list(table.groupby(CONDITION_COLUMNS, sort=False))
    size = (3.9 + 2.4 * len(bases), 0.8 + 2.7 * len(conditions))  # a legend as wide as a panel and a half
    shape = {"squeeze": False, "sharex": "row", "sharey": True, "layout": "constrained", "figsize": size}
    figure, axes = plt.subplots(len(conditions), len(bases), **shape)
    for row, (_, part) in zip(axes, conditions, strict=True):
        first = part.iloc[0]
        for axis, base in zip(row, bases, strict=True):
            _panel(axis, part, base, styles)
            axis.set_title(f"{base}\n{first.dataset}, {first.targets}, m = {first.copies}", fontsize=9)
        row[0].set_ylabel("influence removed")
    for axis in axes[-1]:
        axis.set_xlabel("accuracy lost\non near-duplicates")
    figure.legend(handles=_handles(styles, "usable" in table), loc="outside right center", fontsize=8, frameon=False)
    keys = [*CONDITION_COLUMNS, "method", "base", "wrapper", "options"]
    return finished(figure), table[[*keys, "pareto_optimal", *POINT, *(c for c in COUNTS if c in table)]]


def _styles(table: pd.DataFrame) -> dict:
    """{label of a variant: (colour, marker)}, black for bare."""
    rows = table[["wrapper", "options"]].drop_duplicates().sort_values(["wrapper", "options"])
    palette = sns.color_palette("colorblind")
    hues = dict(zip(rows.wrapper.unique(), ["black", *(palette[i] for i in HUES * len(rows))]))
    searches = rows.assign(options=rows.options.map(_search)).drop_duplicates()
    number = dict(zip(searches.itertuples(index=False, name=None), searches.groupby("wrapper").cumcount()))
    styles: dict = {}
    for row in rows.itertuples():
        colour, search = hues[row.wrapper], _search(row.options)
        pale = tuple(part + PALE * (1 - part) for part in to_rgb(colour))
        marker = MARKERS[min(number[row.wrapper, search], len(MARKERS) - 1)]
        styles[_label(row)] = pale if CONTROL in row.options else colour, marker
    return styles


def _search(options: str) -> str:
    """The options of the row that these are the matched control of, or themselves; the default search has none."""
    parts = options.replace(CONTROL, "").split(", ")
    return ", ".join(part for part in parts if part != f"near={NEAR}")


def _label(row) -> str:
    return (row.wrapper or "bare") + (f", {row.options}" if row.options else "")


def _panel(axis, part: pd.DataFrame, base: str, styles: dict) -> None:
    known = part[~part.method.isin(NO_BASES) & part.influence_removed.notna()]
    gated = "usable" in part
    others = known[known.base != base]
    axis.plot(others.neighbour_cost, others.influence_removed.clip(LOW, HIGH), "o", color="0.85", ms=4, zorder=1)
    references = part.set_index("method")
    for name, marker in (("original", "x"), ("clean", "*")):
        if name in references.index and pd.notna(references.influence_removed[name]):
            point = references.loc[name]
            style = {"color": "0.35", "ms": 10 if marker == "*" else 6, "zorder": 2}
            axis.plot(point.neighbour_cost, point.influence_removed, marker, **style)
    original_accuracy = references.TA.get("original", float("nan"))
    for row in known[known.base == base].itertuples():
        colour, marker = styles[_label(row)]
        if gated and row.verdict in ("not usable", "not moved"):
            colour = NOT_USABLE
        inside = min(max(row.influence_removed, LOW), HIGH)
        if inside != row.influence_removed:
            marker = "^" if row.influence_removed > HIGH else "v"
        bars = {"xerr": _spread(row.neighbour_cost, row.neighbour_cost_low, row.neighbour_cost_high)}
        bars["yerr"] = _spread(inside, row.influence_removed_low, row.influence_removed_high)
        style = {"mfc": colour if row.pareto_optimal else "white", "ms": 6, "elinewidth": 0.8, "capsize": 1.5}
        axis.errorbar(row.neighbour_cost, inside, **bars, fmt=marker, color=colour, zorder=4, **style)
        if not gated and original_accuracy - row.TA > BROKEN:
            axis.plot(row.neighbour_cost, inside, **RING)
    if not len(known):
        note = {"transform": axis.transAxes, "ha": "center", "color": "0.4", "fontsize": 9}
        axis.text(0.5, 0.5, "residual influence\nis masked", **note)
    reference_levels(axis)
    axis.set_ylim(LOW - 0.05, HIGH + 0.05)
    axis.set_xscale("symlog", linthresh=0.03, linscale=0.4)  # most cost little: they would hide each other
    axis.set_xlim(-0.02, 1.6)
    axis.set_xticks([0, 0.03, 0.1, 0.3, 1], ["0", "0.03", "0.1", "0.3", "1"], fontsize=9)
    axis.minorticks_off()


def _spread(value: float, low: float, high: float) -> list[list[float]] | None:
    """For errorbar; None for one seed, which has no interval."""
    return None if pd.isna(low) else [[max(value - low, 0)], [max(high - value, 0)]]


def _handles(styles: dict, gated: bool) -> list[Line2D]:
    grey = {"ls": "", "color": "0.35"}
    handles = [Line2D([], [], marker=m, ls="", color=colour, label=name) for name, (colour, m) in styles.items()]
    handles.append(Line2D([], [], marker="o", ls="", color="0.85", label="another base"))
    handles.append(Line2D([], [], marker="o", label="Pareto-optimal", **grey))
    handles.append(Line2D([], [], marker="o", mfc="white", label="dominated", **grey))
    left_out = {"marker": "o", "ls": "", "color": NOT_USABLE, "mfc": "white", "label": "not usable, or not moved"}
    broken = RING | {"label": f"lost {BROKEN:g} of test accuracy or more"}
    handles.append(Line2D([], [], **(left_out if gated else broken)))
    handles.append(Line2D([], [], marker="x", label="original", **grey))
    return [*handles, Line2D([], [], marker="*", ms=10, label="clean", **grey)]
