"""How similar paraphrases measure: F2-text."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.dataset_cards import relations
from unlearnkit.figures.style import finished, move_legend_outside
from unlearnkit.texts.config import TextConfig

MEASURES = ("rouge_l", "char_cosine", "word_cosine")
NAMES = {
    "rouge_l": "ROUGE-L F",
    "char_cosine": "n-gram cosine of letters",
    "word_cosine": "n-gram cosine of words",
}


def plot_text_similarity(
    configs: Sequence[TextConfig], sides: Sequence[str] = ("question", "answer")
) -> tuple[Figure, pd.DataFrame]:
    """Similarity as measured: targets to their paraphrases (one curve per strength), to other retained pairs and to
    decoys.

    configs: of one data set; one row of panels per side, one column per measure. The data has a column `pair`: the
    names of the curves.
    """
    parts, seeds = [], set()
    for config in configs:
        part = relations(config).assign(seed=config.seed)
        first = config.seed not in seeds  # other retained pairs and decoys once per seed
        parts.append(part if first else part[part.relation == "similar"])
        seeds.add(config.seed)
    data = pd.concat(parts, ignore_index=True)
    similar = data.relation == "similar"
    strength = data.get(
        "strength", pd.Series(index=data.index, dtype=float)
    )  # no column where there are no paraphrases
    label = "paraphrase" + strength.map(lambda s: "" if pd.isna(s) else f", strength {s:g}")
    data["pair"] = label.where(similar, data.relation)
    order = [*sorted(data.pair[similar].unique()), "filler", "decoy"]
    colours = dict(zip(order, [*sns.color_palette("flare", len(order) - 2), "0.45", "0.7"], strict=True))
    size = (3.7 * len(MEASURES), 2.7 * len(sides))
    figure, axes = plt.subplots(len(sides), len(MEASURES), figsize=size, squeeze=False, layout="constrained")
    for row, side in zip(axes, sides, strict=True):
        for axis, measure in zip(row, MEASURES, strict=True):
            first = axis is axes[0][0]
            style = {"hue": "pair", "hue_order": order, "palette": colours, "legend": first}
            sns.ecdfplot(data, x=f"{side}_{measure}", ax=axis, **style)
            axis.set(xlabel=NAMES[measure], ylabel="share of pairs below", title=side, xlim=(-0.03, 1.03))
    move_legend_outside(figure, axes[0][0])
    return finished(figure), data
