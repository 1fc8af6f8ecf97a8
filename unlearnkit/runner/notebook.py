"""Notebooks: their parameters, which are checked and not just injected, their titles and their code."""

import ast
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import get_args, get_origin

from unlearnkit.core import paths
from unlearnkit.core.documents import read_json
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.parameters import Parameters
from unlearnkit.core.registry import check_least, check_type
from unlearnkit.runner import parameters_cell

# tqdm, which transformers imports, warns in each notebook that widgets are missing; its progress bars work without them
warnings.filterwarnings("ignore", message="IProgress not found")


def check_parameters(namespace: MutableMapping, name: str = "") -> Parameters:
    """The notebook's parameters, checked: `parameters = check_parameters(globals(), "50_dose_response")`.

    Call it right after the parameters cell, before all imports. Parameters are what that cell declares, whatever else the
    kernel's names hold. papermill only warns of a parameter that a notebook does not have, and runs the defaults under a
    wrong label. This raises UnknownName for such a name, with the nearest one, and BadValue for a value that does not fit
    its annotation. One value where a list is asked for becomes a list of one.

    namespace: the kernel's, with the cells that have run as `In`; name: the notebook's. Without such cells the notebook's
    file says what is declared; where there is no file either, the annotations in the namespace do.
    """
    by_file = {path.stem: path for path in notebooks()}.get(name)
    in_file = parameters(by_file) if by_file else {}
    known = {n: hint for n, (hint, _) in in_file.items()}
    cell = parameters_cell.last(namespace.get("In", ()), known)
    declared = {key: _type(hint) for key, hint in (_declared(cell, known) if cell else known).items()}
    declared = declared or _annotated(namespace)
    for key in declared.keys() & namespace.keys():
        _check(f"parameter {key!r}", namespace[key], declared[key])
        if _is_single(namespace[key], declared[key]):
            namespace[key] = [namespace[key]]
    values = {key: namespace[key] for key in declared if key in namespace}
    return Parameters(values, name, defaults=values == {n: value for n, (_, value) in in_file.items()})


def _declared(cell: parameters_cell.Cell, known: Mapping[str, str]) -> dict[str, str]:
    """{name: annotation} of a parameters cell; a name without one has that of the notebook's file, `known`."""
    declared = cell.annotations | {key: known[key] for key in cell.bare if key in known}
    for key in cell.injected:
        if key not in declared:
            raise unknown("parameter", key, declared)
    for key in cell.bare:
        if key not in declared:
            raise BadValue(f"{key!r} in the parameters cell has no annotation: write {key}: int = ... if it is a new one; "
                           f"the others are {', '.join(declared)}")  # fmt: skip
    return declared


def _annotated(namespace: Mapping) -> dict[str, object]:
    """The names annotated in a namespace, with their types."""
    if "__annotate__" in namespace:  # from Python 3.14 on
        return dict(namespace["__annotate__"](1))
    return dict(namespace.get("__annotations__", {}))


def _check(what: str, value: object, hint: object) -> None:
    check_type(what, value, get_args(hint)[0] if _is_single(value, hint) else hint)
    if hint in (int, list[int]):  # sizes, counts, labels, ids
        for number in value if isinstance(value, list | tuple) else [value]:
            check_least(what, number)


def _is_single(value: object, hint: object) -> bool:
    """One value will do where a list is asked for: `-p copies 5`."""
    return get_origin(hint) is list and not isinstance(value, list | tuple)


def _type(annotation: str) -> object:
    """The type that an annotation in a parameters cell names."""
    types = {t.__name__: t for t in (int, float, str, bool, list, dict, tuple, object)}
    try:
        return eval(annotation, {"__builtins__": {}}, types)
    except (NameError, AttributeError, TypeError) as error:
        raise BadValue(
            f"a parameter is annotated {annotation!r}; known types: {', '.join(types)}, list[int], ..."
        ) from error


def notebooks() -> list[Path]:
    return sorted((paths.root() / "notebooks").glob("*.ipynb"))


def find(name: str) -> Path:
    """The notebook of this name, with or without .ipynb. Raises UnknownName with the nearest one."""
    by_name = {path.stem: path for path in notebooks()}
    stem = name.removesuffix(".ipynb")
    if stem not in by_name:
        raise unknown("notebook", stem, by_name)
    return by_name[stem]


def title(path: Path) -> str:
    """The first heading: the notebook's question."""
    for line in _cells(path, "markdown"):
        if line.startswith("# "):
            return line.split("\n")[0][2:].strip()
    return path.stem


def parameters(path: Path) -> dict[str, tuple[str, object]]:
    """Name -> (annotation, default) of the parameters cell, read without running anything."""
    source = next(iter(_cells(path, "code", tag="parameters")), "")
    try:
        annotated = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
        return {node.target.id: (ast.unparse(node.annotation), ast.literal_eval(node.value)) for node in annotated}  # type: ignore
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        why = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else error
        raise BadValue(
            f"{path.name}: the parameters cell must hold plain values, `copies: int = 5  # why`; {why}"
        ) from error


def check_arguments(path: Path, given: Mapping[str, object], declared: Mapping | None = None) -> None:
    """Raises UnknownName or BadValue for an argument that the notebook's parameters cell does not admit.

    declared: its `parameters`, where they are known.
    """
    declared = parameters(path) if declared is None else declared
    for name, value in given.items():
        if name not in declared:
            raise unknown(f"parameter of {path.name}", name, declared)
        _check(f"parameter {name!r} of {path.name}", value, _type(declared[name][0]))


def sources(path: Path) -> list[str]:
    """The code of the notebook, cell by cell, without outputs: what its result depends on."""
    return _cells(path, "code")


def _cells(path: Path, kind: str, tag: str | None = None) -> list[str]:
    """The sources of the cells of a kind, in their order."""
    try:
        return [
            "".join(cell["source"])
            for cell in read_json(path)["cells"]
            if cell["cell_type"] == kind and (tag is None or tag in cell["metadata"].get("tags", []))
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue(f"{path.name} is not a notebook: {error!r}") from error
