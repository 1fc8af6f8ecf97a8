"""What the notebooks need of the package beyond the study itself: parameters that are checked, not just injected."""

import ast
import json
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import get_args, get_origin

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.registry import check_type

# tqdm, which transformers brings along, asks each notebook for widgets; its bars are lines of text without them
warnings.filterwarnings("ignore", message="IProgress not found")

_IPYTHON = {"In", "Out", "exit", "quit", "get_ipython", "open"}


def check_parameters(namespace: MutableMapping) -> None:
    """Call right after the parameters cell, before all imports: `check_parameters(globals())`.

    papermill only warns of a parameter that a notebook does not have, and runs the defaults under a wrong label. This
    raises UnknownName for it, with the nearest name, and BadValue for a value that does not fit its annotation. One
    value where a list is asked for becomes a list of one.
    """
    declared = namespace.get("__annotations__") or namespace["__annotate__"](1)  # the latter from Python 3.14 on
    ours = (ModuleType, FunctionType, type)
    for name, value in [*namespace.items()]:
        if name.startswith("_") or name in _IPYTHON or isinstance(value, ours):
            continue
        if name not in declared:
            raise unknown("parameter", name, declared)
        _check(f"parameter {name!r}", value, declared[name])
        if _is_single(value, declared[name]):
            namespace[name] = [value]


def _check(what: str, value: object, hint: object) -> None:
    check_type(what, value, get_args(hint)[0] if _is_single(value, hint) else hint)


def _is_single(value: object, hint: object) -> bool:
    """One value will do where a list is asked for: `-p copies 5`."""
    return get_origin(hint) is list and not isinstance(value, list | tuple)


def notebooks() -> list[Path]:
    return sorted((paths.root() / "notebooks").glob("*.ipynb"))


def find(name: str) -> Path:
    """The notebook of this name, with or without .ipynb. Raises UnknownName with the nearest one."""
    found = {path.stem: path for path in notebooks()}
    stem = name.removesuffix(".ipynb")
    if stem not in found:
        raise unknown("notebook", stem, found)
    return found[stem]


def title(path: Path) -> str:
    """The first heading: the notebook's question."""
    for line in _cells(path, "markdown"):
        if line.startswith("# "):
            return line.split("\n")[0][2:].strip()
    return path.stem


def parameters(path: Path) -> dict[str, tuple[str, object]]:
    """Name -> (annotation, default) of the parameters cell, read without running anything."""
    source = next((c for c in _cells(path, "code", tag="parameters")), "")
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            found[node.target.id] = (ast.unparse(node.annotation), ast.literal_eval(node.value))  # type: ignore[union-attr]
    return found


def check_arguments(path: Path, given: Mapping[str, object]) -> None:
    """Raises UnknownName or BadValue for arguments that the notebook's parameters cell does not admit."""
    declared = parameters(path)
    types = {t.__name__: t for t in (int, float, str, bool, list, dict, tuple)}
    for name, value in given.items():
        if name not in declared:
            raise unknown(f"parameter of {path.name}", name, declared)
        hint = eval(declared[name][0], {"__builtins__": {}}, types)  # the annotation in a notebook of ours
        _check(f"parameter {name!r} of {path.name}", value, hint)


def sources(path: Path) -> list[str]:
    """The code of the notebook, cell by cell, without outputs: what its result depends on."""
    return list(_cells(path, "code"))


def _cells(path: Path, kind: str, tag: str | None = None):
    try:
        cells = json.loads(path.read_text())["cells"]
    except (ValueError, KeyError) as error:
        raise BadValue(f"{path.name} is not a notebook: {error}") from error
    for cell in cells:
        if cell["cell_type"] == kind and (tag is None or tag in cell["metadata"].get("tags", [])):
            yield "".join(cell["source"])
