"""Classes by the names that a data set gives them."""

import unicodedata
from collections.abc import Mapping, Sequence

from unlearnkit.core.errors import BadValue, unknown


def class_names(facts: Mapping, parts: bool = False) -> Sequence[str]:
    """The names of the classes, or of their parts, in the order of their labels; none for a set without. facts: of
    RawImages. Where no parts have names of their own, the classes are the parts."""
    names = facts.get("classes", ())
    return facts.get("subclasses", names) if parts else names


def labels_of(forget_ids: Sequence[int | str], classes: Sequence[str]) -> list[int]:
    """`forget_ids` with labels in place of the classes' names. classes: the names in the order of their labels, if any.

    Raises UnknownName for a name that no class has, BadValue for a number that is the name of a class and another's label.
    """
    labels = []
    for given in forget_ids:
        if isinstance(given, str):
            name = unicodedata.normalize("NFC", given)
            if name not in classes:
                raise unknown("class", given, classes)
            labels.append(classes.index(name))
        else:
            if str(given) in classes and classes.index(str(given)) != given:
                label = classes.index(str(given))
                other = f", or {classes[given]!r}, which has label {given}" if 0 <= given < len(classes) else ""
                raise BadValue(
                    f"forget_ids: {given} may be the class named '{given}', which has label {label}{other}: give the "
                    f'name, in quotes, as ["{given}"]'
                )
            labels.append(given)
    return labels
