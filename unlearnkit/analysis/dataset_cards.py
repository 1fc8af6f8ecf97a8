"""The tables of texts: T1-text (cards), T1-text-sheet (targets beside paraphrases), and the data of F2-text."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from data_builders.similarity import MEASURES
from data_builders.task import ROLES
from data_builders.texts.similarity import Encoder, columns, pair_similarities
from data_builders.texts.task import TextTask
from unlearnkit import study
from unlearnkit.images.config import Config
from unlearnkit.study.reference_models import feature_cosine, measured_pairs, references
from unlearnkit.texts.tasks import load_task, resolve, task_artefact

SHOWN = ("question_rouge_l", "answer_rouge_l", "both_char_cosine")  # of a pair on the sheet


def text_dataset_cards(conditions: Sequence[dict]) -> pd.DataFrame:
    """Dataset cards: one row per condition, over its seeds; column `run` names the stored tasks.

    conditions: options of `language.tasks.task_artefact`. Each measure: mean over all target-paraphrase pairs of all seeds,
    and its 5th and 95th percentile over pairs. words: mean of questions and answers of the training set.
    """
    groups: dict[tuple, list[dict]] = {}
    for condition in conditions:
        groups.setdefault(tuple((k, v) for k, v in _named(condition).items() if k != "seed"), []).append(condition)
    rows = []
    for key, members in groups.items():
        tasks, artefacts = [load_task(**c) for c in members], [task_artefact(**c) for c in members]
        row = dict(key) | {"seeds": len(members)}
        row |= {f"n_{role}": len(tasks[0].index(role)) for role in ROLES if role != "decoy_similar"}
        row["n_train"] = row["n_target"] + row["n_similar"] + row["n_filler"]
        for side in ("question", "answer"):
            row[f"{side}_words"] = np.mean(
                [len(t.split()) for k in tasks for t in getattr(k.training_set("original"), side)]
            )
        pairs = pd.concat([target_pairs(task) for task in tasks])
        for name in columns():
            row[name] = pairs[name].mean()
            for p in (5, 95):
                row[f"{name}_p{p}"] = pairs[name].quantile(p / 100)
        row["exact_copies"] = int((pairs.both_rouge_l >= 1).sum())
        row["licence"], row["raw_digest"] = (tasks[0].facts.get(k, "") for k in ("licence", "raw_digest"))
        row["digests"] = " ".join(a.info["digest"] for a in artefacts)
        rows.append(row | {"run": " ".join(a.key for a in artefacts)})
    return pd.DataFrame(rows)


def _named(condition: dict) -> dict:
    """All that tells conditions apart."""
    options = {k: v for k, v in condition.items() if k != "dataset"}
    return {"dataset": condition.get("dataset", "fictional"), **resolve(options)}


def target_pairs(task: TextTask) -> pd.DataFrame:
    return task.pairs[task.pairs.anchor.isin(task.index("target").tolist())]


def similarity(conditions: Sequence[dict]) -> dict[float, float]:
    """{strength: mean ROUGE-L of targets and their paraphrases, question and answer as one}, over all tasks with copies.

    conditions: options of `language.tasks.task_artefact`, as a config's `task_params()` gives them.
    """
    pairs = pd.concat([target_pairs(load_task(**c)) for c in conditions])
    return pairs.groupby("strength").both_rouge_l.mean().to_dict()


def sheet(conditions: Sequence[dict], n_targets: int = 2, copies: int = 2) -> pd.DataFrame:
    """T1-text-sheet: the first targets of each condition, each followed by its first paraphrases, with some measures.

    relation: target or similar; a target stands once for all conditions that have it.
    """
    rows, seen = [], set()
    for condition in sorted(conditions, key=lambda c: _named(c)["strength"]):
        task, named = load_task(**condition), _named(condition)
        pairs = target_pairs(task)
        for place, target in enumerate(task.index("target")[:n_targets].tolist()):
            of = {"dataset": named["dataset"], "target": place}
            if (key := (*of.values(), task.question[target], task.answer[target])) not in seen:
                seen.add(key)
                rows.append(
                    of | {"relation": "target", "question": task.question[target], "answer": task.answer[target]}
                )
            for pair in pairs[pairs.anchor == target].head(copies).to_dict("records"):
                said = {"question": task.question[pair["similar"]], "answer": task.answer[pair["similar"]]}
                shown = {name: pair[name] for name in SHOWN}
                rows.append(of | {"relation": "similar", "strength": pair["strength"], **said, **shown})
    table = pd.DataFrame(rows, columns=["dataset", "target", "relation", "strength", "question", "answer", *SHOWN])
    return table.sort_values(["dataset", "target"], kind="stable", ignore_index=True)


def text_relations(task: TextTask, others: int = 20, encode: Encoder | None = None) -> pd.DataFrame:
    """How similar a target is to its paraphrases, to fillers (the first `others`) and to decoys: the data of F2-text.

    Columns relation, target (row number), strength, and the measures by side.
    """
    parts = [target_pairs(task).rename(columns={"anchor": "target"}).assign(relation="similar")]
    targets = task.index("target").tolist()
    for role in ("filler", "decoy"):
        found = task.index(role)[:others].tolist()
        a, b = [t for t in targets for _ in found], [o for _ in targets for o in found]
        x, y = task.texts[a], task.texts[b]
        values = pair_similarities((x.question, x.answer), (y.question, y.answer), encode)
        parts.append(values.assign(target=a, relation=role))
    table = pd.concat([p for p in parts if len(p)], ignore_index=True)
    return table[["relation", "target", *(["strength"] if "strength" in table else []), *columns(encode)]]


def dataset_cards(configs: Sequence[Config], by: str = "") -> pd.DataFrame:
    """Dataset cards: one row per task condition, over its seeds; column `run` names the stored tasks.

    Each measure: mean over all target-similar pairs of all seeds, and its 5th and 95th percentile over pairs. by: whose
    features are compared, too: "original", a torchvision classifier, or "" for none (no model is then trained).
    """
    if by == "original":
        references(configs, ["original"])  # the missing ones are trained together
    groups: dict[tuple, list[Config]] = {}
    for config in configs:
        groups.setdefault(tuple(v for k, v in config.columns().items() if k != "seed"), []).append(config)
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


def relations(config: Config, by: str = "", fillers: int = 50) -> pd.DataFrame:
    """How similar a target is to its similar samples, to fillers (the first `fillers`) and to decoys: the data of F2.

    Returns columns relation, target (row number), strength, and one per measure; by: see `t1`.
    """
    task = study.load_task(config)
    target, parts = task.index("target"), []
    if len(task.pairs):
        parts.append(_target_pairs(config, by).rename(columns={"anchor": "target"}).assign(relation="similar"))
    for role in ("filler", "decoy"):
        other = task.index(role)[:fillers]
        a, b = (v.flatten() for v in torch.meshgrid(target, other, indexing="ij"))
        values = {name: measure(task.x[a], task.x[b]).numpy() for name, measure in MEASURES.items()}
        if by:
            values["feature_cosine"] = feature_cosine(config, a.numpy(), b.numpy(), by)
        parts.append(pd.DataFrame({"target": a.numpy(), **values}).assign(relation=role))
    table = pd.concat(parts, ignore_index=True)
    return table[["relation", "target", *(["strength"] if "strength" in table else []), *_measures(table)]]


def _measures(table: pd.DataFrame) -> list[str]:
    return [m for m in (*MEASURES, "feature_cosine") if m in table]


def _target_pairs(config: Config, by: str) -> pd.DataFrame:
    pairs = measured_pairs(config, by)
    return pairs[pairs.anchor.isin(study.load_task(config).index("target").tolist())]
