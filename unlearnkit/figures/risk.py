"""Which samples are at risk, whether it can be told cheaply, and whether they are harder to forget: F11, F12, F12-copies."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.difficulty import FLOOR
from unlearnkit.figures.style import finished
from unlearnkit.proxies import ITSELF
from unlearnkit.summary import CELL

BLUE, ORANGE, GREEN, RED = sns.color_palette("colorblind")[:4]
KINDS = {"ids": "mixed memorisation"}  # of targets, by the name they are drawn by
ASKED = {  # question: (label, colour)
    "moved": ("risk and movement", "grey"),
    "difficulty": ("risk and difficulty", BLUE),
    "difficulty | headroom": ("... with the headroom fixed", ORANGE),
    "difficulty | headroom corrected": ("... corrected for its noise", RED),
}


def _named(targets: str) -> str:
    return f"{KINDS.get(targets, targets)} targets"


def f11(risks: pd.DataFrame, table: pd.DataFrame, measure: str = "lira_online") -> tuple[Figure, pd.DataFrame]:
    """One row of panels per kind of targets: the risk of targets and, as chance, of decoys; the risk by one half of the
    shadow models against the other's; and how each ranker correlates with it, intervals over seeds thin, over samples thick.

    Shaded: what the measure, with all its models, can be foretold to, the root of its reliability. risks: of
    unlearnkit.risk.risks; table: of unlearnkit.proxies.t8_proxies.
    """
    found = risks[risks.ranker == measure]
    wide = found.pivot(index=[*CELL, "seed", "group", "sample"], columns="half", values="value").reset_index()
    data = wide.rename(columns={"": "risk", "0": "one half", "1": "other half"}).rename_axis(columns=None)
    kinds = list(risks.targets.unique())
    shape = {"squeeze": False, "layout": "constrained", "figsize": (12, 3.9 * len(kinds))}
    figure, axes = plt.subplots(len(kinds), 3, **shape, gridspec_kw={"width_ratios": [1, 1, 1.3]})
    bins = np.linspace(data.risk.min(), data.risk.max(), 31)
    for row, kind in zip(axes, kinds):
        part = data[data.targets == kind]
        for group, colour in (("target", ORANGE), ("decoy", BLUE)):
            row[0].hist(part.risk[part.group == group], bins, color=colour, alpha=0.55, lw=0, label=f"{group}s")
        row[0].set(xlabel=f"risk, {measure}", ylabel=f"{_named(kind)}\nsamples of all seeds")
        row[0].legend(fontsize=9)
        targets = part[part.group == "target"]
        row[1].plot(targets["one half"], targets["other half"], "o", ms=3, alpha=0.5, color=ORANGE, mew=0)
        row[1].axline((0, 0), slope=1, color="grey", lw=1)
        row[1].set(xlabel="by one half of the models", ylabel="by the other half")
        _proxies(row[2], table[(table.targets == kind) & (table.measure == measure)], measure)
    return finished(figure), data


def _proxies(axis, table: pd.DataFrame, measure: str) -> None:
    table = table[table.group == "target"].set_index("ranker")
    if ITSELF in table.index:
        axis.axvspan(np.sqrt(max(table.full[ITSELF], 0)), 1, color="grey", alpha=0.2, lw=0)
    table = table.sort_values("rho")
    at = np.arange(len(table))
    colours = [RED if name == ITSELF else "black" for name in table.index]
    axis.hlines(at, table.rho_low.astype(float), table.rho_high.astype(float), color=colours, lw=1)
    axis.hlines(at, table.rho_low_samples, table.rho_high_samples, color=colours, lw=3)
    axis.scatter(table.rho, at, color=colours, s=30, zorder=3)
    axis.axvline(0, color="grey", lw=1)
    axis.set_yticks(at, [name.replace("_", " ") for name in table.index], fontsize=9)
    axis.set(xlim=(-1, 1), xlabel=f"Spearman's rho with {measure}")
    axis.grid(axis="y", visible=False)


def f12(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How risk correlates with what a method does to a sample, one panel per kind of targets, one line per method and
    question; means over seeds with 95% intervals. Dotted, in the same colours: what a retraining from another seed gives,
    whose difficulty is noise. table: of unlearnkit.difficulty.t8_difficulty."""
    kinds, methods = list(table.targets.unique()), _by_difficulty(table)
    size = (5.2 * len(kinds) + 1, 0.55 * len(methods) + 1.6)
    shape = {"squeeze": False, "layout": "constrained", "sharex": True, "sharey": True, "figsize": size}
    figure, axes = plt.subplots(1, len(kinds), **shape)
    for axis, kind in zip(axes[0], kinds):
        part = table[table.targets == kind].set_index(["question", "method"])
        for i, (question, (label, colour)) in enumerate(ASKED.items()):
            line = part.loc[question].reindex(methods)
            at = np.arange(len(methods)) + 0.18 * (i - (len(ASKED) - 1) / 2)
            axis.hlines(at, line.rho_low.astype(float), line.rho_high.astype(float), color=colour, lw=1.5)
            axis.plot(line.rho.astype(float), at, "o", color=colour, ms=5, label=label)
            if question != "moved":
                axis.axvline(line.rho[FLOOR], color=colour, lw=1, ls=":")
        axis.axvline(0, color="black", lw=1)
        axis.set_yticks(range(len(methods)), [m.replace("_", " ") for m in methods])
        axis.set(xlim=(-1, 1), ylim=(len(methods) - 0.5, -0.5), xlabel="Spearman's rho", title=_named(kind))
        axis.grid(axis="y", visible=False)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False
    )
    return finished(figure), table


def _by_difficulty(table: pd.DataFrame) -> list[str]:
    """FLOOR first, then by the mean correlation of risk and difficulty."""
    rho = table[table.question == "difficulty"].groupby("method").rho.mean().drop(FLOOR, errors="ignore")
    return [FLOOR, *rho.sort_values(ascending=False).index]


def f12_copies(table: pd.DataFrame, quantities: Sequence[str] = ()) -> tuple[Figure, pd.DataFrame]:
    """Mean risk and mean difficulty of the targets against the number of similar copies that stay, one line per kind of
    targets, dashed for decoys; means over seeds with 95% intervals. table: of unlearnkit.difficulty.t8_copies."""
    known = list(table.quantity.unique())
    quantities = list(quantities) or [q for q in known if not q.startswith("signed")]
    data = table[table.quantity.isin(quantities)]
    columns = min(4, len(quantities))
    down = -(-len(quantities) // columns)
    shape = {"squeeze": False, "layout": "constrained", "figsize": (3.1 * columns, 2.7 * down + 0.4)}
    figure, axes = plt.subplots(down, columns, **shape)
    colours = dict(zip(sorted(data.targets.unique()), (ORANGE, BLUE, GREEN, RED)))
    for axis, quantity in zip(axes.flatten(), quantities):
        part = data[data.quantity == quantity]
        places = {m: i for i, m in enumerate(sorted(part.copies.unique()))}
        for (kind, group), line in part.sort_values("copies").groupby(["targets", "group"]):
            at, style = line.copies.map(places), {"color": colours[kind], "ls": "--" if group == "decoy" else "-"}
            label = _named(kind) if group == "target" else f"{KINDS.get(kind, kind)} decoys: chance"
            axis.plot(at, line.value, marker="o", ms=4, **style, label=label)
            axis.fill_between(
                at, line.value_low.astype(float), line.value_high.astype(float), color=colours[kind], alpha=0.15
            )
        axis.axhline(0, color="grey", lw=1)
        axis.set_xticks(list(places.values()), list(places))
        axis.set_title(quantity.replace("_", " "), fontsize=10)
    for axis in axes.flatten()[len(quantities) :]:
        axis.set_visible(False)
    figure.supxlabel("similar copies per target", fontsize=10)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9, frameon=False
    )
    return finished(figure), data
