"""How much of deleted images can still be read from the weights after unlearning: F4."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from unlearnkit import study
from unlearnkit.analysis.reconstruction.runs import image_of, pictures
from unlearnkit.figures.dataset_sheets import ink_of, picture
from unlearnkit.figures.style import finished, words
from unlearnkit.images.config import Config

ORDER = {name: i for i, name in enumerate(("original", "", "retrain", "clean"))}  # "": the methods


def plot_reconstructions(data: pd.DataFrame, configs: list[Config], n_targets: int = 3) -> tuple[Figure, pd.DataFrame]:
    """Reconstructions: a target, the best candidate for it from each model and from each difference to original, and on
    the right a decoy with the best candidate for it from original, which shows the resemblance that comes by chance.

    data: of unlearnkit.analysis.reconstruction.reconstructions over `configs`. One row per target of the first seed of
    each condition. Below each picture its SSIM, then two KKT residuals: at the candidates, and at the samples that were
    trained on; red where the KKT conditions do not hold, so that a failure says nothing. Below a difference: of it, at
    the targets.
    """
    first = list({_condition(config): config for config in reversed(configs)}.values())[::-1]
    grid = [
        (config, place)
        for config in first
        for place in range(min(n_targets, len(study.load_task(config).index("target"))))
    ]
    columns = list(dict.fromkeys(data[["attack", "method"]].itertuples(index=False, name=None)))
    columns.sort(key=lambda c: (c[0] != "kkt", ORDER.get(c[1], ORDER[""])))
    width = len(columns) + 3
    size = (1.15 * width, 1.62 * len(grid))
    figure, axes = plt.subplots(len(grid), width, figsize=size, squeeze=False, layout="constrained")
    for number, (row, (config, place)) in enumerate(zip(axes, grid, strict=True)):
        task = study.load_task(config)
        ink, part = ink_of(task), _part(data, config)
        target, decoy = task.index("target")[place].item(), task.index("decoy")[place].item()
        picture(row[0], task.x[target], "target", ink)
        row[0].set_ylabel(f"{config.columns()['dataset']}, m = {config.copies}", fontsize=7)
        picture(row[-2], task.x[decoy], "decoy", ink)
        panels = [(axis, target, *column) for axis, column in zip(row[1:], columns)]
        for axis, sample, attack, method in [*panels, (row[-1], decoy, "kkt", "original")]:
            rows = part[(part["sample"] == sample) & (part.attack == attack) & (part.method == method)]
            title = f"{'difference to' if attack == 'difference' else 'from'}\n{words(method)}"
            _candidate(axis, rows, title, task, ink)
        for axis in row if number else ():  # titles stand above the first row
            axis.set_title("")
    return finished(figure), data


def _candidate(axis, rows: pd.DataFrame, title: str, task, ink: str) -> None:
    if not len(rows):  # clean without near-duplicates is retrain; of a difference there may be none
        axis.set(xticks=[], yticks=[], frame_on=False, xlim=(0, 1), ylim=(1, 0), aspect="equal")
        axis.set_title(title, fontsize=7)
        return
    row = rows.iloc[0]
    image = (pictures(image_of(row)[None], task.x.shape[1:])[0] * 255).round().byte()
    picture(axis, image, title, ink)
    residuals = [row.reconstruction_residual, *([row.kkt_residual] if row.attack == "kkt" else [])]
    below = " | ".join(f"{residual:.2g}" for residual in residuals)
    axis.set_xlabel(f"SSIM {row.ssim:.2f}\n{below}", fontsize=7, labelpad=2)
    if row.attack == "kkt" and not row.converged:
        axis.xaxis.label.set_color("tab:red")


def _condition(config: Config) -> tuple:
    return tuple(v for k, v in config.columns().items() if k != "seed")


def _part(data: pd.DataFrame, config: Config) -> pd.DataFrame:
    columns = config.columns()
    return data[(data[[*columns]] == [*columns.values()]).all(axis=1)]
