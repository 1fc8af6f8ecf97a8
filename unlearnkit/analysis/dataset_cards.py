"""Dataset cards of images and texts (T1, T1-text), sheets of paraphrases (T1-text-sheet), and how similar targets are
to other samples (the data of F2 and F2-text)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from data_builders.similarity import MEASURES
from data_builders.task import ROLES
from data_builders.texts.similarity import columns, pair_similarities
from unlearnkit import study
from unlearnkit.images.config import Config
from unlearnkit.study.reference_models import feature_cosine, measured_pairs, references
from unlearnkit.texts.config import TextConfig

SIMILARITIES = {"image": (*MEASURES, "feature_cosine"), "text": tuple(columns())}  # of the pair tables
SAME = {"image": "ssim", "text": "both_rouge_l"}  # the measure that is 1 for an exact duplicate
QUANTILES = {"image": "nearest", "text": "linear"}  # nearest: of one pair, since the psnr of equal images is infinite
OTHERS = {"image": 50, "text": 20}  # other retained samples, and decoys, that a target is compared with
COUNTS = {  # column: role
    "n_forget": "target",
    "n_near_duplicate": "similar",
    "n_other_retained": "filler",
    **{f"n_{role}": role for role in ROLES if role in ("decoy", "test", "validation")},
}
SHEET = ("question_rouge_l", "answer_rouge_l", "both_char_cosine")  # measures on a sheet of texts


def dataset_cards(configs: Sequence[Config], features_from: str = "") -> pd.DataFrame:
    """Dataset cards of image or of text configs: one row per task condition, over its n_seeds seeds; column `run` names
    the stored tasks.

    Each measure of similarity (SIMILARITIES): mean over all pairs of a target and a near-duplicate of all seeds, and
    its 5th and 95th percentile over pairs. question_words, answer_words: means over the training sets. features_from:
    whose features of images are compared, too: "original", a torchvision classifier, or "" for none (no model is then
    trained).
    """
    if features_from == "original":
        references(configs, ["original"])  # the missing ones are trained together
    conditions: dict[tuple, list[Config]] = {}
    for config in configs:
        conditions.setdefault(tuple(v for k, v in config.columns().items() if k != "seed"), []).append(config)
    return pd.DataFrame([_card(of_condition, features_from) for of_condition in conditions.values()])


def _card(configs: list[Config], features_from: str) -> dict:
    """The card of configs that differ in their seed alone."""
    tasks, artefacts = [study.load_task(c) for c in configs], [study.task_artefact(c) for c in configs]
    task, wing = tasks[0], configs[0].domain
    card = {k: v for k, v in configs[0].columns().items() if k not in ("seed", "architecture")}
    card |= {"n_seeds": len(configs)} | ({"n_classes": task.n_classes} if wing == "image" else {})
    card |= {name: len(task.index(role)) for name, role in COUNTS.items()}
    card["n_train"] = card["n_forget"] + card["n_near_duplicate"] + card["n_other_retained"]
    if wing == "text":
        for side in ("question", "answer"):
            texts = [text for task in tasks for text in getattr(task.training_set("original"), side)]
            card[f"{side}_words"] = np.mean([len(text.split()) for text in texts])
    pairs = pd.concat([target_pairs(config, features_from) for config in configs])
    for name in SIMILARITIES[wing]:
        values = pairs[name] if name in pairs else pd.Series(dtype=float)
        card[name] = values.mean()
        for p in (5, 95):
            card[f"{name}_p{p}"] = values.quantile(p / 100, interpolation=QUANTILES[wing])
    card["n_exact_duplicates"] = int((pairs[SAME[wing]] >= 1).sum())
    card["licence"], card["raw_digest"] = (task.facts.get(k, "") for k in ("licence", "raw_digest"))
    card["digests"] = " ".join(artefact.info["digest"] for artefact in artefacts)
    return card | {"run": " ".join(artefact.key for artefact in artefacts)}


def target_pairs(config: Config, features_from: str = "") -> pd.DataFrame:
    """The pairs of a config's task that link a near-duplicate to a target, and not to a decoy; features_from: see
    `dataset_cards`."""
    pairs = measured_pairs(config, features_from)
    return pairs[pairs.anchor.isin(study.load_task(config).index("target").tolist())]


def relations(config: Config, features_from: str = "", others: int = 0) -> pd.DataFrame:
    """How similar a target is to its near-duplicates, to other retained samples and to decoys: the data of F2 and
    F2-text.

    others: how many of the last two, OTHERS if 0. Returns columns relation (similar, filler, decoy), target (row
    number), strength where there are near-duplicates, and the measures (SIMILARITIES). features_from: see
    `dataset_cards`.
    """
    task = study.load_task(config)
    pairs = target_pairs(config, features_from).rename(columns={"anchor": "target"})
    parts = [pairs.assign(relation="similar")] if len(pairs) else []
    for role in ("filler", "decoy"):
        other = task.index(role)[: others or OTHERS[config.domain]]
        target, other = (rows.flatten() for rows in torch.meshgrid(task.index("target"), other, indexing="ij"))
        values = _similarities(config, target, other, features_from)
        parts.append(pd.DataFrame({"target": target.numpy(), **values}).assign(relation=role))
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    measures = [name for name in SIMILARITIES[config.domain] if name in table]
    return table[["relation", "target", *(["strength"] if "strength" in table else []), *measures]]


def _similarities(config: Config, a: torch.Tensor, b: torch.Tensor, features_from: str) -> dict:
    """{measure: values} of the task's samples a and b, row numbers, pair by pair."""
    task = study.load_task(config)
    if config.domain == "text":
        first, second = task.texts[a.tolist()], task.texts[b.tolist()]
        table = pair_similarities((first.question, first.answer), (second.question, second.answer))
        return {name: table[name].to_numpy() for name in table}
    values = {name: measure(task.x[a], task.x[b]).numpy() for name, measure in MEASURES.items()}
    if features_from:
        values["feature_cosine"] = feature_cosine(config, a.numpy(), b.numpy(), features_from)
    return values


# --- texts -----------------------------------------------------------------------------------------------------------


def rouge_l_by_strength(configs: Sequence[TextConfig]) -> dict[float, float]:
    """{strength: mean ROUGE-L of targets and their paraphrases, question and answer as one}, over all configs that have
    paraphrases; none without such a config."""
    if not configs:
        return {}
    pairs = pd.concat([target_pairs(config) for config in configs])
    return pairs.groupby("strength").both_rouge_l.mean().to_dict()


def text_sheet(configs: Sequence[TextConfig], n_targets: int = 2, copies: int = 2) -> pd.DataFrame:
    """T1-text-sheet: the first targets of each config, each followed by its first paraphrases, with some measures.

    relation: target or similar; a target stands once for all configs that have it.
    """
    rows, known = [], set()
    for config in sorted(configs, key=lambda c: c.strength):
        task, pairs = study.load_task(config), target_pairs(config)
        for place, target in enumerate(task.index("target")[:n_targets].tolist()):
            columns = {"dataset": config.columns()["dataset"], "target": place}
            text = {"question": task.question[target], "answer": task.answer[target]}
            if (key := (*columns.values(), *text.values())) not in known:
                known.add(key)
                rows.append(columns | {"relation": "target", **text})
            for pair in pairs[pairs.anchor == target].head(copies).to_dict("records"):
                text = {"question": task.question[pair["similar"]], "answer": task.answer[pair["similar"]]}
                measures = {name: pair[name] for name in SHEET}
                rows.append(columns | {"relation": "similar", "strength": pair["strength"], **text, **measures})
    table = pd.DataFrame(rows, columns=["dataset", "target", "relation", "strength", "question", "answer", *SHEET])
    return table.sort_values(["dataset", "target"], kind="stable", ignore_index=True)
