"""What similar samples look like, and how similar they measure: F1, F2."""

from collections.abc import Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from data_builders import to_bytes
from data_builders.perturbations import perturbations
from data_builders.similarity import MEASURES
from data_builders.similarity_level import parse, search
from data_builders.task import SimilarityTask, unit
from unlearnkit import study
from unlearnkit.analysis.dataset_cards import relations
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue
from unlearnkit.figures.style import finished
from unlearnkit.images.config import Config
from unlearnkit.study.reference_models import references


def plot_sample_sheet(
    configs: Sequence[Config], blocks: Sequence[int], strengths: Sequence[float], n_targets: int = 1
) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet: targets (first column) beside one masked copy per strength, one row per block size and data set.

    configs: one per data set; blocks that do not divide its images at least twice are left out.
    """
    grid = []
    for config in configs:
        task = study.load_task(config)
        height, width = task.x.shape[2:]
        fitting = [b for b in blocks if height % b == 0 and width % b == 0 and 2 * b <= min(height, width)]
        grid += [(config, task, row, b) for row in task.index("target")[:n_targets].tolist() for b in fitting]
    figure, axes = _sheet(len(grid), len(strengths) + 1)
    rows = []
    for row, (config, task, target, block) in zip(axes, grid, strict=True):
        image = task.x[target]
        ink = ink_of(task)
        picture(row[0], image, f"{config.columns()['dataset']}, b = {block}", ink)
        for axis, strength in zip(row[1:], strengths, strict=True):
            rng = generator(config.seed, "sheet", target)
            copy = to_bytes(
                perturbations["block_mask"](unit(image), torch.tensor([strength]), rng, image[:0], block=block)
            )
            measures = {name: measure(image[None], copy).item() for name, measure in MEASURES.items()}
            picture(axis, copy[0], f"r = {strength:g}, SSIM {measures['ssim']:.2f}", ink)
            of = {"dataset": config.columns()["dataset"], "target": target, "label": int(task.y[target])}
            rows.append({**of, "b": block, "r": strength, **measures})
    return finished(figure), pd.DataFrame(rows)


def plot_perturbation_sheet(configs: Sequence[Config], degrees: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet of all kinds: a target, and a copy of each kind at each degree that is asked for ("ssim~0.6").

    configs: one per data set. Where a kind cannot reach the degree, the place stays empty. The last columns show natural
    neighbours: the nearest, the second, ... from row to row, as similar as they are.
    """
    made = [name for name, entry in perturbations.items() if not entry.info["natural"] and name != "exact_duplicate"]
    natural = [name for name, entry in perturbations.items() if entry.info["natural"]]
    figure, axes = _sheet(len(configs) * len(degrees), 1 + len(made) + len(natural))
    rows = []
    for number, (config, similarity_level) in enumerate((c, d) for c in configs for d in degrees):
        task, place = study.load_task(config), number % len(degrees)
        target = task.index("target")[0]
        image, fillers = task.x[target], task.x[task.index("filler")]
        ink = ink_of(task)
        picture(axes[number][0], image, config.columns()["dataset"], ink)
        found = {kind: _of_degree(config, kind, image, fillers, similarity_level) for kind in made}
        for kind in natural:
            neighbour = study.load_task(
                replace(config, perturbation=kind, copies=len(degrees), strength=0.0, similarity_level="")
            )
            found[kind] = neighbour.x[neighbour.index("similar")[place]][None]
        for axis, (kind, copy) in zip(axes[number][1:], found.items(), strict=True):
            if copy is None:
                axis.set_axis_off()
                axis.set_title(f"{kind.replace('_', ' ')}\nout of reach", fontsize=7)
                continue
            measures = {name: measure(image[None], copy).item() for name, measure in MEASURES.items()}
            picture(axis, copy[0], f"{kind.replace('_', ' ')}\nSSIM {measures['ssim']:.2f}", ink)
            asked = "" if kind in natural else similarity_level
            rows.append(
                {"dataset": config.columns()["dataset"], "perturbation": kind, "similarity_level": asked, **measures}
            )
    return finished(figure), pd.DataFrame(rows)


def _of_degree(config: Config, kind: str, image: Tensor, fillers: Tensor, similarity_level: str) -> Tensor | None:
    options = perturbations[kind].resolve({})
    try:
        return search(
            lambda at, draw: perturbations[kind](unit(image), at, generator(config.seed, "sheet", draw), fillers, **options),
            image, parse(similarity_level), 1, kind,
        )[0]  # fmt: skip
    except BadValue:
        return None


def _sheet(rows: int, columns: int):
    return plt.subplots(rows, columns, figsize=(1.2 * columns, 1.4 * rows), squeeze=False, layout="constrained")


def ink_of(task: SimilarityTask) -> str:
    """The colour map of grey images: what is drawn on black, as digits are, is shown as it was written, on white."""
    return "gray_r" if task.x[task.index("filler")].median() < 32 else "gray"


def picture(axis, image: Tensor, title: str, ink: str) -> None:
    """image: (channels, height, width) uint8."""
    axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap=ink, vmin=0, vmax=255, interpolation="nearest")
    axis.set_title(title, fontsize=7)
    axis.set_xticks([])
    axis.set_yticks([])


def plot_similarity(configs: Sequence[Config], by: str = "") -> tuple[Figure, pd.DataFrame]:
    """Similarity as measured: targets to their similar samples (one curve per strength; or per kind, if there are
    several), to fillers and to decoys.

    One row of panels per data set, one column per measure; by: whose features are compared, see `tables.t1`.
    """
    if by == "original":
        references(configs, ["original"])  # the missing ones are trained together
    seen = {(c.dataset, c.seed): i for i, c in reversed([*enumerate(configs)])}  # fillers and decoys once per seed
    parts = []
    for i, config in enumerate(configs):
        part = relations(config, by).assign(dataset=config.columns()["dataset"], seed=config.seed)
        part = part.assign(perturbation=config.perturbation, strength=config.strength)
        parts.append(part if seen[config.dataset, config.seed] == i else part[part.relation == "similar"])
    data = pd.concat(parts, ignore_index=True)
    similar = data.relation == "similar"
    if len({config.perturbation for config in configs}) > 1:
        label, palette = data.perturbation.str.replace("_", " "), "Paired"
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
    return finished(figure), data.drop(columns="pair")
