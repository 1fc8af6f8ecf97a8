"""The figures of the study: each one function that returns the figure and the data behind it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from data_builders.kinds import kinds
from unlearnkit import study
from unlearnkit.cell import Cell
from unlearnkit.compute import generator
from unlearnkit.similarity import MEASURES
from unlearnkit.summary import CELL, rho
from unlearnkit.tables import relations

sns.set_theme(style="whitegrid", context="notebook")
plt.rcParams["savefig.bbox"] = "tight"


def f1(
    cell: Cell, blocks: Sequence[int], strengths: Sequence[float], n_targets: int = 2
) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet: targets (first column) beside one similar sample per strength, one row per block size."""
    task = study.load_task(cell)
    grid = [(target, block) for target in task.index("target")[:n_targets].tolist() for block in blocks]
    size = (1.15 * (len(strengths) + 1), 1.35 * len(grid))
    figure, axes = plt.subplots(len(grid), len(strengths) + 1, figsize=size, squeeze=False, layout="constrained")
    rows = []
    for row, (target, block) in zip(axes, grid, strict=True):
        image = task.x[target]
        _picture(row[0], image, f"target\nb = {block}")
        for axis, strength in zip(row[1:], strengths, strict=True):
            rng = generator(cell.seed, "sheet", target)
            copy = kinds[cell.kind](image, 1, strength, rng, block=block)
            measures = {name: measure(image[None], copy).item() for name, measure in MEASURES.items()}
            _picture(axis, copy[0], f"r = {strength:g}\nSSIM {measures['ssim']:.2f}")
            rows.append({"target": target, "label": int(task.y[target]), "b": block, "r": strength, **measures})
    return _finished(figure), pd.DataFrame(rows)


def _finished(figure: Figure) -> Figure:
    """Out of pyplot's hands, or a notebook would show it twice."""
    plt.close(figure)
    return figure


def _picture(axis, image, title: str) -> None:
    pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
    axis.imshow(pixels, cmap="gray_r" if pixels.ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def f2(cells: Sequence[Cell]) -> tuple[Figure, pd.DataFrame]:
    """Similarity as measured: targets to their similar samples (one curve per strength), to fillers and to decoys."""
    parts = [relations(study.load_task(cell)).assign(seed=cell.seed) for cell in cells]
    seen = {cell.seed: i for i, cell in reversed([*enumerate(cells)])}  # fillers and decoys once per seed
    parts = [p if seen[c.seed] == i else p[p.relation == "similar"] for i, (c, p) in enumerate(zip(cells, parts))]
    data = pd.concat(parts, ignore_index=True)
    data["pair"] = [f"similar, r = {s:g}" if r == "similar" else r for r, s in zip(data.relation, data.strength)]
    order = [*sorted(p for p in data.pair.unique() if p.startswith("similar")), "filler", "decoy"]
    colours = dict(zip(order, [*sns.color_palette("flare", len(order) - 2), "0.45", "0.7"], strict=True))
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(5.2 * len(MEASURES), 3.6), layout="constrained")
    for axis, measure in zip(axes, MEASURES, strict=True):
        sns.ecdfplot(data, x=measure, hue="pair", hue_order=order, palette=colours, ax=axis, legend=measure == "ssim")
        axis.set_xlabel(f"{measure.replace('_', ' ')} to the target")
        axis.set_ylabel("share of pairs below")
    sns.move_legend(axes[0], "upper left", title=None, fontsize=8)
    return _finished(figure), data.drop(columns="pair")


def f3(scores: pd.DataFrame, *, strength: float, copies: int, metric: str = "phi") -> tuple[Figure, pd.DataFrame]:
    """Dose-response: residual influence against the number of copies (at `strength`) and against strength (at `copies`).

    One row of panels per kind of targets, one line per method, 95% intervals over seeds; a masked rho has no point.
    """
    data = rho(scores, metric).reset_index()
    data = data[~data.method.isin(study.BASELINES)]
    kinds_of_target = [t for t in ("random", "hard", "canary") if t in set(data.targets)]
    names = sorted(data.method.unique(), key=lambda m: (m != "retrain", m))  # retrain first, in black
    colours = dict(zip(names, ["black", *sns.color_palette("colorblind", len(names))], strict=False))
    shape = {"squeeze": False, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(len(kinds_of_target), 2, figsize=(9.5, 2.9 * len(kinds_of_target)), **shape)
    for row, targets in zip(axes, kinds_of_target, strict=True):
        part = data[data.targets == targets]
        by_copies = part[(part.strength == strength) | (part.copies == 0)]
        _dose(row[0], by_copies, "copies", names, colours, f"{targets} targets, r = {strength:g}")
        _dose(row[1], part[part.copies == copies], "strength", names, colours, f"{targets} targets, m = {copies}")
        row[0].set_ylabel("residual influence rho")
    axes[-1][0].set_xlabel("similar copies per target, m")
    axes[-1][1].set_xlabel("share of blocks masked, r")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    return _finished(figure), data[[*CELL, "method", "rho", "rho_low", "rho_high", "n"]]


def _dose(axis, data: pd.DataFrame, x: str, names, colours, title: str) -> None:
    """Lines with intervals; what lies outside the panel is marked at its edge."""
    low, high = -0.6, 1.6
    places = {value: i for i, value in enumerate(sorted(data[x].unique()))}
    for offset, name in enumerate(names):
        line = data[(data.method == name) & data.rho.notna()].sort_values(x)
        at = line[x].map(places) + 0.05 * (offset - len(names) / 2)
        spread = (line[["rho_low", "rho_high"]].sub(line.rho, axis=0)).abs().fillna(0).T.to_numpy()
        style = {
            "color": colours[name],
            "lw": 2.2 if name == "retrain" else 1.3,
            "ms": 4,
            "capsize": 2,
            "elinewidth": 1,
        }
        axis.errorbar(at, line.rho, spread, marker="o", label=name, **style)
        for value, place in zip(line.rho, at):
            if not low <= value <= high:
                marker = "^" if value > high else "v"
                axis.plot(place, high - 0.05 if value > high else low + 0.05, marker, color=colours[name], ms=6)
    for level in (0, 1):
        axis.axhline(level, color="0.5", lw=1, ls="--", zorder=0)
    axis.set_ylim(low, high)
    axis.set_xticks([*places.values()], [f"{v:g}" for v in places])
    axis.set_title(title, fontsize=10)
