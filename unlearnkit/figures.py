"""The figures of the study: each one function that returns the figure and the data behind it."""

from collections.abc import Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from data_builders import to_bytes
from data_builders.degree import parse, search
from data_builders.kinds import kinds
from unlearnkit import study
from unlearnkit.cell import Cell
from unlearnkit.compute import generator
from unlearnkit.errors import BadValue
from unlearnkit.similarity import MEASURES
from unlearnkit.summary import CELL, rho
from unlearnkit.tables import relations
from unlearnkit.task import SimilarityTask, unit

sns.set_theme(style="whitegrid", context="notebook")
plt.rcParams["savefig.bbox"] = "tight"


def f1(
    cells: Sequence[Cell], blocks: Sequence[int], strengths: Sequence[float], n_targets: int = 1
) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet: targets (first column) beside one masked copy per strength, one row per block size and data set.

    cells: one per data set; blocks that do not divide its images at least twice are left out.
    """
    grid = []
    for cell in cells:
        task = study.load_task(cell)
        height, width = task.x.shape[2:]
        fitting = [b for b in blocks if height % b == 0 and width % b == 0 and 2 * b <= min(height, width)]
        grid += [(cell, task, row, b) for row in task.index("target")[:n_targets].tolist() for b in fitting]
    figure, axes = _sheet(len(grid), len(strengths) + 1)
    rows = []
    for row, (cell, task, target, block) in zip(axes, grid, strict=True):
        image = task.x[target]
        ink = _ink(task)
        _picture(row[0], image, f"{cell.columns()['dataset']}, b = {block}", ink)
        for axis, strength in zip(row[1:], strengths, strict=True):
            rng = generator(cell.seed, "sheet", target)
            copy = to_bytes(kinds["block_mask"](unit(image), torch.tensor([strength]), rng, image[:0], block=block))
            measures = {name: measure(image[None], copy).item() for name, measure in MEASURES.items()}
            _picture(axis, copy[0], f"r = {strength:g}, SSIM {measures['ssim']:.2f}", ink)
            of = {"dataset": cell.columns()["dataset"], "target": target, "label": int(task.y[target])}
            rows.append({**of, "b": block, "r": strength, **measures})
    return _finished(figure), pd.DataFrame(rows)


def f1_kinds(cells: Sequence[Cell], degrees: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet of all kinds: a target, and a copy of each kind at each degree that is asked for ("ssim~0.6").

    cells: one per data set. Where a kind cannot reach the degree, the place stays empty. The last columns show natural
    neighbours: the nearest, the second, ... from row to row, as similar as they are.
    """
    made = [name for name, entry in kinds.items() if not entry.info["natural"] and name != "exact_duplicate"]
    natural = [name for name, entry in kinds.items() if entry.info["natural"]]
    figure, axes = _sheet(len(cells) * len(degrees), 1 + len(made) + len(natural))
    rows = []
    for number, (cell, degree) in enumerate((c, d) for c in cells for d in degrees):
        task, place = study.load_task(cell), number % len(degrees)
        target = task.index("target")[0]
        image, fillers = task.x[target], task.x[task.index("filler")]
        ink = _ink(task)
        _picture(axes[number][0], image, cell.columns()["dataset"], ink)
        found = {kind: _of_degree(cell, kind, image, fillers, degree) for kind in made}
        for kind in natural:
            neighbour = study.load_task(replace(cell, kind=kind, copies=len(degrees), strength=0.0, degree=""))
            found[kind] = neighbour.x[neighbour.index("similar")[place]][None]
        for axis, (kind, copy) in zip(axes[number][1:], found.items(), strict=True):
            if copy is None:
                axis.set_axis_off()
                axis.set_title(f"{kind.replace('_', ' ')}\nout of reach", fontsize=7)
                continue
            measures = {name: measure(image[None], copy).item() for name, measure in MEASURES.items()}
            _picture(axis, copy[0], f"{kind.replace('_', ' ')}\nSSIM {measures['ssim']:.2f}", ink)
            asked = "" if kind in natural else degree
            rows.append({"dataset": cell.columns()["dataset"], "kind": kind, "degree": asked, **measures})
    return _finished(figure), pd.DataFrame(rows)


def _of_degree(cell: Cell, kind: str, image: Tensor, fillers: Tensor, degree: str) -> Tensor | None:
    options = kinds[kind].resolve({})
    try:
        return search(
            lambda at, draw: kinds[kind](unit(image), at, generator(cell.seed, "sheet", draw), fillers, **options),
            image, parse(degree), 1, kind,
        )[0]  # fmt: skip
    except BadValue:
        return None


def _sheet(rows: int, columns: int):
    return plt.subplots(rows, columns, figsize=(1.2 * columns, 1.4 * rows), squeeze=False, layout="constrained")


def _finished(figure: Figure) -> Figure:
    """Out of pyplot's hands, or a notebook would show it twice."""
    plt.close(figure)
    return figure


def _ink(task: SimilarityTask) -> str:
    """The colour map of grey images: what is drawn on black, as digits are, is shown as it was written, on white."""
    return "gray_r" if task.x[task.index("filler")].median() < 32 else "gray"


def _picture(axis, image: Tensor, title: str, ink: str) -> None:
    """image: (channels, height, width) uint8."""
    axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap=ink, vmin=0, vmax=255, interpolation="nearest")
    axis.set_title(title, fontsize=7)
    axis.set_xticks([])
    axis.set_yticks([])


def f2(cells: Sequence[Cell], by: str = "") -> tuple[Figure, pd.DataFrame]:
    """Similarity as measured: targets to their similar samples (one curve per strength; or per kind, if there are
    several), to fillers and to decoys.

    One row of panels per data set, one column per measure; by: whose features are compared, see `tables.t1`.
    """
    if by == "original":
        study.references(cells, ["original"])  # the missing ones are trained together
    seen = {(c.dataset, c.seed): i for i, c in reversed([*enumerate(cells)])}  # fillers and decoys once per seed
    parts = []
    for i, cell in enumerate(cells):
        part = relations(cell, by).assign(dataset=cell.columns()["dataset"], seed=cell.seed)
        part = part.assign(kind=cell.kind, strength=cell.strength)
        parts.append(part if seen[cell.dataset, cell.seed] == i else part[part.relation == "similar"])
    data = pd.concat(parts, ignore_index=True)
    similar = data.relation == "similar"
    if len({cell.kind for cell in cells}) > 1:
        label, palette = data.kind.str.replace("_", " "), "Paired"
    else:
        label, palette = "similar, r = " + data.strength.map("{:g}".format), "flare"
    data["pair"] = label.where(similar, data.relation)
    order = [*sorted(data.pair[similar].unique()), "filler", "decoy"]
    colours = dict(zip(order, [*sns.color_palette(palette, len(order) - 2), "0.45", "0.7"], strict=True))
    measures = [m for m in ("ssim", "pixel_cosine", "feature_cosine") if m in data]
    names = list(dict.fromkeys(data.dataset))
    size = (4.4 * len(measures), 2.9 * len(names))
    figure, axes = plt.subplots(len(names), len(measures), figsize=size, squeeze=False, layout="constrained")
    for row, name in zip(axes, names, strict=True):
        for axis, measure in zip(row, measures, strict=True):
            first = axis is axes[0][0]
            part = data[data.dataset == name]
            sns.ecdfplot(part, x=measure, hue="pair", hue_order=order, palette=colours, ax=axis, legend=first)
            axis.set(xlabel=f"{measure.replace('_', ' ')} to the target", ylabel="share of pairs below", title=name)
    legend = axes[0][0].get_legend()
    labels = [text.get_text() for text in legend.get_texts()]
    legend.remove()
    figure.legend(legend.legend_handles, labels, loc="outside right center", fontsize=9, frameon=False)
    return _finished(figure), data.drop(columns="pair")


def f3(scores: pd.DataFrame, *, strength: float, copies: int, metric: str = "phi") -> tuple[Figure, pd.DataFrame]:
    """Dose-response: residual influence against the number of copies (at `strength`) and against strength (at `copies`).

    One row of panels per data set, size and kind of targets, one line per method, 95% intervals over seeds; a masked rho
    has no point.
    """
    data = rho(scores, metric).reset_index()
    data = data[~data.method.isin(study.BASELINES)]
    of = ["dataset", "train_size", "targets"]
    rank = {t: i for i, t in enumerate(("random", "spread", "hard", "canary"))}
    panels = sorted(data[of].drop_duplicates().itertuples(index=False), key=lambda p: (*p[:2], rank.get(p[2], 9)))
    names = sorted(data.method.unique(), key=lambda m: (m != "retrain", m))  # retrain first, in black
    colours = dict(zip(names, ["black", *sns.color_palette("colorblind", len(names))], strict=False))
    doses = 1 + (data.strength[data.copies > 0].nunique() > 1)  # one strength alone is no dose
    across = 2 // doses  # data sets side by side, then
    shape = {
        "squeeze": False,
        "sharey": True,
        "layout": "constrained",
        "figsize": (9.5, 2.9 * -(-len(panels) // across)),
    }
    figure, axes = plt.subplots(-(-len(panels) // across), 2, **shape)
    rows = axes.reshape(-1, doses)
    for row, panel in zip(rows, panels):
        part = data[(data[of] == list(panel)).all(axis=1)]
        label = f"{panel.dataset} ({panel.train_size:,}), {panel.targets} targets"
        by_copies = part[(part.strength == strength) | (part.copies == 0)]
        _dose(row[0], by_copies, "copies", names, colours, f"{label}, r = {strength:g}")
        row[0].set_xlabel("similar copies per target, m")
        if doses == 2:
            _dose(row[1], part[part.copies == copies], "strength", names, colours, f"{label}, m = {copies}")
            row[1].set_xlabel("share of blocks masked, r")
    for axis in rows[len(panels) :].flatten():
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("residual influence rho")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    return _finished(figure), data[[*CELL, "method", "rho", "rho_low", "rho_high", "n"]]


def f3_size(scores: pd.DataFrame, metric: str = "phi") -> tuple[Figure, pd.DataFrame]:
    """Residual influence of retraining against the size of the training set, one line per data set; 95% intervals."""
    data = rho(scores, metric).reset_index()
    data = data[data.method == "retrain"].sort_values("train_size")
    figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    sizes = {size: place for place, size in enumerate(sorted(data.train_size.unique()))}
    for offset, (name, line) in enumerate(data.dropna(subset="rho").groupby("dataset")):
        spread = line[["rho_low", "rho_high"]].sub(line.rho, axis=0).abs().fillna(0).T.to_numpy()
        axis.errorbar(line.train_size.map(sizes) + 0.06 * offset, line.rho, spread, marker="o", capsize=2, label=name)
    for level in (0, 1):
        axis.axhline(level, color="0.5", lw=1, ls="--", zorder=0)
    axis.set_xticks([*sizes.values()], [f"{size:,}" for size in sizes])
    axis.set(xlabel="size of the training set", ylabel="residual influence rho of retrain")
    if axis.get_legend_handles_labels()[0]:  # none where all are masked
        axis.legend(fontsize=9)
    return _finished(figure), data[[*CELL, "rho", "rho_low", "rho_high", "n"]]


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
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.set_xticks([*places.values()], [f"{v:g}" for v in places])
    axis.set_title(title, fontsize=10)
