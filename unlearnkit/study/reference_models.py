"""The reference models of a config - original, retrain, clean - trained together, stored once; and how alike samples
are by their features."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_builders.task import TRAINED_ON
from unlearnkit.core.compute import derive, resolve_device
from unlearnkit.core.errors import NonFiniteLoss
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Artefact, Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.images.heads import Ensemble
from unlearnkit.images.predict import predict
from unlearnkit.images.pretrained import pretrained
from unlearnkit.images.tasks import load_task
from unlearnkit.study.domains import domain

REFERENCES = tuple(TRAINED_ON)  # original, retrain, clean
INITIAL = "initial"  # the config's architecture before any training: a reference of metrics, and a row where asked for


@dataclass(frozen=True)
class Trained:
    """A stored model: its key, and how to load it; or the record that its method diverged."""

    key: str
    config: Config
    artefact: Artefact

    @property
    def diverged(self) -> bool:
        """Whether there is no model, since the method's loss became infinite or NaN."""
        return "diverged" in self.artefact.info

    def load(self) -> nn.Module:
        """Raises NonFiniteLoss if there is no model, since its method diverged."""
        if self.diverged:
            raise NonFiniteLoss(self.artefact.info["diverged"])
        state = load_file(self.artefact.folder / "model.safetensors")
        model = _blank(self.config)
        if members := {name.split(".")[1] for name in state if name.startswith("members.")}:
            model = Ensemble(copy.deepcopy(model) for _ in members)
        model.load_state_dict(state)
        return model.eval()


_blanks: dict[tuple, nn.Module] = {}


def _blank(config: Config) -> nn.Module:
    """A model of the config's layers, to load weights into. Drawing one takes longer than to copy the last one
    drawn."""
    wing = domain(config)
    key = (wing.model_code(config)[0].function, *wing.shape(config))
    if key not in _blanks:
        _blanks.clear()
        _blanks[key] = wing.model(config, 0)
    return copy.deepcopy(_blanks[key])


def references(
    configs: Sequence[Config], names: Iterable[str] = REFERENCES, *, repeat: str = "", device: str = "auto"
) -> list[dict[str, Trained]]:
    """{reference name: model} for each config; the missing ones are trained together.

    retrain and clean start from one seed and differ in their data alone, so without copies they are one model.
    `repeat` names another draw of the seeds, for a noise floor.
    """
    names = list(names)
    models = train_references([(config, name, repeat) for config in configs for name in names], device)
    return [dict(zip(names, models[i : i + len(names)], strict=True)) for i in range(0, len(models), len(names))]


def train_references(asked: Sequence[tuple[Config, str, str]], device: str) -> list[Trained]:
    """One model for each (config, reference name, repeat); the missing ones are trained together."""
    wanted = [(config, name, domain(config).task_artefact(config).info) for config, name, _ in asked]
    seeds = [derive(c.seed, "original" if name == "original" else "retrain", repeat) for c, name, repeat in asked]
    device_type = resolve_device(device).type
    specs = [
        Spec(
            "model",
            {"model": config.model, "recipe": config.recipe.as_dict(), "seed": seed, "device": device_type}
            | domain(config).model_params(config),
            (*domain(config).model_code(config), *domain(config).TRAINING),
            [info[name]],
        )
        for (config, name, info), seed in zip(wanted, seeds, strict=True)
    ]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        by_recipe: dict = {}
        for i, folder in missing:
            by_recipe.setdefault(wanted[i][0].recipe, []).append((i, folder))
        with Progress("reference models", len(missing)) as bar:
            for recipe, group in by_recipe.items():
                which = [wanted[i][:2] for i, _ in group]
                _train(recipe, group, which, [seeds[i] for i, _ in group], publish, bar, device)

    artefacts = Store().get_many(specs, make)
    return [Trained(a.key, config, a) for a, (config, _, _) in zip(artefacts, wanted, strict=True)]


def untrained(config: Config, *, repeat: str = "") -> Trained:
    """The config's architecture as it is drawn before training, from a seed that no other model has."""
    wing, seed = domain(config), derive(config.seed, INITIAL, repeat)
    params = {"model": config.model, "seed": seed} | wing.model_params(config)
    spec = Spec(INITIAL, params, wing.model_code(config), [wing.task_artefact(config).key])

    def make(folder: Path) -> None:
        save_file(wing.model(config, seed).state_dict(), folder / "model.safetensors")

    artefact = Store().get(spec, make)
    return Trained(artefact.key, config, artefact)


def _train(recipe, group, which, seeds, publish, bar, device) -> None:
    wing = domain(which[0][0])
    nets = [wing.model(config, s) for (config, _), s in zip(which, seeds, strict=True)]
    data = [wing.training_set(config, name) for config, name in which]

    def done(j: int, model: nn.Module) -> None:
        i, folder = group[j]
        save_file(model.state_dict(), folder / "model.safetensors")
        publish(i, {"samples": len(data[j]), "steps": recipe.steps(len(data[j]))})
        bar.step()

    wing.fit_many(nets, data, recipe, seeds=seeds, device=device, done=done)


# --- features of samples ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def task_features(config: Config, features_from: str = "original", device: str = "auto") -> Tensor:
    """Features of each sample of the config's task, (n, width): those of its original model, or of the torchvision
    classifier that `features_from` names."""
    if features_from == "original":
        model = references([config], ["original"], device=device)[0]["original"].load()
        precision = config.recipe.precision
    else:
        model, precision = pretrained(features_from), "fp32"
    return predict(model, load_task(config).x, device=device, precision=precision)[1]


def feature_cosine(config: Config, a, b, features_from: str = "original", device: str = "auto") -> np.ndarray:
    """Cosine of the features of the task's samples a and b, row numbers, pair by pair; features_from: see
    `task_features`."""
    vectors = task_features(config, features_from, device)
    return torch.cosine_similarity(*(vectors[torch.from_numpy(np.array(rows))] for rows in (a, b)), dim=1).numpy()


def measured_pairs(config: Config, features_from: str = "", device: str = "auto") -> pd.DataFrame:
    """The task's pair table; with the column `feature_cosine` if `features_from` says whose features to compare (see
    `task_features`)."""
    pairs = domain(config).load_task(config).pairs
    if not features_from or not len(pairs):
        return pairs
    cosine = feature_cosine(config, pairs.anchor.to_numpy(), pairs.similar.to_numpy(), features_from, device)
    return pairs.assign(feature_cosine=cosine)
