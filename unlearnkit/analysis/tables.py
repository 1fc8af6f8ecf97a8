"""The main tables of the study, each one function over the tidy score table."""

from collections.abc import Mapping

import pandas as pd

from unlearnkit.core.statistics import CONDITION_COLUMNS, in_row_order, residual_influence, summarise
from unlearnkit.methods import tuned_options

INFLUENCES = {"residual_influence": "influence", "residual_influence_rank": "influence-rank"}  # column: metric
DOSE_COLUMNS = {  # column: metric, group, reference
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "gap_clean": ("avg-gap", "all", "clean"),
    "FA": ("FA", "target", ""),
    "RA": ("RA", "retain", ""),
    "TA": ("TA", "test", ""),
    "MIA": ("MIA", "target", ""),
    "MIA_near_duplicate": ("MIA", "similar", ""),
    "MIA_loss": ("MIA-loss", "target", ""),
    "JS_retrain": ("JS", "target", "retrain"),
    "JS_clean": ("JS", "target", "clean"),
    "ToW_retrain": ("ToW", "all", "retrain"),
    "ToW_clean": ("ToW", "all", "clean"),
    "neighbour_cost": ("neighbour-cost", "similar", "original"),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}

TEXT_COLUMNS = {  # column: metric, group, reference
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "gap_clean": ("avg-gap", "all", "clean"),
    "NLL": ("loss", "target", ""),
    "ROUGE_L": ("ROUGE-L", "target", ""),
    "char_cosine": ("cosine", "target", ""),
    "fact_accuracy": ("fact-accuracy", "target", ""),
    "probability": ("probability", "target", ""),
    "truth_ratio": ("truth-ratio", "target", ""),
    "forget_quality": ("forget-quality", "target", "retrain"),
    "exact_memorisation": ("exact-memorisation", "target", ""),
    "extraction_strength": ("extraction-strength", "target", ""),
    "min_k": ("min-k", "target", ""),
    "PrivLeak": ("PrivLeak", "target", "retrain"),
    "model_utility": ("model-utility", "all", ""),
    "neighbour_cost": ("neighbour-cost", "similar", "original"),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}
TEXT_METRICS = sorted({metric for metric, _, _ in TEXT_COLUMNS.values()} | {*INFLUENCES.values()})


PROTOCOL_COLUMNS = {  # column: metric, group, reference
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "UA": ("UA", "target", ""),
    "RA": ("RA", "retain", ""),
    "TA": ("TA", "test", ""),
    "MIA": ("MIA", "target", ""),
    "ToW": ("ToW", "all", "retrain"),
    "ToW_MIA": ("ToW-MIA", "all", "retrain"),
    "LP": ("LP", "unseen", ""),
    "NMI": ("NMI", "held-out", ""),
    "CKA": ("CKA", "held-out", "retrain"),
    "DA": ("DA", "target", ""),
    "k-NN": ("k-NN", "unseen", ""),
    "ES": ("ES", "target", ""),
    "ZRF": ("ZRF", "target", "initial"),
    "KL": ("KL", "target", "retrain"),
    "relearn_steps": ("relearn", "target", ""),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}

FEATURE_COLUMNS = {  # column: metric, group, reference
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "UA": ("UA", "target", ""),
    "RA": ("RA", "retain", ""),
    "TA": ("TA", "test", ""),
    "MIA": ("MIA", "target", ""),
    "ToW": ("ToW", "all", "retrain"),
    "DA": ("DA", "target", ""),
    "effective_rank": ("effective-rank", "target", ""),
    "LP": ("LP", "unseen", ""),
    "LP_target": ("LP", "target", ""),  # where classes stay; else probes learn from the targets
    "k-NN": ("k-NN", "unseen", ""),
    "NMI": ("NMI", "held-out", ""),
    "F1": ("F1", "held-out", ""),
    "CKA": ("CKA", "held-out", "retrain"),
    "CKA_target": ("CKA", "target", "retrain"),
    "JS": ("JS", "target", "retrain"),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}
FEATURE_METRICS = sorted({metric for metric, _, _ in FEATURE_COLUMNS.values()})
# what T2-protocols, costs and published numbers need beside these, which are scored apart: T5 takes them of the same models
PROTOCOL_METRICS = sorted(
    {"MIA-loss", "seconds", *(metric for metric, _, _ in PROTOCOL_COLUMNS.values())} - {*FEATURE_METRICS}
)


BACKDOOR_COLUMNS = {  # column: metric, group, reference
    "ASR": ("ASR", "decoy", ""),
    "ASR_targets": ("ASR", "target", ""),
    "TA": ("TA", "test", ""),
    "RA": ("RA", "retain", ""),
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "RTE": ("RTE", "all", "retrain"),
}


def dose_response_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The main table of study I: one row per config and method, means over seeds with 95% intervals.

    Methods stand between the references: original and retrain above them, clean and its noise floor below.
    residual_influence_rank is by the rank of targets among decoys (unlearnkit.core.statistics.residual_influence).
    """
    return _influence_table(scores, DOSE_COLUMNS, INFLUENCES)


def text_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The main table of texts, as `dose_response_table`: every metric is of the targets, except for model_utility,
    neighbour_cost and cost.

    residual_influence is of how likely the answer is, residual_influence_rouge of the generated answer (ROUGE-L
    recall), residual_influence_fact of whether that holds the fact, in whatever words; left out where answers have no
    facts. char_cosine is of character 3-grams, for which nothing is downloaded; that of sentence embeddings is a metric
    by itself, embedding-cosine.
    """
    influences = INFLUENCES | {
        "residual_influence_rouge": "ROUGE-L",
        "residual_influence_fact": "fact-accuracy",
    }
    known = set(scores.metric)
    return _influence_table(scores, TEXT_COLUMNS, {name: m for name, m in influences.items() if m in known})


def _influence_table(
    scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]], influences: Mapping[str, str]
) -> pd.DataFrame:
    table = summarise(scores, with_scores(columns, scores))
    for name, metric in influences.items():
        found = residual_influence(scores, metric, name).drop(columns="n_seeds")
        table = table.join(found.drop(columns=[c for c in ("learnt",) if c in table]))
    first = [c for c in table if c.startswith(("learnt", "gap_", "residual_influence"))]
    return in_row_order(_counts_first(table, first))


def with_scores(columns: Mapping[str, tuple[str, str, str]], scores: pd.DataFrame) -> dict:
    """The columns whose metric is among the scores: answers of some sets have no facts, and some scores are of outputs
    alone."""
    known = set(scores.metric)
    return {name: key for name, key in columns.items() if key[0] in known}


def _counts_first(table: pd.DataFrame, first: list[str] | None = None) -> pd.DataFrame:
    first = ["n_seeds", "n_diverged", *(first or [])]
    return table[[*first, *(c for c in table if c not in first)]]


def protocols_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The classical protocols: one row per protocol and method, means over seeds with 95% intervals, all against
    retrain. NMI and CKA are of held-out samples of all classes, the forgotten one included; LP and k-NN of those like the
    targets.

    scores: the tidy table with a column `protocol`. Methods stand between original and retrain, and the noise floors.
    """
    return _by_protocol(scores, PROTOCOL_COLUMNS).drop(columns=CONDITION_COLUMNS)


def features_table(scores: pd.DataFrame) -> pd.DataFrame:
    """MUDA among all methods: outputs, features and cost, one row per data set, network, protocol and method; as
    `protocols_table`. LP and k-NN are of held-out samples like the targets, CKA_target of the targets; NMI, F1 and CKA
    of held-out samples of all classes."""
    table = _by_protocol(scores, FEATURE_COLUMNS)
    return table.drop(columns=[name for name in CONDITION_COLUMNS if name not in ("dataset", "architecture")])


def _by_protocol(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    columns = with_scores(columns, scores)
    parts = {
        protocol: in_row_order(_counts_first(summarise(part, columns)))
        for protocol, part in scores.groupby("protocol", sort=False)
    }
    return pd.concat(parts, names=["protocol"]).reset_index(level=0).reset_index(drop=True)


def backdoor_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Backdoors: one row per config and method, means over seeds with 95% intervals; original and retrain stand above
    the methods, clean below. ASR is the attack's success on images that no model saw, beside test accuracy. scores: the
    tidy table of configs with backdoor targets."""
    return in_row_order(_counts_first(summarise(scores, with_scores(BACKDOOR_COLUMNS, scores))))


def tuned_table() -> pd.DataFrame:
    """One row per method, dataset and model that was tuned: values, defaults, the gap that was minimised at both (mean
    over n forget sets; the lower for having been selected), trials, and whether the method changed since."""
    rows = tuned_options.listing()
    return pd.DataFrame(rows, columns=None if rows else ["method", "dataset", "model", "values", "defaults"])
