"""The classical protocols, where nothing similar stays: which cells each of them is."""

from collections.abc import Sequence

from unlearnkit.cell import Cell, cells
from unlearnkit.errors import unknown

PROTOCOLS = ("tenth", "class", "classes", "subclass")


def protocols(
    names: Sequence[str],
    dataset: str | Sequence[str],
    *,
    classes: Sequence[int] = (1, 3),
    parts: str = "digits_parity",
    **common,
) -> dict[str, list[Cell]]:
    """{protocol: its cells}: a random tenth of the training set, one drawn class, several `classes`, or a drawn part of a
    class of the data set `parts`; copies are none.

    common: what else a grid of cells takes (unlearnkit.cell.cells). Raises UnknownName for a protocol that there is not.
    """
    own = {
        "tenth": {"dataset": dataset, "targets": "tenth"},
        "class": {"dataset": dataset, "targets": "class"},
        "classes": {"dataset": dataset, "targets": "class", "which": list(classes)},
        "subclass": {"dataset": parts, "targets": "subclass"},
    }
    for name in names:
        if name not in own:
            raise unknown("protocol", name, own)
    return {name: cells(copies=0, **common, **own[name]) for name in names}
