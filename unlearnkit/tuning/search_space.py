"""What tuning searches of each method, and on which configs. The search itself is unlearnkit.tuning.search's."""

from typing import get_type_hints

from unlearnkit.core.errors import BadValue, NotApplicable, unknown
from unlearnkit.core.registry import check_type
from unlearnkit.images.config import Config, config_grid
from unlearnkit.methods import Search, applies, methods
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.models import language_models

SEEDS = 5  # forget sets that each setting is tried on
FORGOTTEN = 5  # a fifth of the training set; see `protocol`
FIRST_SEED = 1000  # tables count their seeds from 0: what is tuned on is never reported
SETTINGS = {  # of a config, which may be chosen
    Config: ("train_size", "max_pool_images", "test_size", "recipe"),
    TextConfig: ("train_size", "test_size", "recipe", "vocabulary", "context", "lora"),
}


def of(model: str) -> type[Config] | type[TextConfig]:
    """What configs of this architecture are: TextCell for a language model, else Cell."""
    return TextConfig if model in language_models else Config


def serving(model: str) -> list[str]:
    """The methods that unlearn models of this architecture, sorted."""
    kind = of(model).domain
    return sorted(name for name in methods if kind in methods[name].info["domains"])


def defaults(method: str, kind: str) -> dict:
    """All options at their published defaults, those of the domain before those of the method."""
    return methods[method].resolve(methods[method].info.get(kind, {}))


def space(method: str, kind: str = "image") -> dict[str, Search]:
    """The options that may be tuned, and within what range; {} for a method that has none.

    kind: "image" or "text". The range of a learning rate lies about its default as it does for images, where the domain
    has another: Adam's rates are a tenth of SGD's. Raises BadValue for a range that does not hold the default, which is
    always tried first, or has fractions where the option is a whole number.
    """
    found, chosen = {}, defaults(method, kind)
    for row in methods[method].described():
        if (search := row["search"]) is None:
            continue
        name, default = f"option {row['name']!r} of method {method!r}", chosen[row["name"]]
        if row["name"] == "lr" and default != row["default"]:
            ends = (_five(end * default / row["default"]) for end in (search.low, search.high))
            search = Search(*ends, log=search.log)
        if not search.low <= default <= search.high or (_whole(search) and default != int(default)):
            raise BadValue(f"{name}: its default {default} is not in the range to be searched, {search}")
        if row["type"] == "int" and not _whole(search):
            raise BadValue(f"{name} is a whole number, so both ends of its range must be, got {search}")
        found[row["name"]] = search
    return found


def suggest(proposed, name: str, within: Search) -> float | int:
    """A value in the range, of five digits: what is written is what was run. proposed: a trial of Optuna's."""
    if _whole(within):
        return proposed.suggest_int(name, within.low, within.high, log=within.log)
    value = _five(proposed.suggest_float(name, within.low, within.high, log=within.log))
    return min(max(value, within.low), within.high)


def _whole(search: Search) -> bool:
    return isinstance(search.low, int) and isinstance(search.high, int)


def _five(value: float) -> float:
    """Of five digits."""
    return float(f"{value:.5g}")


def protocol(method: str, dataset: str, model: str, seeds: int = SEEDS, **settings) -> list[Config]:
    """The configs that a method is tuned on, one per seed: of texts for a language model. settings: SETTINGS, at the defaults
    of Cell or TextCell.

    A fifth of the training set is forgotten. On digits a tenth leaves little to tune by: the original's gap is 0.024 and
    that of retraining again 0.015 (10 seeds), 0.9 standard deviations of a seed apart; with a fifth it is 0.025 and 0.012,
    2 apart. With a half it is 4, but methods would pass over five batches where the study's 12 targets fill one.
    Methods that forget whole classes forget one. Raises NotApplicable for a method that does not unlearn such models.
    """
    made = of(model)
    hints = get_type_hints(made) | {"recipe": dict | type(made.recipe)}
    for name, value in settings.items():
        if name not in SETTINGS[made]:
            raise unknown("setting of tuning", name, SETTINGS[made])
        check_type(f"{name!r}", value, hints[name])  # one value, since a list would make a grid
    n_targets = max(settings.get("train_size", made.train_size) // FORGOTTEN, 1)
    chosen = {"targets": "class"} if methods[method].info.get("whole_classes") else {"n_targets": n_targets}
    if not applies(method, chosen.get("targets", "random"), made.domain):
        raise NotApplicable(
            f"{method} has no meaning for a config of {made.domain}s: there are {', '.join(serving(model))}"
        )
    which = range(FIRST_SEED, FIRST_SEED + seeds)
    return config_grid(seeds=which, of=made, dataset=dataset, model=model, copies=0, **chosen, **settings)
