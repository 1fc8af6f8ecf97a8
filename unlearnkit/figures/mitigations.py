"""What potential solutions remove, and what they cost the neighbours: F6."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearnkit import study
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.figures.style import finished

LOW, HIGH = -0.3, 1.5  # of influence removed; what lies outside is marked at the edge
HUES = (0, 2, 4, 1, 3, 5, 7, 8, 9)  # of seaborn's colour-blind palette, the best to tell apart first
BROKEN = 0.1  # test accuracy lost, from which on a point has a ring
RING = {"marker": "o", "ls": "", "ms": 13, "mfc": "none", "mec": "red", "mew": 0.8, "zorder": 3}
POINT = ["removed", "removed_low", "removed_high", "neighbour_cost", "neighbour_cost_low", "neighbour_cost_high", "TA"]


def plot_mitigations(t4: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Influence removed, 1 - rho, against accuracy lost on the similar samples; one row of panels per condition, one column
    per base, bare in black and in each wrapper in a colour, 95% intervals over seeds; the other bases are grey.

    Filled points are on the condition's Pareto front (see `solutions.t4`); a triangle at the edge stands for a value
    outside, a red ring for a test accuracy that is BROKEN below the original's. x: the original; star: clean. A masked
    rho has no point.
    """
    names = t4[["wrapper", "options"]].drop_duplicates().sort_values(["wrapper", "options"])
    hues = dict(
        zip(names.wrapper.unique(), ["black", *(sns.color_palette("colorblind")[i] for i in HUES * len(names))])
    )
    looks = {}
    for row in names.itertuples():
        variant = sum(look[0] == hues[row.wrapper] for look in looks.values())
        looks[_label(row)] = hues[row.wrapper], "osDP"[min(variant, 3)]
    methods = t4[~t4.method.isin(study.BASELINES)]
    bases = list(dict.fromkeys(methods.base))
    conditions = list(t4.groupby(CONDITION_COLUMNS, sort=False))
    size = (3.9 + 2.4 * len(bases), 0.8 + 2.7 * len(conditions))  # a legend as wide as a panel and a half
    shape = {"squeeze": False, "sharex": "row", "sharey": True, "layout": "constrained", "figsize": size}
    figure, axes = plt.subplots(len(conditions), len(bases), **shape)
    for row, (_, part) in zip(axes, conditions, strict=True):
        first = part.iloc[0]
        for axis, base in zip(row, bases, strict=True):
            _panel(axis, part, base, looks)
            axis.set_title(f"{base}\n{first.dataset}, {first.targets}, m = {first.copies}", fontsize=9)
        row[0].set_ylabel("influence removed, 1 - rho")
    for axis in axes[-1]:
        axis.set_xlabel("neighbour cost")
    figure.legend(handles=_key(looks), loc="outside right center", fontsize=8, frameon=False)
    return finished(figure), t4[
        [*CONDITION_COLUMNS, "method", "base", "wrapper", "options", "front", *POINT, "n", "diverged"]
    ]


def _label(row) -> str:
    return (row.wrapper or "bare") + (f", {row.options}" if row.options else "")


def _panel(axis, part: pd.DataFrame, base: str, looks: dict) -> None:
    wrapped = part[~part.method.isin(study.BASELINES) & part.removed.notna()]
    others = wrapped[wrapped.base != base]
    axis.plot(others.neighbour_cost, others.removed.clip(LOW, HIGH), "o", color="0.85", ms=4, zorder=1)
    references = part.set_index("method")
    for name, marker in (("original", "x"), ("clean", "*")):
        if name in references.index and pd.notna(references.removed[name]):
            at = references.loc[name]
            axis.plot(at.neighbour_cost, at.removed, marker, color="0.35", ms=10 if marker == "*" else 6, zorder=2)
    whole = references.TA.get("original", float("nan"))
    for row in wrapped[wrapped.base == base].itertuples():
        colour, marker = looks[_label(row)]
        inside = min(max(row.removed, LOW), HIGH)
        marker = marker if inside == row.removed else "^" if row.removed > HIGH else "v"
        spread = {"xerr": _spread(row.neighbour_cost, row.neighbour_cost_low, row.neighbour_cost_high)}
        spread["yerr"] = _spread(inside, row.removed_low, row.removed_high)
        style = {"mfc": colour if row.front else "white", "ms": 6, "elinewidth": 0.8, "capsize": 1.5, "zorder": 4}
        axis.errorbar(row.neighbour_cost, inside, **spread, fmt=marker, color=colour, **style)
        if whole - row.TA > BROKEN:
            axis.plot(row.neighbour_cost, inside, **RING)
    if not len(wrapped):
        axis.text(0.5, 0.5, "rho is masked", transform=axis.transAxes, ha="center", color="0.4", fontsize=9)
    for level in (0, 1):
        axis.axhline(level, color="0.5", lw=1, ls="--", zorder=0)
    axis.set_ylim(LOW - 0.05, HIGH + 0.05)
    axis.set_xscale("symlog", linthresh=0.03, linscale=0.4)  # most cost little: they would hide each other
    axis.set_xlim(-0.02, 1.6)
    axis.set_xticks([0, 0.03, 0.1, 0.3, 1], ["0", "0.03", "0.1", "0.3", "1"], fontsize=9)
    axis.minorticks_off()


def _spread(at: float, low: float, high: float) -> list[list[float]] | None:
    """For errorbar; None for one seed, which has no interval."""
    return None if pd.isna(low) else [[max(at - low, 0)], [max(high - at, 0)]]


def _key(looks: dict) -> list[Line2D]:
    found = [Line2D([], [], marker=m, ls="", color=colour, label=name) for name, (colour, m) in looks.items()]
    found.append(Line2D([], [], marker="o", ls="", color="0.85", label="another base"))
    found.append(Line2D([], [], marker="o", ls="", color="0.35", label="on the front"))
    found.append(Line2D([], [], marker="o", ls="", color="0.35", mfc="white", label="not on it"))
    found.append(Line2D([], [], **RING, label=f"lost {BROKEN:g} of TA or more"))
    found.append(Line2D([], [], marker="x", ls="", color="0.35", label="original"))
    return [*found, Line2D([], [], marker="*", ls="", ms=10, color="0.35", label="clean")]
