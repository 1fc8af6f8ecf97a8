"""A config of the study's grid: everything that a task of images and its reference models depend on."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from typing import Any, get_type_hints

from data_builders.arms import parse_arms
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.paths import dataset_id
from unlearnkit.core.registry import check_least, check_type
from unlearnkit.images.train import Recipe

MIXED = "mixed"  # the targets of a task of several arms
MOST_SEEDS, MOST_CONFIGS = 10_000, 100_000  # of a grid: a few short lists can stand for any number
SINGLE_ARM = (
    "n_targets",
    "perturbation",
    "similarity_level",
)  # what only a task of one arm has, beside targets, copies


@dataclass(frozen=True)
class Config:
    """A similar-sample task, and how the models on it are trained. Raises BadValue for a value of the wrong type.

    Without copies, strength and similarity level have no meaning: such configs are equal, of strength 0. A similarity
    level replaces the strength. With `arms` the task is mixed: each arm has its own targets, copies and similarity, and
    what the config says of these has no meaning (targets is then "mixed").
    """

    domain = "image"

    dataset: str = "digits"  # registered, or a file or folder of your own (data_builders.user_images)
    max_pool_images: int = 4000  # images that tasks are drawn from, at most; the same for all seeds; 0 takes all
    test_size: int = 1000  # test images, at most; 0 takes all
    targets: str = "random"  # see data_builders.select_targets
    n_targets: int = 12
    forget_ids: list[int | str] = field(default_factory=list, hash=False)  # ids; for targets "class" labels or names
    copies: int = 5  # near-duplicates per target that stay in training
    perturbation: str = "block_mask"
    strength: float = 0.3  # of the perturbation: for block_mask the share of blocks set to 0
    similarity_level: str = ""  # a measured similarity instead of a strength, "ssim~0.6"
    perturbation_options: Mapping = field(default_factory=dict, hash=False)
    arms: list[Mapping] = field(default_factory=list, hash=False)  # of a mixed task; see data_builders.arms
    n_decoys: int = 200  # of a mixed task, for each kind of target
    train_size: int = 640
    model: str = "small_cnn"
    recipe: Recipe = Recipe()
    seed: int = 0

    def __post_init__(self):
        hints = get_type_hints(Config) | {"perturbation_options": dict, "arms": list}
        for name, hint in hints.items():
            check_type(f"{name!r}", getattr(self, name), hint)
        for name in ("max_pool_images", "test_size", "copies", "n_decoys", "n_targets", "train_size"):
            check_least(f"{name!r}", getattr(self, name), 1 if name == "train_size" else 0)
        if self.arms or self.targets == MIXED:
            arms = [arm.as_dict() for arm in parse_arms(self.arms)]
            single = {f.name: f.default for f in fields(Config) if f.name in SINGLE_ARM}
            for name, value in (single | {"arms": arms, "targets": MIXED, "copies": 0}).items():
                object.__setattr__(self, name, value)
        else:
            object.__setattr__(self, "n_decoys", 0)
        object.__setattr__(self, "strength", float(self.strength) if self.copies and not self.similarity_level else 0.0)
        object.__setattr__(self, "similarity_level", self.similarity_level if self.copies else "")

    def task_params(self) -> dict:
        """The values that the task depends on: all but model and recipe."""
        of_models = {"model", "recipe"} | (set() if self.arms else {"arms", "n_decoys"})
        return {k: v for k, v in asdict(self).items() if k not in of_models}

    def condition(self) -> dict:
        """The columns that say what its models have in common (unlearnkit.analysis.influence)."""
        columns = {name: self.columns()[name] for name in ("dataset", "train_size", "architecture")}
        return columns | {"augment": self.recipe.augment}

    def columns(self) -> dict:
        """The columns that name this config in the tidy score table."""
        return {
            "dataset": dataset_id(self.dataset),
            "train_size": self.train_size,
            "targets": self.targets,
            "copies": self.copies,
            "perturbation": self.perturbation,
            "strength": self.strength,
            "similarity_level": self.similarity_level,
            "architecture": self.model,
            "seed": self.seed,
        }


def config_grid(
    seeds: int | Iterable[int] = 3,
    recipe: Mapping | Recipe | None = None,
    extra_conditions: Iterable[Mapping] = (),
    *,
    config_type: type[Any] = Config,
    **values,
) -> list:
    """The configs of a grid: every combination of `values`, each one value or a list of them, and `seeds`.

    seeds: how many (0, 1, ...), or which ones. extra_conditions: further grids, each by how it differs from this one,
    say {"copies": 25, "strength": [0.1, 0.7]}; a config of both grids comes once. The lists `forget_ids` and
    `arms` are one value each.
    config_type: Config or unlearnkit.texts.config.TextConfig. Raises UnknownName for a name that a config does not
    have, BadValue for a value that it cannot have.
    """
    known, recipe_type = {f.name for f in fields(config_type)}, type(config_type.recipe)
    for name in values:
        if name not in known:
            raise unknown("parameter", name, known)
    check_type("'seeds'", seeds, int | list[int] | tuple | range)
    number = seeds if isinstance(seeds, int) else len(seeds)
    if not 0 < number <= MOST_SEEDS:
        raise BadValue(f"seeds: how many, at least one and at most {MOST_SEEDS:,}, or a list of which; got {number:,}")
    chosen_seeds = range(seeds) if isinstance(seeds, int) else seeds
    if isinstance(recipe, Mapping):
        for name in recipe:
            if name not in {f.name for f in fields(recipe_type)}:
                raise unknown("recipe entry", name, [f.name for f in fields(recipe_type)])
        recipe = recipe_type(**recipe)
    lists = {
        k: v if isinstance(v, list | tuple | range) and k not in ("forget_ids", "arms") else [v]
        for k, v in values.items()
    }
    if (number := number * math.prod(map(len, lists.values()))) > MOST_CONFIGS:
        raise BadValue(f"these lists of values make {number:,} configs, more than {MOST_CONFIGS:,}: give fewer values")
    grid = [config_type(recipe=recipe or recipe_type(), seed=seed, **dict(zip(lists, combination, strict=True)))
            for combination in product(*lists.values()) for seed in chosen_seeds]  # fmt: skip
    for extra in extra_conditions:
        grid += config_grid(**{"seeds": seeds, "recipe": recipe, "config_type": config_type, **values, **extra})
    return list(dict.fromkeys(grid))
