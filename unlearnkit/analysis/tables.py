"""The tables of the study, each one function over task cards or the tidy score table."""

from collections.abc import Mapping

import pandas as pd

from unlearnkit.core.statistics import CONDITION_COLUMNS, residual_influence, summarise
from unlearnkit.methods import tuned_options as tuned_values

DOSE_COLUMNS = {  # column: metric, group, reference
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "gap_clean": ("avg-gap", "all", "clean"),
    "FA": ("FA", "target", ""),
    "RA": ("RA", "retain", ""),
    "TA": ("TA", "test", ""),
    "MIA": ("MIA", "target", ""),
    "MIA_similar": ("MIA", "similar", ""),
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
    "cosine": ("cosine", "target", ""),
    "fact": ("fact-accuracy", "target", ""),
    "probability": ("probability", "target", ""),
    "truth_ratio": ("truth-ratio", "target", ""),
    "forget_quality": ("forget-quality", "target", "retrain"),
    "exact_memorisation": ("exact-memorisation", "target", ""),
    "extraction_strength": ("extraction-strength", "target", ""),
    "min_k": ("min-k", "target", ""),
    "PrivLeak": ("PrivLeak", "target", "retrain"),
    "utility": ("model-utility", "all", ""),
    "neighbour_cost": ("neighbour-cost", "similar", "original"),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}
TEXT_METRICS = sorted({metric for metric, _, _ in TEXT_COLUMNS.values()} | {"phi", "phi-decoy"})


PROTOCOL_COLUMNS = {  # column: metric, group, reference
    "gap": ("avg-gap", "all", "retrain"),
    "UA": ("UA", "target", ""),
    "RA": ("RA", "retain", ""),
    "TA": ("TA", "test", ""),
    "MIA": ("MIA", "target", ""),
    "ToW": ("ToW", "all", "retrain"),
    "ToW_MIA": ("ToW-MIA", "all", "retrain"),
    "LP": ("LP", "unseen", ""),
    "NMI": ("NMI", "test", ""),
    "CKA": ("CKA", "test", "retrain"),
    "DA": ("DA", "target", ""),
    "k-NN": ("k-NN", "unseen", ""),
    "ES": ("ES", "target", ""),
    "ZRF": ("ZRF", "target", "initial"),
    "KL": ("KL", "target", "retrain"),
    "relearn": ("relearn", "target", ""),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}

FEATURE_COLUMNS = {  # column: metric, group, reference
    "gap": ("avg-gap", "all", "retrain"),
    "UA": ("UA", "target", ""),
    "RA": ("RA", "retain", ""),
    "TA": ("TA", "test", ""),
    "MIA": ("MIA", "target", ""),
    "DA": ("DA", "target", ""),
    "effective_rank": ("effective-rank", "target", ""),
    "LP": ("LP", "unseen", ""),
    "LP_target": ("LP", "target", ""),  # where classes stay; else probes learn from the targets
    "NMI": ("NMI", "test", ""),
    "F1": ("F1", "test", ""),
    "CKA": ("CKA", "test", "retrain"),
    "CKA_target": ("CKA", "target", "retrain"),
    "JS": ("JS", "target", "retrain"),
    "RTE": ("RTE", "all", "retrain"),
    "steps": ("steps", "all", ""),
}
FEATURE_METRICS = sorted({metric for metric, _, _ in FEATURE_COLUMNS.values()})


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
    rho is the residual influence, rho_net the same net of what the model knows of decoys (unlearnkit.core.statistics.residual_influence).
    """
    return _main(scores, DOSE_COLUMNS, {"rho": "phi", "rho_net": "phi-decoy"})


def text_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The main table of language, as `t2`: what is on the targets, except for utility, neighbour cost and cost.

    rho is of how likely the answer is, rho_said of what is said instead (ROUGE-L recall), rho_fact of whether that holds
    the fact, in whatever words; left out where answers have no facts. cosine is of character 3-grams, for which nothing is
    downloaded; that of sentence embeddings is a metric by itself, embedding-cosine.
    """
    of = {"rho": "phi", "rho_net": "phi-decoy", "rho_said": "ROUGE-L", "rho_fact": "fact-accuracy"}
    return _main(scores, TEXT_COLUMNS, {name: metric for name, metric in of.items() if metric in set(scores.metric)})


def _main(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]], rhos: Mapping[str, str]) -> pd.DataFrame:
    there = set(scores.metric)  # answers of some sets have no facts, say
    table = summarise(scores, {name: key for name, key in columns.items() if key[0] in there})
    for name, metric in rhos.items():
        found = residual_influence(scores, metric).drop(columns="n")
        table = table.join(found.rename(columns={c: c.replace("rho", name) for c in found}))
    first = [c for c in table if c.startswith(("gap_", "rho"))]
    return _ordered(table[["n", "diverged", *first, *(c for c in table if c not in (*first, "n", "diverged"))]])


def protocols_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The classical protocols: one row per protocol and method, means over seeds with 95% intervals, all against retrain.
    NMI and CKA are of test samples, of which none is of a forgotten class; LP and k-NN are of what is like the targets.

    scores: the tidy table with a column `protocol`. Methods stand between original and retrain, and the noise floors.
    """
    return _by_protocol(scores, PROTOCOL_COLUMNS).drop(columns=CONDITION_COLUMNS)


def features_table(scores: pd.DataFrame) -> pd.DataFrame:
    """MUDA among all methods: outputs, features and cost, a row per data set, protocol and method; as `t2_protocols`.
    Of a forgotten class LP and CKA_target tell; NMI, F1 and CKA are of test samples, of which none is of it."""
    return _by_protocol(scores, FEATURE_COLUMNS).drop(columns=[name for name in CONDITION_COLUMNS if name != "dataset"])


def _by_protocol(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    parts, there = {}, set(scores.metric)  # some may be asked for outputs alone
    columns = {name: key for name, key in columns.items() if key[0] in there}
    for protocol, part in scores.groupby("protocol", sort=False):
        table = summarise(part, columns)
        parts[protocol] = _ordered(table[["n", "diverged", *(c for c in table if c not in ("n", "diverged"))]])
    return pd.concat(parts, names=["protocol"]).reset_index(level=0).reset_index(drop=True)


def backdoor_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Backdoors: one row per config and method, means over seeds with 95% intervals; original and retrain stand above the
    methods, clean below. ASR is the attack's success on images that no model saw, beside test accuracy. scores: the tidy
    table of configs with backdoor targets."""
    table = summarise(scores, BACKDOOR_COLUMNS)
    return _ordered(table[["n", "diverged", *(c for c in table if c not in ("n", "diverged"))]])


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a config together; methods between the references, original and retrain above them, clean and floors below."""
    order = {name: place for place, name in enumerate(("original", "retrain", "", "clean", "clean-again", "initial"))}
    place = table.index.get_level_values("method").map(lambda m: order.get(m, order[""]))
    table = (
        table.assign(place=place).reset_index().sort_values([*CONDITION_COLUMNS, "place", "method"], ignore_index=True)
    )
    return table.drop(columns="place")


def tuned_table() -> pd.DataFrame:
    """One row per method, dataset and model that was tuned: values, defaults, the gap that was minimised at both (mean
    over n forget sets; the lower for having been selected), trials, and whether the method changed since."""
    found = tuned_values.listing()
    return pd.DataFrame(found, columns=None if found else ["method", "dataset", "model", "values", "defaults"])
