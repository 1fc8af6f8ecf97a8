"""Which code a result depends on, so that a change in it, and only in it, makes the result stale."""

import ast
import functools
import hashlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import unlearnkit

PACKAGES = ("unlearnkit", "data_builders")
HOME = Path(__file__).resolve().parents[2]  # the folder that holds both packages


def digests(roots: Iterable[Callable | ModuleType]) -> dict[str, str]:
    """Module name -> digest for the modules of `roots` and every project module that they import, however deep.

    Comments, docstrings and layout do not count. A function from elsewhere (a notebook, a plugin) counts by its own
    source and that of the project modules its file imports.
    """
    return _digests(tuple(f for thing in roots for f in getattr(thing, "functions", (thing,))))  # of registry entries


@functools.cache
def _digests(roots: tuple[Callable | ModuleType, ...]) -> dict[str, str]:
    """Read once per process: what is loaded is what runs, however the files are edited meanwhile."""
    found: dict[str, str] = {}
    todo = []
    for thing in roots:
        module = thing if isinstance(thing, ModuleType) else sys.modules[thing.__module__]
        if _file(module.__name__):
            todo.append(module.__name__)
        else:
            own = getattr(module, "__file__", None)
            text = Path(own).read_text() if own else inspect.getsource(thing)
            found[f"{module.__name__}.{getattr(thing, '__qualname__', '')}"] = _digest(text)
            todo += _imports(text, "")
    while todo:
        name = todo.pop()
        if name not in found:
            text = _file(name).read_text()
            found[name] = _digest(text)
            todo += _imports(text, name)
    return dict(sorted(found.items()))


def everything() -> str:
    """One digest of all project code: what an executed notebook depends on at most."""
    files = sorted(path for package in PACKAGES for path in (HOME / package).rglob("*.py"))
    return hashlib.sha256("".join(_digest(path.read_text()) for path in files).encode()).hexdigest()[:20]


def current(module: str) -> str | None:
    """The digest of a module as it is now, None if it is gone."""
    file = _file(module)
    return _digest(file.read_text()) if file else None


def _file(name: str) -> Path | None:
    if name.split(".")[0] not in PACKAGES:
        return None
    path = HOME.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _imports(text: str, importer: str) -> tuple[str, ...]:
    """Project modules that the source imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*importer.split(".")[: -node.level], *filter(None, [base])])
            names |= {f"{base}.{alias.name}" if _file(f"{base}.{alias.name}") else base for alias in node.names}
    return tuple(sorted(n for n in names if _file(n) and n not in PACKAGES))


@functools.cache
def _digest(text: str) -> str:
    return hashlib.sha256(_canonical(ast.parse(text)).encode()).hexdigest()[:16]


def _canonical(node) -> str:
    """The syntax tree as text without docstrings and positions, the same on every Python version we support."""
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list) and _is_docstring(node, value):
                value = value[1:]
            if value not in (None, []) and name not in ("ctx", "type_comment", "kind"):
                parts.append(f"{name}={_canonical(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    return repr(node)


def _is_docstring(node, body) -> bool:
    if not body or not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


@functools.cache
def version() -> str:
    """The commit of a checkout, with -dirty if a tracked file differs from it, else the package's version.

    What a run writes does not count: all below results/ but the tuned values, which runs read.
    """
    try:
        found = _git("describe", "--always", "--abbrev=12")
        changed = [line[3:].split(" -> ")[-1] for line in _git("status", "--porcelain", "-uno").splitlines()]
    except (OSError, subprocess.SubprocessError):
        return unlearnkit.__version__
    read = [name for name in changed if not name.startswith("results/") or name.startswith("results/tuned/")]
    return found.strip() + ("-dirty" if read else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HOME), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
