"""Pairs of sentences whose similarity people have judged: MRPC (a paraphrase or not) and SICK (how related, from 1 to
5).

They show how well a measure of similarity agrees with people. Read from `UNLEARNKIT_DATA`/text-pairs/, test parts only.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from data_builders.texts.similarity import MEASURES, Encoder, embedding_cosine
from unlearnkit.core import paths
from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue

FILES = {  # file, first sentence, second sentence, judgement, number of pairs
    "MRPC": ("msr_paraphrase_test.txt", "#1 String", "#2 String", "Quality", 1725),
    "SICK": ("SICK_test_annotated.txt", "sentence_A", "sentence_B", "relatedness_score", 4927),
}
DRAWS = 200  # of the bootstrap


def folder() -> Path:
    return paths.data() / "text-pairs"


def available() -> list[str]:
    """The sets whose file is in the data folder."""
    return [name for name, (file, *_) in FILES.items() if (folder() / file).is_file()]


def read(name: str) -> pd.DataFrame:
    """Columns a, b (sentences) and judgement. Raises BadValue for another file than the published one."""
    file, a, b, judgement, n = FILES[name]
    try:
        table = pd.read_csv(folder() / file, sep="\t", quoting=csv.QUOTE_NONE, encoding="utf-8-sig")
        table = table[[a, b, judgement]].set_axis(["a", "b", "judgement"], axis=1)
    except (OSError, ValueError, KeyError) as error:
        raise BadValue(f"{file} cannot be read as {name}'s test part: {error}") from error
    if len(table) != n:
        raise BadValue(f"{file} has {len(table)} pairs, {name}'s test part has {n}")
    return table


def agreement(encode: Encoder | None = None) -> pd.DataFrame:
    """Agreement of each measure with people: AUC on MRPC (0.5 is chance), Spearman's rank correlation on SICK (0 is
    chance).

    One row per set and measure; value, low, high: with a 95% percentile bootstrap interval over the n pairs. Sets that
    are not in the data folder are left out.
    """
    functions = dict(MEASURES)
    if encode:
        functions["embedding_cosine"] = lambda x, y: embedding_cosine(x, y, encode)
    rows = []
    for name in available():
        table = read(name)
        score, statistic = (auc, "AUC") if name == "MRPC" else (spearman, "Spearman")
        judgement = table.judgement.to_numpy(float)
        rng = np.random.default_rng(derive(0, "bootstrap", name))
        draws = [rng.integers(len(table), size=len(table)) for _ in range(DRAWS)]
        for measure, function in functions.items():
            values = function(list(table.a), list(table.b))
            low, high = np.percentile([score(values[i], judgement[i]) for i in draws], [2.5, 97.5])
            row = {"set": name, "statistic": statistic, "measure": measure, "value": score(values, judgement)}
            rows.append(row | {"low": low, "high": high, "n": len(table)})
    return pd.DataFrame(rows, columns=["set", "statistic", "measure", "value", "low", "high", "n"])


def ranks(v: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share their mean rank."""
    return pd.Series(v).rank().to_numpy()


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a positive pair scores above a negative one; ties count half (Mann-Whitney)."""
    is_positive = positive > 0
    n, m = int(is_positive.sum()), int((~is_positive).sum())
    return float((ranks(scores)[is_positive].sum() - n * (n + 1) / 2) / (n * m))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
