"""Cards of all registered things: methods, wrappers, metrics, data sets, and those of any registry that is added."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import data_builders
import unlearnkit
from unlearnkit.core import paths
from unlearnkit.core.errors import UnlearnkitError
from unlearnkit.core.registry import Entry, Registry
from unlearnkit.methods import tuned_options as tuned


@dataclass
class Card:
    """One registered thing. tests: (test, file) of those that name it; tuned: rows of tuned options."""

    kind: str
    name: str
    summary: str
    text: str
    facts: dict[str, str]
    options: list[dict]
    contracts: list[tuple[str, str]]
    tests: list[tuple[str, str]]
    tuned: list[dict] = field(default_factory=list)


def registries() -> dict[str, Registry]:
    """{kind: registry} of all registries in a package of the project, in the order of the packages."""
    by_kind: dict[str, Registry] = {}
    for root in (unlearnkit, data_builders):
        below = (m.name for m in pkgutil.walk_packages(root.__path__, f"{root.__name__}.") if m.ispkg)
        for name in (*sorted(below), root.__name__):
            if name != __package__:
                values = vars(importlib.import_module(name)).values()
                by_kind |= {r.kind: r for r in values if isinstance(r, Registry)}
    return by_kind


def cards(kind: str, registry: Registry) -> list[Card]:
    """One card per entry, in the order of names."""
    contracts, mentions = _contracts(kind), _mentions()
    made = []
    for name, entry in sorted(registry.items()):
        tests = mentions.get(name, []) + mentions.get(entry.function.__module__, [])
        facts = {k.replace("_", " "): _text(v) for k, v in entry.info.items() if not callable(v) and _text(v)}
        card = Card(
            kind, name, entry.summary, inspect.getdoc(entry.function) or "", facts, _options(entry), contracts, []
        )
        card.tests = sorted(dict.fromkeys(tests))
        card.tuned = _tuned(name) if kind == "method" else []
        made.append(card)
    return made


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _options(entry: Entry) -> list[dict]:
    rows = []
    for row in entry.described():
        search = row["search"]
        limits = f"{search.low:g} to {search.high:g}{', logarithmic' if search.log else ''}" if search else ""
        default = "" if row["default"] is inspect.Parameter.empty else repr(row["default"])
        rows.append({**row, "default": default, "search": limits})
    return rows


def _tuned(method: str) -> list[dict]:
    try:
        return [row for row in tuned.listing() if row["method"] == method]
    except UnlearnkitError:  # a damaged file: `unlearnkit verify` names it
        return []


def _contracts(kind: str) -> list[tuple[str, str]]:
    """(contract, the defect that it guards against) of those in a module `contracts` that take a thing of this kind."""
    pairs = []
    for module in pkgutil.walk_packages(unlearnkit.__path__, "unlearnkit."):
        if module.name.endswith("s.contracts"):
            for contract in getattr(importlib.import_module(module.name), "CONTRACTS", ()):
                if next(iter(inspect.signature(contract).parameters)) == kind:
                    guards = " ".join((inspect.getdoc(contract) or "").split())
                    pairs.append((contract.__name__.replace("_", " "), guards))
    return pairs


_known: dict[str, list[tuple[str, str]]] = {}


def _mentions() -> dict[str, list[tuple[str, str]]]:
    """{a name, or a module: (test, file) of the tests that are about it}.

    A test is about a name that its code has as a string, and about a module from which its file imports what it uses. Empty
    where there are no tests, as in an installed package.
    """
    if not _known:
        for path in sorted((paths.root() / "tests").glob("test_*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            imported = {
                alias.asname or alias.name: node.module
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module
                for alias in node.names
            }
            for test in tree.body:
                if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                    for about in _about(test, imported):
                        _known.setdefault(about, []).append((test.name[5:].replace("_", " "), path.name))
    return _known


def _about(test: ast.FunctionDef, imported: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(test):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name) and node.id in imported:
            yield imported[node.id]
