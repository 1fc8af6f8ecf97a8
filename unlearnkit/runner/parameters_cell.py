"""The parameters cell of a running notebook, read from the cells that its kernel has run.

IPython keeps the source of every cell that has run, whoever sent it: JupyterLab, VS Code, nbval, papermill. The notebook's
file may not be known there, or may hold an older cell than the one on the screen; the kernel's names hold what startup
files, IPython and earlier runs left behind. The cell itself has neither trouble.
"""

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass

INJECTED = "# Parameters"  # how the cell begins that papermill puts below the parameters cell


@dataclass(frozen=True)
class Cell:
    """annotations: {name: annotation as written}; bare: the names that it sets without one; injected: those that a cell of
    papermill's below it sets."""

    annotations: dict[str, str]
    bare: tuple[str, ...]
    injected: tuple[str, ...]


def last(cells: Sequence[str], known: Collection[str] = ()) -> Cell | None:
    """The parameters cell that ran last, None if none did: one that does nothing but set names, some with an annotation.

    cells: what the kernel has run, in order; known: names of which it must declare one, if there are any.
    """
    injected: list[str] = []
    for source in reversed(cells):
        statements = _statements(source)
        names = {_name(s.target): ast.unparse(s.annotation) for s in statements if isinstance(s, ast.AnnAssign)}
        plain = [_name(target) for s in statements if isinstance(s, ast.Assign) for target in s.targets]
        if names and (not known or not names.keys().isdisjoint(known)):
            return Cell(names, tuple(plain), tuple(injected))
        if source.startswith(INJECTED):
            injected = plain + injected
    return None


def _statements(source: str) -> list[ast.stmt]:
    """The statements of a cell if each sets plain names, else none."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell that failed
        return []
    return body if all(_sets_names(statement) for statement in body) else []


def _sets_names(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return bool(_name(statement.target))
    return isinstance(statement, ast.Assign) and all(_name(target) for target in statement.targets)


def _name(target: ast.expr) -> str:
    """The name that an assignment sets, "" if it sets an attribute, an item or several."""
    return target.id if isinstance(target, ast.Name) else ""
