"""What tuning searches of each method, and on which configs. The search itself: unlearnkit.tuning.search."""

from types import ModuleType
from typing import get_type_hints

from unlearnkit.core.errors import BadValue, NotApplicable, unknown
from unlearnkit.core.registry import check_type
from unlearnkit.images.config import MIXED, Config, config_grid
from unlearnkit.methods import Search, applies, methods
from unlearnkit.study.domains import DOMAINS
from unlearnkit.texts.models import language_models

SEEDS = 5  # forget sets that each setting is tried on
FORGOTTEN = 5  # a fifth of the training set; see `protocol`
FIRST_SEED = 1000  # tables count their seeds from 0: no forget set that is tuned on is reported
SETTINGS = {  # of a config, which may be chosen
    "image": ("train_size", "max_pool_images", "test_size", "recipe", "arms", "n_decoys"),
    "text": ("train_size", "test_size", "recipe", "vocabulary", "context", "lora", "arms", "n_decoys"),
}


def wing(model: str) -> ModuleType:
    """The wing that has models of this architecture: unlearnkit.texts.domain for a language model, else
    unlearnkit.images.domain."""
    return DOMAINS["text" if model in language_models else "image"]


def serving(model: str) -> list[str]:
    """The methods that unlearn models of this architecture, sorted."""
    return sorted(name for name in methods if wing(model).NAME in methods[name].info["domains"])


def defaults(method: str, kind: str) -> dict:
    """All options at their published defaults, those of the domain before those of the method."""
    return methods[method].resolve(methods[method].info.get(kind, {}))


def space(method: str, kind: str = "image") -> dict[str, Search]:
    """The options that may be tuned, and within what range; {} for a method that has none.

    kind: "image" or "text". The range of a learning rate lies about its default as it does for images, where the domain
    has another: Adam's rates are a tenth of SGD's. Raises BadValue for a range without the default, which is always
    tried first, or with fractions where the option is a whole number.
    """
    ranges, default = {}, defaults(method, kind)
    for option in methods[method].described():
        if (search := option["search"]) is None:
            continue
        label, value = f"option {option['name']!r} of method {method!r}", default[option["name"]]
        if option["name"] == "lr" and value != option["default"]:
            ends = (_five_digits(end * value / option["default"]) for end in (search.low, search.high))
            search = Search(*ends, log=search.log)
        if not search.low <= value <= search.high or (_whole(search) and value != int(value)):
            raise BadValue(f"{label}: its default {value} is not in the range to be searched, {search}")
        if option["type"] == "int" and not _whole(search):
            raise BadValue(f"{label} is a whole number, so both ends of its range must be, got {search}")
        ranges[option["name"]] = search
    return ranges


def suggest(proposal, name: str, within: Search) -> float | int:
    """A value in the range, of five digits: the recorded value is the one that was run. proposal: Optuna's trial."""
    if _whole(within):
        return proposal.suggest_int(name, within.low, within.high, log=within.log)
    value = _five_digits(proposal.suggest_float(name, within.low, within.high, log=within.log))
    return min(max(value, within.low), within.high)


def _whole(search: Search) -> bool:
    return isinstance(search.low, int) and isinstance(search.high, int)


def _five_digits(value: float) -> float:
    return float(f"{value:.5g}")


def protocol(method: str, dataset: str, model: str, seeds: int = SEEDS, **settings) -> list[Config]:
    """The configs that a method is tuned on, one per seed: TextConfigs for a language model. settings: of SETTINGS, by
    default those of the config.

    A fifth of the training set is forgotten. On digits a tenth leaves little to tune by: the original's gap is 0.024
    and that of retraining again 0.015 (10 seeds), 0.9 standard deviations of a seed apart; with a fifth it is 0.025 and
    0.012, 2 apart. With a half it is 4, but methods would pass over five batches where the study's 12 targets fill one.
    Methods that forget whole classes forget one. With `arms` the task is mixed, as in the tables. Raises NotApplicable for
    a method that does not unlearn such models.
    """
    kind, config_type = wing(model).NAME, wing(model).CONFIG
    hints = get_type_hints(config_type) | {"recipe": dict | type(config_type.recipe), "arms": list}
    for name, value in settings.items():
        if name not in SETTINGS[kind]:
            raise unknown("setting of tuning", name, SETTINGS[kind])
        check_type(f"{name!r}", value, hints[name])  # one value, since a list would make a grid
    n_targets = max(settings.get("train_size", config_type.train_size) // FORGOTTEN, 1)
    chosen = {"targets": "class"} if methods[method].info.get("whole_classes") else {"n_targets": n_targets}
    if settings.get("arms"):
        chosen = {"targets": MIXED}
    if not applies(method, chosen.get("targets", "random"), kind):
        raise NotApplicable(f"{method} does not unlearn models of {kind}s; these do: {', '.join(serving(model))}")
    chosen_seeds = range(FIRST_SEED, FIRST_SEED + seeds)
    chosen |= {"dataset": dataset, "model": model, "copies": 0, "seeds": chosen_seeds}
    return config_grid(config_type=config_type, **chosen, **settings)
