"""Which code a result depends on, so that a change in it, and only in it, makes the result stale."""

import ast
import functools
import hashlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

import unlearnkit

PACKAGES = ("unlearnkit", "data_builders")
UNCOUNTED = ("unlearnkit", "unlearnkit.core.renamed")  # the public face and hints about old names: no result needs them
HOME = Path(__file__).resolve().parents[2]  # the folder that holds both packages
Roots = Iterable[Callable | ModuleType]


def digests(roots: Roots) -> dict[str, str]:
    """Module name -> digest for the modules of `roots` and every project module that they import, however deep.

    Comments, docstrings, layout and imports from the project do not count. A function from elsewhere (a notebook, a plugin)
    counts by its own source and that of the project modules its file imports.
    """
    return dict(_digests(_plain(roots)))


def fingerprint(roots: Roots) -> list[str]:
    """What a key holds of the code of `roots`: a digest per module, sorted, without any module's name.

    Each digest covers the module's own program and, of the project's names that it imports, which program they come from.
    So a module can move, with its imports rewritten, and no key changes; a changed operator, or a function taken from
    another module, changes it.
    """
    return list(_fingerprints(_plain(roots)))


def _plain(roots: Roots) -> tuple[Callable | ModuleType, ...]:
    return tuple(f for thing in roots for f in getattr(thing, "functions", (thing,)))  # of registry entries


@functools.cache
def _digests(roots: tuple[Callable | ModuleType, ...]) -> dict[str, str]:
    return {name: _digest(text) for name, text in _sources(roots).items()}


@functools.cache
def _fingerprints(roots: tuple[Callable | ModuleType, ...]) -> list[str]:
    return _fingerprint(_sources(roots))


def _fingerprint(sources: Mapping[str, str]) -> list[str]:
    program = {name: _digest(text) for name, text in sources.items()}
    imports = {name: [(*names, program[of]) for *names, of in _imports(text, name)] for name, text in sources.items()}
    return sorted(_sha256(repr((program[name], sorted(imports[name])))) for name in sources)


@functools.cache
def _sources(roots: tuple[Callable | ModuleType, ...]) -> dict[str, str]:
    """Module name -> text, sorted; read once per process: what is loaded is what runs, whatever is edited meanwhile."""
    sources: dict[str, str] = {}
    todo: list[str] = []
    for thing in roots:
        module = thing if isinstance(thing, ModuleType) else sys.modules[thing.__module__]
        if _file(module.__name__):
            todo.append(module.__name__)
        else:
            own = getattr(module, "__file__", None)
            text = Path(own).read_text(encoding="utf-8") if own else inspect.getsource(thing)
            sources[f"{module.__name__}.{getattr(thing, '__qualname__', '')}"] = text
            todo += [source for *_, source in _imports(text, "")]
    while todo:
        name = todo.pop()
        if name not in sources:
            sources[name] = text = _file(name).read_text(encoding="utf-8")
            todo += [source for *_, source in _imports(text, name)]
    return dict(sorted(sources.items()))


def everything() -> str:
    """One digest of all project code: what an executed notebook depends on at most."""
    return _sha256("".join(_fingerprint(_project())))


def current(module: str) -> str | None:
    """The digest of a module as it is now, None if it is gone."""
    file = _file(module)
    return _digest(file.read_text(encoding="utf-8")) if file else None


def changed(sources: Mapping[str, str]) -> list[str]:
    """The modules of `digests(...)`, taken earlier, whose program is another now. One that has moved has not changed."""
    others = [module for module, digest in sources.items() if current(module) != digest]
    if all(_file(module) for module in others):
        return others
    kept = {_digest(text) for text in _project().values()}
    return [module for module in others if _file(module) or sources[module] not in kept]


def _project() -> dict[str, str]:
    """Module name -> text of all modules of the project that results may depend on."""
    paths = [path for package in PACKAGES for path in (HOME / package).rglob("*.py")]
    names = {path: ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return {name: path.read_text(encoding="utf-8") for path, name in sorted(names.items()) if name not in UNCOUNTED}


def _file(name: str) -> Path | None:
    if name.split(".")[0] not in PACKAGES:
        return None
    path = HOME.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _imports(text: str, importer: str) -> tuple[tuple[str, str, str], ...]:
    """(name, name it is bound to, project module it comes from) of each import from the project, at the top or inside
    functions. A module that is imported as a whole has no name: its own is its place."""
    imports = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports |= {("", alias.asname or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, importer)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if _file(whole):
                    imports.add(("", alias.asname or alias.name, whole))
                else:
                    imports.add((alias.name, alias.asname or alias.name, base))
    return tuple(sorted(found for found in imports if found[2] not in UNCOUNTED and _file(found[2])))


def _absolute(node: ast.ImportFrom, importer: str) -> str:
    """The module that a from-import names; that of a relative one, too."""
    base = node.module or ""
    return ".".join([*importer.split(".")[: -node.level], *filter(None, [base])]) if node.level else base


@functools.cache
def _digest(text: str) -> str:
    return _sha256(_canonical(ast.parse(text)))[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _canonical(node) -> str:
    """The syntax tree as text, the same on every Python version we support: without docstrings, positions and imports from
    the project."""
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list) and _is_docstring(node, value):
                value = value[1:]
            if isinstance(value, list):
                value = [part for part in value if not _is_own_import(part)]
            if value not in (None, []) and name not in ("ctx", "type_comment", "kind"):
                parts.append(f"{name}={_canonical(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    return repr(node)


def _is_own_import(node) -> bool:
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in PACKAGES for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.level > 0 or node.module.split(".")[0] in PACKAGES)


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
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=10, check=True).stdout
