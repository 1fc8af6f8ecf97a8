"""The answers that a stored language model generates to every question of its task, made once and stored, and how near
they are to the true answers by sentence embeddings."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_builders.task import ROLES
from data_builders.texts.similarity import EMBEDDING, embedding_cosine, encoder
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.store import Artefact, Files, Spec, Store
from unlearnkit.study.reference_models import Trained
from unlearnkit.texts import domain as texts
from unlearnkit.texts.generate import generate
from unlearnkit.texts.outputs import asked_rows

END = "\0"  # between answers, in which it cannot stand


def generations(trained: Trained, *, device: str = "auto") -> tuple[str, tuple[str, ...]]:
    """(key, answers) of a stored model to the questions of its config's task, in the order of the samples; of a mixed
    task to those of the targets alone, and "" for all others.

    An answer has as many tokens as the longest of the task, at most. Raises NotApplicable for an image classifier.
    """
    artefact = _generated(trained, device)
    return artefact.key, _read(artefact.folder)


def _generated(trained: Trained, device: str) -> Artefact:
    config = trained.config
    if config.domain != "text":
        raise NotApplicable("only language models generate answers: this config is one of images")
    spec = Spec("generations", {}, (generate, texts.model), [trained.key, texts.task_artefact(config).key])

    def make(folder: Path) -> None:
        tokens, tokenizer = texts.tokens(config), texts.tokenizer(config)
        limits = {"most": int(tokens.count.max()), "context": config.context}  # type: ignore[attr-defined]
        rows, answers = asked_rows(texts.load_task(config), *ROLES), [""] * len(tokens)
        made = generate(trained.load(), tokens[rows], tokenizer.end, device=device, **limits)
        for row, ids in zip(rows.tolist(), made, strict=True):
            answers[row] = tokenizer.decode(ids).replace(END, "")
        joined = END.join(answers)
        save_file({"text": torch.tensor([*joined.encode()], dtype=torch.uint8)}, folder / "generations.safetensors")

    return Store().get(spec, make)


@lru_cache(maxsize=64)
def _read(folder: Files) -> tuple[str, ...]:
    return tuple(bytes(load_file(folder / "generations.safetensors")["text"].numpy()).decode().split(END))


def compare_generations(
    models: Mapping[str, Trained], group: str = "target", n: int = 4, *, device: str = "auto"
) -> pd.DataFrame:
    """What models of one config answer to the first n questions of a group: columns question, answer (the true one),
    and one for each model.

    models: {the name of its column: model}. Raises BadValue for models of several configs.
    """
    if len({trained.config for trained in models.values()}) != 1:
        raise BadValue("only models of one config can be compared: they must have been asked the same questions")
    (config, *_) = (trained.config for trained in models.values())
    task = texts.load_task(config)
    rows = task.index(group)[:n].tolist()
    columns = {"question": [task.question[i] for i in rows], "answer": [task.answer[i] for i in rows]}
    for name, trained in models.items():
        answers = generations(trained, device=device)[1]
        columns[name] = [answers[i] for i in rows]
    return pd.DataFrame(columns)


def answers_side_by_side(scores: pd.DataFrame, config, n: int = 5) -> pd.DataFrame:
    """What each model answers to the same n targets of a mixed config, evenly spaced over its arms: columns copies,
    question, answer (the true one), and one for each model.

    scores: of unlearnkit.study.target_scores, so that answers are at hand where models are not. Raises BadValue for scores
    that do not have the config's answers.
    """
    if "said" not in scores or not len(own := _of_config(scores, config)):
        raise BadValue(f"these scores hold no answers to seed {config.seed} of {config.dataset}")
    task = texts.load_task(config)
    targets = task.index("target")
    rows = targets[torch.linspace(0, len(targets) - 1, n).round().long().unique()].tolist()
    said = own.pivot(index="target", columns="method", values="said")
    copies = own.drop_duplicates("target").set_index("target").copies
    sources = [int(task.source[i]) for i in rows]
    columns = {"copies": copies.loc[sources].tolist(), "question": [task.question[i] for i in rows]}
    columns |= {"answer": [task.answer[i] for i in rows]}
    return pd.DataFrame(columns | {name: said.loc[sources, name].tolist() for name in dict.fromkeys(own.method)})


def _of_config(scores: pd.DataFrame, config) -> pd.DataFrame:
    wanted = config.condition() | {"seed": config.seed}
    return scores[(scores[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def answer_similarity(trained: Trained, *, model: str = EMBEDDING, device: str = "auto") -> tuple[str, Tensor]:
    """(key, cosine of the sentence embeddings of the generated and the true answer, (n,) float32). model: of
    sentence-transformers, an optional extra. Raises UnlearnkitError where that, or the model, is not here."""
    generated = _generated(trained, device)

    def make(folder: Path) -> None:
        answer = texts.load_task(trained.config).answer
        value = embedding_cosine(answer, _read(generated.folder), encoder(model))
        save_file({"cosine": torch.from_numpy(value)}, folder / "similarity.safetensors")

    spec = Spec("answer-similarity", {"model": model}, (embedding_cosine,), [generated.key])
    artefact = Store().get(spec, make)
    return artefact.key, load_file(artefact.folder / "similarity.safetensors")["cosine"]
