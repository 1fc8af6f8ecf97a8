"""Near-duplicates as pictures, and how similar they measure: F1, F2."""

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
from unlearnkit.figures.style import finished, move_legend_outside, words
from unlearnkit.images.config import Config
from unlearnkit.study.reference_models import references


def plot_sample_sheet(
    configs: Sequence[Config], blocks: Sequence[int], strengths: Sequence[float], n_targets: int = 1
) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet: targets (first column) beside one masked copy per strength, one row per block size and data set.
    Data columns: dataset, target, label, block_size, masked_share, and the measures of similarity.

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
            measures = _measures(image, copy)
            picture(axis, copy[0], f"r = {strength:g}, SSIM {measures['ssim']:.2f}", ink)
            columns = {"dataset": config.columns()["dataset"], "target": target, "label": int(task.y[target])}
            rows.append({**columns, "block_size": block, "masked_share": strength, **measures})
    return finished(figure), pd.DataFrame(rows)


def plot_perturbation_sheet(configs: Sequence[Config], levels: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Sample sheet of all perturbations: a target, and a copy by each perturbation at each similarity level that is
    asked for ("ssim~0.6").

    configs: one per data set. Where a perturbation cannot reach the level, the place stays empty. The last columns show
    natural neighbours: the nearest, the second, ... from row to row, as similar as they are.
    """
    made = [name for name, entry in perturbations.items() if not entry.info["natural"] and name != "exact_duplicate"]
    natural = [name for name, entry in perturbations.items() if entry.info["natural"]]
    figure, axes = _sheet(len(configs) * len(levels), 1 + len(made) + len(natural))
    rows = []
    for number, (config, level) in enumerate((config, level) for config in configs for level in levels):
        task, place, dataset = study.load_task(config), number % len(levels), config.columns()["dataset"]
        target = task.index("target")[0]
        image, others = task.x[target], task.x[task.index("filler")]
        ink = ink_of(task)
        picture(axes[number][0], image, dataset, ink)
        copies = {kind: _at_level(config, kind, image, others, level) for kind in made}
        for kind in natural:
            options = {"perturbation": kind, "copies": len(levels), "strength": 0.0, "similarity_level": ""}
            neighbours = study.load_task(replace(config, **options))
            copies[kind] = neighbours.x[neighbours.index("similar")[place]][None]
        for axis, (kind, copy) in zip(axes[number][1:], copies.items(), strict=True):
            if copy is None:
                axis.set_axis_off()
                axis.set_title(f"{words(kind)}\nout of reach", fontsize=7)
                continue
            measures = _measures(image, copy)
            picture(axis, copy[0], f"{words(kind)}\nSSIM {measures['ssim']:.2f}", ink)
            columns = {"dataset": dataset, "perturbation": kind, "similarity_level": "" if kind in natural else level}
            rows.append({**columns, **measures})
    return finished(figure), pd.DataFrame(rows)


def _measures(image: Tensor, copy: Tensor) -> dict[str, float]:
    return {name: measure(image[None], copy).item() for name, measure in MEASURES.items()}


def _at_level(config: Config, kind: str, image: Tensor, others: Tensor, level: str) -> Tensor | None:
    options = perturbations[kind].resolve({})
    try:
        return search(
            lambda strength, draw: perturbations[kind](
                unit(image), strength, generator(config.seed, "sheet", draw), others, **options
            ),
            image, parse(level), 1, kind,
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


def plot_similarity(configs: Sequence[Config], features_from: str = "") -> tuple[Figure, pd.DataFrame]:
    """Similarity as measured: targets to their near-duplicates (one curve per strength; or per perturbation, if there
    are several), to other retained samples and to decoys.

    One row of panels per data set, one column per measure; features_from: whose features are compared, see
    unlearnkit.analysis.dataset_cards.dataset_cards.
    """
    if features_from == "original":
        references(configs, ["original"])  # the missing ones are trained together
    first = {(c.dataset, c.seed): i for i, c in reversed([*enumerate(configs)])}
    parts = []
    for i, config in enumerate(configs):
        part = relations(config, features_from).assign(dataset=config.columns()["dataset"], seed=config.seed)
        part = part.assign(perturbation=config.perturbation, strength=config.strength)
        once = first[config.dataset, config.seed] == i  # other retained samples and decoys once per seed
        parts.append(part if once else part[part.relation == "similar"])
    data = pd.concat(parts, ignore_index=True)
    similar = data.relation == "similar"
    if len({config.perturbation for config in configs}) > 1:
        label, palette = data.perturbation.map(words), "Paired"
    else:
        label, palette = "near-duplicate, r = " + data.strength.map("{:g}".format), "flare"
    data["pair"] = label.where(similar, data.relation)
    order = [*sorted(data.pair[similar].unique()), "filler", "decoy"]
    colours = dict(zip(order, [*sns.color_palette(palette, len(order) - 2), "0.45", "0.7"], strict=True))
    measures = [m for m in ("ssim", "pixel_cosine", "feature_cosine") if m in data]
    names = list(dict.fromkeys(data.dataset))
    size = (4.4 * len(measures), 2.9 * len(names))
    figure, axes = plt.subplots(len(names), len(measures), figsize=size, squeeze=False, layout="constrained")
    for row, name in zip(axes, names, strict=True):
        for axis, measure in zip(row, measures, strict=True):
            style = {"hue": "pair", "hue_order": order, "palette": colours, "legend": axis is axes[0][0]}
            sns.ecdfplot(data[data.dataset == name], x=measure, ax=axis, **style)
            axis.set(xlabel=f"{words(measure)} to the target", ylabel="share of pairs below", title=name)
    move_legend_outside(figure, axes[0][0])
    return finished(figure), data.drop(columns="pair")
