"""What a stored language model answers to every question of its task, found once and stored, and how near that is to the
true answer by sentence embeddings."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_builders.texts.similarity import EMBEDDING, embedding_cosine, encoder
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.store import Artefact, Spec, Store
from unlearnkit.study.reference_models import Trained
from unlearnkit.texts import domain as texts
from unlearnkit.texts.generate import generate

END = "\0"  # between answers, in which it cannot stand


def generations(trained: Trained, *, device: str = "auto") -> tuple[str, tuple[str, ...]]:
    """(key, answers) of a stored model to the questions of its config's task, in the order of the samples.

    An answer has as many tokens as the longest of the task, at most. Raises NotApplicable for an image classifier.
    """
    artefact = _said(trained, device)
    return artefact.key, _read(str(artefact.folder))


def _said(trained: Trained, device: str) -> Artefact:
    config = trained.config
    if config.domain != "text":
        raise NotApplicable("only language models say something: this config is one of images")
    spec = Spec("said", {}, (generate, texts.model), [trained.key, texts.task_artefact(config).key])

    def make(folder: Path) -> None:
        tokens, tokenizer = texts.tokens(config), texts.tokenizer(config)
        how = {"most": int(tokens.count.max()), "context": config.context, "device": device}  # type: ignore[attr-defined]
        found = generate(trained.load(), tokens, tokenizer.end, **how)
        whole = END.join(tokenizer.decode(ids).replace(END, "") for ids in found)
        save_file({"said": torch.tensor([*whole.encode()], dtype=torch.uint8)}, folder / "said.safetensors")

    return Store().get(spec, make)


@lru_cache(maxsize=64)
def _read(folder: str) -> tuple[str, ...]:
    return tuple(bytes(load_file(Path(folder) / "said.safetensors")["said"].numpy()).decode().split(END))


def compare_generations(
    models: Mapping[str, Trained], group: str = "target", n: int = 4, *, device: str = "auto"
) -> pd.DataFrame:
    """What models of one config say to the first n questions of a group: question, true answer, and a column for each.

    models: {how the column is called: model}. Raises BadValue for models of several configs.
    """
    if len({trained.config for trained in models.values()}) != 1:
        raise BadValue("side by side stand models of one config: they must have been asked the same questions")
    (config, *_) = (trained.config for trained in models.values())
    task = texts.load_task(config)
    rows = task.index(group)[:n].tolist()
    found = {"question": [task.question[i] for i in rows], "answer": [task.answer[i] for i in rows]}
    for name, trained in models.items():
        answers = generations(trained, device=device)[1]
        found[name] = [answers[i] for i in rows]
    return pd.DataFrame(found)


def answer_similarity(trained: Trained, *, model: str = EMBEDDING, device: str = "auto") -> tuple[str, Tensor]:
    """(key, cosine of the sentence embeddings of what is said and the true answer, (n,) float32). model: of
    sentence-transformers, an optional extra. Raises UnlearnkitError where that, or the model, is not here."""
    artefact = _said(trained, device)

    def make(folder: Path) -> None:
        answer = texts.load_task(trained.config).answer
        value = embedding_cosine(answer, _read(str(artefact.folder)), encoder(model))
        save_file({"cosine": torch.from_numpy(value)}, folder / "meant.safetensors")

    found = Store().get(Spec("meant", {"model": model}, (embedding_cosine,), [artefact.key]), make)
    return found.key, load_file(found.folder / "meant.safetensors")["cosine"]
