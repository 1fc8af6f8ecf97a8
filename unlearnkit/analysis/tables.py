"""The tables of the study, each one function over task cards or the tidy score table."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from unlearnkit import study
from unlearnkit.methods import tuned_options as tuned_values
from unlearnkit.images.config import Cell
from unlearnkit.study.reference_models import feature_cosine, measured_pairs, references
from data_builders.similarity import MEASURES
from unlearnkit.core.statistics import CELL, rho, summarise
from data_builders.task import ROLES

T2_COLUMNS = {  # column: metric, group, reference
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

T3_COLUMNS = {  # column: metric, group, reference
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
T3_METRICS = sorted({metric for metric, _, _ in T3_COLUMNS.values()} | {"phi", "phi-decoy"})


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

T5_COLUMNS = {  # column: metric, group, reference
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
T5_METRICS = sorted({metric for metric, _, _ in T5_COLUMNS.values()})


T7_COLUMNS = {  # column: metric, group, reference
    "ASR": ("ASR", "decoy", ""),
    "ASR_targets": ("ASR", "target", ""),
    "TA": ("TA", "test", ""),
    "RA": ("RA", "retain", ""),
    "gap_retrain": ("avg-gap", "all", "retrain"),
    "RTE": ("RTE", "all", "retrain"),
}


def t1(cells: Sequence[Cell], by: str = "") -> pd.DataFrame:
    """Dataset cards: one row per task condition, over its seeds; column `run` names the stored tasks.

    Each measure: mean over all target-similar pairs of all seeds, and its 5th and 95th percentile over pairs. by: whose
    features are compared, too: "original", a torchvision classifier, or "" for none (no model is then trained).
    """
    if by == "original":
        references(cells, ["original"])  # the missing ones are trained together
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(v for k, v in cell.columns().items() if k != "seed"), []).append(cell)
    rows = []
    for members in groups.values():
        tasks, artefacts = [study.load_task(c) for c in members], [study.task_artefact(c) for c in members]
        pairs = pd.concat([_target_pairs(c, by) for c in members])
        row = {k: v for k, v in members[0].columns().items() if k not in ("seed", "architecture")}
        row |= {"seeds": len(members), "classes": tasks[0].n_classes}
        row |= {f"n_{role}": len(tasks[0].index(role)) for role in ROLES if role != "decoy_similar"}
        row["n_train"] = row["n_target"] + row["n_similar"] + row["n_filler"]
        for measure in (*MEASURES, "feature_cosine"):
            values = pairs[measure] if measure in pairs else pd.Series(dtype=float)
            row[measure] = values.mean()
            for p in (5, 95):  # some pair's, not between two: the psnr of equal images is infinite
                row[f"{measure}_p{p}"] = values.quantile(p / 100, interpolation="nearest")
        row["exact_copies"] = int((pairs["ssim"] >= 1).sum())
        row["licence"] = tasks[0].facts.get("licence", "")
        row["raw_digest"] = tasks[0].facts.get("raw_digest", "")
        row["digests"] = " ".join(a.info["digest"] for a in artefacts)
        rows.append(row | {"run": " ".join(a.key for a in artefacts)})
    return pd.DataFrame(rows)


def t2(scores: pd.DataFrame) -> pd.DataFrame:
    """The main table of study I: one row per cell and method, means over seeds with 95% intervals.

    Methods stand between the references: original and retrain above them, clean and its noise floor below.
    rho is the residual influence, rho_net the same net of what the model knows of decoys (unlearnkit.core.statistics.rho).
    """
    return _main(scores, T2_COLUMNS, {"rho": "phi", "rho_net": "phi-decoy"})


def t3(scores: pd.DataFrame) -> pd.DataFrame:
    """The main table of language, as `t2`: what is on the targets, except for utility, neighbour cost and cost.

    rho is of how likely the answer is, rho_said of what is said instead (ROUGE-L recall), rho_fact of whether that holds
    the fact, in whatever words; left out where answers have no facts. cosine is of character 3-grams, for which nothing is
    downloaded; that of sentence embeddings is a metric by itself, embedding-cosine.
    """
    of = {"rho": "phi", "rho_net": "phi-decoy", "rho_said": "ROUGE-L", "rho_fact": "fact-accuracy"}
    return _main(scores, T3_COLUMNS, {name: metric for name, metric in of.items() if metric in set(scores.metric)})


def _main(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]], rhos: Mapping[str, str]) -> pd.DataFrame:
    there = set(scores.metric)  # answers of some sets have no facts, say
    table = summarise(scores, {name: key for name, key in columns.items() if key[0] in there})
    for name, metric in rhos.items():
        found = rho(scores, metric).drop(columns="n")
        table = table.join(found.rename(columns={c: c.replace("rho", name) for c in found}))
    first = [c for c in table if c.startswith(("gap_", "rho"))]
    return _ordered(table[["n", "diverged", *first, *(c for c in table if c not in (*first, "n", "diverged"))]])


def t2_protocols(scores: pd.DataFrame) -> pd.DataFrame:
    """The classical protocols: one row per protocol and method, means over seeds with 95% intervals, all against retrain.
    NMI and CKA are of test samples, of which none is of a forgotten class; LP and k-NN are of what is like the targets.

    scores: the tidy table with a column `protocol`. Methods stand between original and retrain, and the noise floors.
    """
    return _by_protocol(scores, PROTOCOL_COLUMNS).drop(columns=CELL)


def t5(scores: pd.DataFrame) -> pd.DataFrame:
    """MUDA among all methods: outputs, features and cost, a row per data set, protocol and method; as `t2_protocols`.
    Of a forgotten class LP and CKA_target tell; NMI, F1 and CKA are of test samples, of which none is of it."""
    return _by_protocol(scores, T5_COLUMNS).drop(columns=[name for name in CELL if name != "dataset"])


def _by_protocol(scores: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    parts, there = {}, set(scores.metric)  # some may be asked for outputs alone
    columns = {name: key for name, key in columns.items() if key[0] in there}
    for protocol, part in scores.groupby("protocol", sort=False):
        table = summarise(part, columns)
        parts[protocol] = _ordered(table[["n", "diverged", *(c for c in table if c not in ("n", "diverged"))]])
    return pd.concat(parts, names=["protocol"]).reset_index(level=0).reset_index(drop=True)


def t7(scores: pd.DataFrame) -> pd.DataFrame:
    """Backdoors: one row per cell and method, means over seeds with 95% intervals; original and retrain stand above the
    methods, clean below. ASR is the attack's success on images that no model saw, beside test accuracy. scores: the tidy
    table of cells with backdoor targets."""
    table = summarise(scores, T7_COLUMNS)
    return _ordered(table[["n", "diverged", *(c for c in table if c not in ("n", "diverged"))]])


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a cell together; methods between the references, original and retrain above them, clean and floors below."""
    order = {name: place for place, name in enumerate(("original", "retrain", "", "clean", "clean-again", "initial"))}
    place = table.index.get_level_values("method").map(lambda m: order.get(m, order[""]))
    table = table.assign(place=place).reset_index().sort_values([*CELL, "place", "method"], ignore_index=True)
    return table.drop(columns="place")


def tuned() -> pd.DataFrame:
    """One row per method, dataset and model that was tuned: values, defaults, the gap that was minimised at both (mean
    over n forget sets; the lower for having been selected), trials, and whether the method changed since."""
    found = tuned_values.listing()
    return pd.DataFrame(found, columns=None if found else ["method", "dataset", "model", "values", "defaults"])


def relations(cell: Cell, by: str = "", fillers: int = 50) -> pd.DataFrame:
    """How similar a target is to its similar samples, to fillers (the first `fillers`) and to decoys: the data of F2.

    Returns columns relation, target (row number), strength, and one per measure; by: see `t1`.
    """
    task = study.load_task(cell)
    target, parts = task.index("target"), []
    if len(task.pairs):
        parts.append(_target_pairs(cell, by).rename(columns={"anchor": "target"}).assign(relation="similar"))
    for role in ("filler", "decoy"):
        other = task.index(role)[:fillers]
        a, b = (v.flatten() for v in torch.meshgrid(target, other, indexing="ij"))
        values = {name: measure(task.x[a], task.x[b]).numpy() for name, measure in MEASURES.items()}
        if by:
            values["feature_cosine"] = feature_cosine(cell, a.numpy(), b.numpy(), by)
        parts.append(pd.DataFrame({"target": a.numpy(), **values}).assign(relation=role))
    table = pd.concat(parts, ignore_index=True)
    return table[["relation", "target", *(["strength"] if "strength" in table else []), *_measures(table)]]


def _measures(table: pd.DataFrame) -> list[str]:
    return [m for m in (*MEASURES, "feature_cosine") if m in table]


def _target_pairs(cell: Cell, by: str) -> pd.DataFrame:
    pairs = measured_pairs(cell, by)
    return pairs[pairs.anchor.isin(study.load_task(cell).index("target").tolist())]
