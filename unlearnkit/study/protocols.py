"""The configs of the classical protocols, in which no near-duplicates stay."""

from collections.abc import Sequence

from unlearnkit.core.errors import NotApplicable, unknown
from unlearnkit.images.config import Config, config_grid

PARTS = {"digits": "digits_parity", "cifar100": "cifar20"}  # the same images by coarser classes, whose parts are known


def protocols(
    names: Sequence[str],
    dataset: str | Sequence[str],
    *,
    classes: Sequence[int | str] = (1, 3),
    parts: str = "",
    **common,
) -> dict[str, list[Config]]:
    """{protocol: its configs}: a random tenth of the training set, one drawn class, several `classes`, or a drawn part
    of a class; "class 3": the class of that label, where no chance is to choose; there are no near-duplicates.

    dataset: one or several. parts: the set whose classes have parts; if not given, PARTS of each data set that has one.
    common: what else a grid of configs takes (unlearnkit.images.config.config_grid). Raises UnknownName for an unknown
    protocol, and NotApplicable for parts of classes where no data set has any.
    """
    sets = [dataset] if isinstance(dataset, str) else list(dataset)
    coarse = [parts] if parts else [PARTS.get(d, d) for d in sets if d in PARTS or d in PARTS.values()]
    own = {
        "tenth": {"dataset": dataset, "targets": "tenth"},
        "class": {"dataset": dataset, "targets": "class"},
        "classes": {"dataset": dataset, "targets": "class", "forget_ids": list(classes)},
        "subclass": {"dataset": coarse, "targets": "subclass"},
    }
    labels = {name: label for name in names if (label := name.removeprefix("class ")) != name and label.isdecimal()}
    own |= {n: {"dataset": dataset, "targets": "class", "forget_ids": [int(label)]} for n, label in labels.items()}
    for name in names:
        if name not in own:
            raise unknown("protocol", name, own)
    if "subclass" in names and not coarse:
        raise NotApplicable(
            f"the classes of {', '.join(sets)} have no parts: leave the protocol subclass out, or take one of "
            f"{', '.join(PARTS)}"
        )
    return {name: config_grid(copies=0, **common, **own[name]) for name in names}
