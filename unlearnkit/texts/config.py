"""A config of the study's grid: everything that a task of texts and its reference models depend on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import get_type_hints

from data_builders.arms import parse_arms
from data_builders.texts.arms import TextArm
from data_builders.texts.sides import Side
from unlearnkit.core.paths import dataset_id
from unlearnkit.core.registry import check_least, check_type
from unlearnkit.images.config import MIXED, config_grid
from unlearnkit.texts.train import TextRecipe


@dataclass(frozen=True)
class TextConfig:
    """A similar-sample task of questions and answers, and how the models on it are trained: the counterpart of
    unlearnkit.images.config.Config. Raises BadValue for a value of the wrong type.

    Without copies, strength and side have no meaning: such configs are equal. With `arms` the task is mixed, as for images.
    """

    domain = "text"

    dataset: str = "fictional"  # registered, or a JSONL file of your own (data_builders.texts)
    test_size: int = 400  # test pairs, at most; 0 takes all
    targets: str = "random"  # or canary; see data_builders.texts.build_task
    n_targets: int = 12
    copies: int = 5  # paraphrases per target that stay in training
    strength: float = 0.5  # distance of a paraphrase from its pair, from 0 to 1
    side: Side = "both"  # question, answer or both: what is paraphrased
    train_size: int = 640
    model: str = "tiny_llama"  # or hf:NAME_OR_PATH
    arms: list[Mapping] = field(default_factory=list, hash=False)  # of a mixed task; see data_builders.texts.arms
    n_decoys: int = 200  # of a mixed task, for each kind of target
    # of the dataset's own tokenizer; a pretrained model brings one. Ours: with 1,024 tokens the average pair of
    # `fictional` takes 31, with 2,048 it takes 28 for a third more weights
    vocabulary: int = 1024
    context: int = 128  # the most tokens of question and answer together
    lora: int = 0  # rank of adapters, which alone are trained; 0 trains all weights
    recipe: TextRecipe = TextRecipe()
    seed: int = 0

    def __post_init__(self):
        for name, hint in (get_type_hints(TextConfig) | {"arms": list}).items():
            check_type(f"{name!r}", getattr(self, name), hint)
        for name in ("test_size", "copies", "lora", "n_targets", "train_size", "vocabulary", "context", "n_decoys"):
            check_least(f"{name!r}", getattr(self, name), int(name in ("train_size", "vocabulary", "context")))
        if self.arms or self.targets == MIXED:
            arms = [arm.as_dict() for arm in parse_arms(self.arms, TextArm)]
            for name, value in {"arms": arms, "targets": MIXED, "copies": 0, "n_targets": TextConfig.n_targets}.items():
                object.__setattr__(self, name, value)
        else:
            object.__setattr__(self, "n_decoys", 0)
        object.__setattr__(self, "strength", float(self.strength) if self.copies else 0.0)
        object.__setattr__(self, "side", self.side if self.copies else TextConfig.side)

    def task_params(self) -> dict:
        """What the task depends on: the dataset, and the options of the builder in data_builders.texts."""
        of_models = {"model", "vocabulary", "context", "lora", "recipe"} | (
            set() if self.arms else {"arms", "n_decoys"}
        )
        return {k: v for k, v in asdict(self).items() if k not in of_models}

    def condition(self) -> dict:
        """The columns that say what its models have in common (unlearnkit.analysis.influence)."""
        columns = {name: self.columns()[name] for name in ("dataset", "train_size", "architecture")}
        return columns | {"augment": "none"}

    def columns(self) -> dict:
        """The columns that name this config in the tidy score table: those of an image config."""
        return {
            "dataset": dataset_id(self.dataset),
            "train_size": self.train_size,
            "targets": self.targets,
            "copies": self.copies,
            "perturbation": f"paraphrase of {self.side}",
            "strength": self.strength,
            "similarity_level": "",
            "architecture": model_label(self.model, self.lora),
            "seed": self.seed,
        }


def model_label(model: str, lora: int = 0) -> str:
    """A model's name in a table: of one in a folder or a GGUF file the last part of its path alone; "+lora16" for
    adapters of rank 16, which are another network."""
    kind, colon, name = model.partition(":")
    is_path = Path(name).is_absolute() or name.startswith((".", "~")) or name.endswith(".gguf")
    label = f"{kind}{colon}{Path(name).name}" if colon and is_path else model
    return f"{label}+lora{lora}" if lora else label


text_config_grid = partial(config_grid, config_type=TextConfig)
