"""How similar paraphrases measure: F2-text."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from unlearnkit.analysis.dataset_cards import text_relations
from unlearnkit.figures.style import finished
from unlearnkit.texts.tasks import load_task, resolve

MEASURES = ("rouge_l", "char_cosine", "word_cosine")
NAMES = {
    "rouge_l": "ROUGE-L F",
    "char_cosine": "n-gram cosine of letters",
    "word_cosine": "n-gram cosine of words",
}


def plot_text_similarity(
    conditions: Sequence[dict], sides: Sequence[str] = ("question", "answer")
) -> tuple[Figure, pd.DataFrame]:
    """Similarity as measured: targets to their paraphrases (one curve per strength), to fillers and to decoys.

    conditions: options of `language.tasks.load_task`, of one data set; one row of panels per side, one column per measure.
    The data has a column `pair`: the names of the curves.
    """
    parts, seen = [], set()
    for condition in conditions:
        options = {k: v for k, v in condition.items() if k != "dataset"}
        seed = resolve(options)["seed"]
        part = text_relations(load_task(**condition)).assign(seed=seed)
        parts.append(part if seed not in seen else part[part.relation == "similar"])  # fillers and decoys once per seed
        seen.add(seed)
    data = pd.concat(parts, ignore_index=True)
    similar = data.relation == "similar"
    label = "paraphrase" + data.strength.map(lambda s: "" if pd.isna(s) else f", strength {s:g}")
    data["pair"] = label.where(similar, data.relation)
    order = [*sorted(data.pair[similar].unique()), "filler", "decoy"]
    colours = dict(zip(order, [*sns.color_palette("flare", len(order) - 2), "0.45", "0.7"], strict=True))
    size = (3.7 * len(MEASURES), 2.7 * len(sides))
    figure, axes = plt.subplots(len(sides), len(MEASURES), figsize=size, squeeze=False, layout="constrained")
    for row, side in zip(axes, sides, strict=True):
        for axis, measure in zip(row, MEASURES, strict=True):
            first = axis is axes[0][0]
            look = {"hue": "pair", "hue_order": order, "palette": colours, "legend": first}
            sns.ecdfplot(data, x=f"{side}_{measure}", ax=axis, **look)
            axis.set(xlabel=NAMES[measure], ylabel="share of pairs below", title=side, xlim=(-0.03, 1.03))
    legend = axes[0][0].get_legend()
    labels = [text.get_text() for text in legend.get_texts()]
    legend.remove()
    figure.legend(legend.legend_handles, labels, loc="outside right center", fontsize=9, frameon=False)
    return finished(figure), data
