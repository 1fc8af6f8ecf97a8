"""Residual influence on whole data sets: against the number of near-duplicates, and against what kind they are."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_builders.texts.arms import PARAPHRASE
from unlearnkit.figures.style import error_bars, finished, reference_levels, row_colours, words

LOW, HIGH = -0.6, 1.5  # the frame
LOWEST = -3.0  # that it reaches down to where a method with a line of its own overshoots
NAMED = 7  # methods with a colour of their own, beside retrain
GATES = ("not usable", "not moved")
KINDS = ("memorised", "canary")  # random targets leave little to measure: they are in the data
SET = ["dataset", "architecture", "augment"]
VALUES = ["residual_influence", "residual_influence_low", "residual_influence_high", "verdict", "n_seeds", "n_targets"]


def plot_influence(
    table: pd.DataFrame,
    named: Mapping[str, str],
    *,
    kinds: Sequence[str] = KINDS,
    perturbation: str = "block_mask",
    strength: float = 0.3,
    copies: int = 25,
) -> tuple[Figure, pd.DataFrame]:
    """Dose-response of whole data sets, a row of panels for each: residual influence of each of `kinds` of target against
    the number of near-duplicates, and of retraining alone against what the near-duplicates are.

    table: of unlearnkit.analysis.influence.residual_influences; named: {method: what to call it} of those with a line and
    intervals, at most NAMED beside retrain; all others are grey. Rows that are not usable, or did not move the model, are
    crosses without a line, and are counted nowhere. Masked points, and those of arms that were not learnt, are left out.
    What is beyond the frame is a triangle at its edge, and bars end there. Sets that lack a kind which others have, such as
    a control of canaries alone, are left to the table.
    perturbation, strength: of the near-duplicates on the left; copies: how many on the right, or as many as there are. No
    panel on the right where near-duplicates are of one kind.
    """
    left_out = ["original", "original-again", "retrain-again", "clean"]
    data = table[table.targets.isin(kinds) & ~table.method.isin(left_out) & (table.verdict != "negative control")]
    of_all_kinds = data.groupby(SET).targets.transform("nunique") == data.targets.nunique()
    data = data[of_all_kinds] if of_all_kinds.any() else data
    rows = list(data[SET].drop_duplicates().itertuples(index=False))
    shape = {"squeeze": False, "sharey": True, "sharex": "col", "layout": "constrained"}
    chosen = {"retrain": "retrain"} | {m: label for m, label in named.items() if m in set(data.method)}
    colours = row_colours(list(chosen)[: NAMED + 1])
    by_copies = data[
        (data.control == "")
        & ((data.copies == 0) | ((data.strength == strength) & (data.perturbation == perturbation)))
    ]
    most = data.groupby(SET).copies.transform("max").clip(upper=copies)  # natural paraphrases are few
    by_kind = data[(data.method == "retrain") & ((data.copies == most) | (data.perturbation == "exact_duplicate"))]
    lines = by_copies[by_copies.method.isin(chosen) & ~by_copies.verdict.isin(GATES)]
    low = min(LOW, max(LOWEST, lines.residual_influence.min() - 0.1))
    doses = {m: place for place, m in enumerate(sorted(by_copies.copies.unique()))}
    places = {
        kind: place
        for place, kind in enumerate(dict.fromkeys(_kind(row) for row in sorted(_rows(by_kind), key=_place)))
    }
    further = len(places) > 1  # with one, the panel on the right would repeat a point of those on the left
    widths = [*([1] * len(kinds)), *[1.2] * further]
    size = 11.5 / 3 * (len(widths) + (not further)), 2.6 * len(rows) + 0.8
    figure, axes = plt.subplots(len(rows), len(widths), figsize=size, width_ratios=widths, **shape)
    for line, row in zip(axes, rows):
        of_set = by_copies[(by_copies[SET] == list(row)).all(axis=1)]
        for axis, kind in zip(line, kinds):
            _doses(axis, of_set[of_set.targets == kind], doses, colours, chosen, low)
            axis.set_title(f"{words(row.dataset)} ({row.architecture}): {kind}", fontsize=10)
        line[0].set_ylabel("residual influence")
        if further:
            _kinds(line[-1], by_kind[(by_kind[SET] == list(row)).all(axis=1)], places, kinds, low)
            m = min(copies, of_set.copies.max()) if len(of_set) else copies
            line[-1].set_title(f"{words(row.dataset)}: retrain, m = {m}", fontsize=10)
    for axis in axes[-1, : len(kinds)]:
        axis.set_xlabel(
            "paraphrases that stay, m" if perturbation.startswith(PARAPHRASE) else "near-duplicates that stay, m"
        )
    if further:
        axes[-1, -1].set_xticks(
            [*places.values()], list(places), rotation=45, ha="right", rotation_mode="anchor", fontsize=9
        )
    for columns, part in ((4, axes[:, 0]), *([(2, axes[:1, -1])] if further else [])):
        named_there: dict = {}  # by label: a set may lack a method that another has
        for axis in part:
            handles, labels = axis.get_legend_handles_labels()
            named_there = dict(zip(labels, handles, strict=True)) | named_there
        place = "outside lower left" if columns == 4 else "outside lower right"
        figure.legend(named_there.values(), named_there.keys(), loc=place, ncols=columns, fontsize=9, frameon=False)
    return finished(figure), table[
        [*SET, "targets", "control", "copies", "perturbation", "strength", "method", *VALUES]
    ]


def _doses(axis: Axes, data: pd.DataFrame, doses: dict, colours: dict, names: Mapping[str, str], low: float) -> None:
    there = data[data.residual_influence.notna()]
    others = there[~there.method.isin([*colours, "clean-again"])]
    lines = [
        *others[~others.verdict.isin(GATES)].groupby("method"),
        *there[there.method == "clean-again"].groupby("method"),
    ]
    for number, (name, line) in enumerate(lines):
        line = line.sort_values("copies")
        style = {"color": "0.45", "ls": ":", "label": "clean again"} if name == "clean-again" else {"color": "0.8"}
        if name != "clean-again" and not number:
            style["label"] = "other methods"
        axis.plot(line.copies.map(doses), line.residual_influence, lw=1, zorder=1, **style)
    gated = there[there.verdict.isin(GATES)]
    if len(gated):
        within = gated[gated.residual_influence.between(low, HIGH)]
        style = {"color": "0.7", "ms": 4, "zorder": 1}
        axis.plot(within.copies.map(doses), within.residual_influence, "x", label="not usable, or not moved", **style)
        _beyond(axis, gated.copies.map(doses), gated.residual_influence, "0.7", low)
    for place, (name, colour) in enumerate(colours.items()):
        line = there[(there.method == name) & ~there.verdict.isin(GATES)].sort_values("copies")
        if not len(line):
            continue
        x, bars = line.copies.map(doses) + 0.05 * (place - len(colours) / 2), error_bars(line, "residual_influence")
        style = {"lw": 2.2 if name == "retrain" else 1.3, "ms": 4, "capsize": 2, "elinewidth": 1, "marker": "o"}
        axis.errorbar(x, line.residual_influence, bars, label=words(names[name]), color=colour, **style)
        _beyond(axis, x, line.residual_influence, colour, low)
    _finish(axis, doses, low)


def _beyond(axis: Axes, x: pd.Series, y: pd.Series, colour, low: float) -> None:
    """Triangles at the edge of the frame for points that lie beyond it."""
    for marker, edge, there in (("v", low, y < low), ("^", HIGH, y > HIGH)):
        if there.any():
            axis.plot(x[there], [edge] * int(there.sum()), marker, color=colour, ms=6, clip_on=False, zorder=5)


def _rows(data: pd.DataFrame) -> list:
    return list(data.itertuples(index=False))


def _place(row) -> tuple:
    """Exact copies first, then masks by their share, then all else; the control last."""
    masked = row.perturbation.startswith(("block_mask", PARAPHRASE))
    return (
        bool(row.control),
        row.perturbation != "exact_duplicate",
        not masked,
        row.strength if masked else 0,
        row.perturbation,
    )


def _kind(row) -> str:
    """What the near-duplicates of a row are, in words."""
    if row.control:
        return row.control.removeprefix("copies of ")
    if row.perturbation == "exact_duplicate":
        return f"exact, m = {row.copies}"
    if row.perturbation.startswith(PARAPHRASE):
        side = row.perturbation.removeprefix(PARAPHRASE)
        if row.copies == 1:  # at most one: those that came with the data, whose words nobody chose
            return f"natural, {'both sides' if side == 'both' else side}"
        return f"{'' if side == 'both' else side + ', '}{row.strength:.0%} other words"
    if row.perturbation.startswith("block_mask"):
        block = row.perturbation.removeprefix("block_mask(block=").removesuffix(")")
        return f"mask {row.strength:.0%}" + (f", blocks of {block}" if block.isdigit() else "")
    return words(row.perturbation)


def _kinds(axis: Axes, data: pd.DataFrame, places: dict, kinds: Sequence[str], low: float) -> None:
    for place, (kind, colour) in enumerate(zip(kinds, ("black", "0.6", "0.4"))):
        line = data[(data.targets == kind) & data.residual_influence.notna()]
        x = pd.Series([places[_kind(row)] for row in _rows(line)], dtype=float)
        bars = error_bars(line, "residual_influence")
        style = {"fmt": "osd"[place], "color": colour, "ms": 4, "capsize": 2, "elinewidth": 1}
        axis.errorbar(x + 0.2 * (place - 0.5), line.residual_influence.to_numpy(), bars, label=kind, **style)
        _beyond(axis, x + 0.2 * (place - 0.5), line.residual_influence.reset_index(drop=True), colour, low)
    _finish(axis, places, low)


def _finish(axis: Axes, places: dict, low: float) -> None:
    reference_levels(axis)
    axis.set_ylim(low, HIGH)
    axis.set_xlim(-0.5, max(len(places), 1) - 0.5)
    axis.set_xticks([*places.values()], [str(place) for place in places])
