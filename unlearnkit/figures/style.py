"""The style of all figures, and the parts that several of them share."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sns.set_theme(style="whitegrid", context="notebook")
plt.rcParams["savefig.bbox"] = "tight"

GROUPS = {"filler": "other retained"}  # of samples, in words
BRIGHT, DARK = sns.color_palette("colorblind"), sns.color_palette("dark")
COLOURS = {  # of rows, the same in all figures
    "retrain": "black",
    "clean-again": DARK[6],
    "original": "0.45",
    "initial": "tan",
    "random_label": BRIGHT[0],
    "scrub": BRIGHT[1],
    "bad_teacher": BRIGHT[2],
    "muda": BRIGHT[3],
    "expand": BRIGHT[4],
    "expand control": BRIGHT[5],
    "salun": BRIGHT[9],
    "classifier_only": BRIGHT[7],
    "npo": DARK[0],
    "grad_diff": DARK[2],
    "gradient_ascent": DARK[3],
    "unsir": DARK[4],
    "finetune": DARK[9],
    "boundary_shrink": DARK[5],
}


def finished(figure: Figure) -> Figure:
    """The figure, closed in pyplot, or a notebook would show it twice."""
    plt.close(figure)
    return figure


def words(name: str) -> str:
    """A name as it stands in a legend or a title."""
    return name.replace("_", " ")


def row_colours(names: Sequence[str]) -> dict:
    """{row: its colour}: that of COLOURS, the same in all figures; one without, or of which a row before it has the same,
    has a colour that no row there has."""
    given: dict = {}
    for name in names:
        known = COLOURS.get(name)
        if name.startswith("expand("):
            known = COLOURS["expand control" if name.endswith(" control)") else "expand"]
        if known is not None and known not in given.values():
            given[name] = known
    free = [colour for colour in [*DARK, *BRIGHT] if colour not in COLOURS.values()]
    others = [name for name in names if name not in given]
    return given | {name: free[i % len(free)] for i, name in enumerate(others)}


def error_bars(table: pd.DataFrame, name: str) -> np.ndarray:
    """The distances from a mean to the ends of its interval, (2, rows), as matplotlib takes them; 0 where there is no
    interval."""
    ends = table[[f"{name}_low", f"{name}_high"]].astype(float)
    return ends.sub(table[name].astype(float), axis=0).abs().fillna(0).T.to_numpy()


def shared_legend(figure: Figure, axis: Axes, loc: str = "lower center", ncols: int = 1) -> None:
    """One legend for all panels, beside them, with the lines of `axis`."""
    lines = {label: handle for handle, label in zip(*axis.get_legend_handles_labels())}  # each name once
    handles, labels = list(lines.values()), [words(label) for label in lines]
    figure.legend(handles, labels, loc=f"outside {loc}", ncols=ncols, fontsize=10, frameon=False)


def move_legend_outside(figure: Figure, axis: Axes) -> None:
    """Move the legend that seaborn drew into `axis` beside all panels, without a title."""
    legend = axis.get_legend()
    labels = [GROUPS.get(text.get_text(), text.get_text()) for text in legend.get_texts()]
    legend.remove()
    figure.legend(legend.legend_handles, labels, loc="outside right center", fontsize=9, frameon=False)


def reference_levels(axis: Axes, levels: Sequence[float] = (0, 1)) -> None:
    """Dashed lines at the residual influence of clean and of original."""
    for level in levels:
        axis.axhline(level, color="0.5", lw=1, ls="--", zorder=0)
