"""How much of deleted images can still be read from the weights after unlearning: F4, and of two models' difference."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnkit import study
from unlearnkit.analysis.reconstruction.runs import image_of, pictures
from unlearnkit.figures.dataset_sheets import ink_of, picture
from unlearnkit.figures.style import finished, words
from unlearnkit.images.config import Config

ORDER = {name: i for i, name in enumerate(("original", "", "retrain", "clean"))}  # "": the methods


def plot_reconstructions(
    data: pd.DataFrame, configs: Sequence[Config], n_targets: int = 2, attack: str = "kkt"
) -> tuple[Figure, pd.DataFrame]:
    """Reconstructions: a target, and the best candidate for it from each model; on the right a decoy with the best
    candidate for it from original, which shows the resemblance that comes by chance.

    data: of unlearnkit.analysis.reconstruction.reconstructions over `configs`; attack: "kkt", or "difference", with the
    candidates from each model's difference to original. One row per target of the first seed of each condition, those of
    a data set together; m near-duplicates stay. Below each picture its SSIM and the KKT residual at the samples that were
    trained on; red where the KKT conditions do not hold, so that a failure says nothing. Below a difference: the share of
    it that the targets leave unexplained.
    """
    first = list({_condition(config): config for config in reversed(configs)}.values())[::-1]
    grid = [
        (config, place)
        for config in first
        for place in range(min(n_targets, len(study.load_task(config).index("target"))))
    ]
    data_sets = list(dict.fromkeys(config.columns()["dataset"] for config, _ in grid))
    grid.sort(key=lambda row: (data_sets.index(row[0].columns()["dataset"]), row[1]))
    methods = sorted(
        dict.fromkeys(data[data.attack == attack].method), key=lambda name: ORDER.get(name, ORDER[""])
    )  # in the order of `data`
    with_decoy = attack == "kkt"
    width = 1 + len(methods) + 2 * with_decoy
    size = (1.13 * width, 1.53 * len(grid) + 0.4)
    figure, axes = plt.subplots(len(grid), width, figsize=size, squeeze=False, layout="constrained")
    for number, (row, (config, place)) in enumerate(zip(axes, grid, strict=True)):
        task = study.load_task(config)
        ink, part = ink_of(task), _part(data[data.attack == attack], config)
        target, decoy = (task.index(group)[place].item() for group in ("target", "decoy"))
        picture(row[0], task.x[target], "target", ink)
        row[0].set_ylabel(f"{words(config.columns()['dataset'])}, m = {config.copies}", fontsize=9)
        panels = [(axis, target, method) for axis, method in zip(row[1:], methods)]
        if with_decoy:
            picture(row[-2], task.x[decoy], "decoy", ink)
            panels.append((row[-1], decoy, "original"))
        for axis, sample, method in panels:
            rows = part[(part["sample"] == sample) & (part.method == method)]
            _candidate(axis, rows, f"{'from' if with_decoy else 'less'}\n{words(method)}", task, ink)
        for axis in row:  # titles stand above the first row
            axis.set_title("" if number else axis.get_title(), fontsize=9)
    return finished(figure), data


def _candidate(axis: Axes, rows: pd.DataFrame, title: str, task, ink: str) -> None:
    if not len(rows):  # clean without near-duplicates is retrain; of a difference there may be none
        axis.set(xticks=[], yticks=[], frame_on=False, xlim=(0, 1), ylim=(1, 0), aspect="equal", title=title)
        return
    row = rows.iloc[0]
    image = (pictures(image_of(row)[None], task.x.shape[1:])[0] * 255).round().byte()
    picture(axis, image, title, ink)
    by_weights = row.attack == "kkt"
    residual = f"KKT {row.kkt_residual:.2f}" if by_weights else f"rest {row.reconstruction_residual:.2f}"
    axis.set_xlabel(f"SSIM {row.ssim:.2f}\n{residual}", fontsize=9, labelpad=2)
    if by_weights and not row.converged:
        axis.xaxis.label.set_color("tab:red")


def _condition(config: Config) -> tuple:
    return tuple(v for k, v in config.columns().items() if k != "seed")


def _part(data: pd.DataFrame, config: Config) -> pd.DataFrame:
    columns = config.columns()
    return data[(data[[*columns]] == [*columns.values()]).all(axis=1)]
