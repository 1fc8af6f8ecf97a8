"""Registries of methods, metrics, models, datasets: looked up by name, extended by a decorator.

A registry imports every file in its package, and every module or `.py` file named in `UNLEARNKIT_PLUGINS`
(comma-separated), which is how code of your own gets into every notebook, papermill run and table.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, InputError, unknown
from unlearnkit.core.renamed import import_hint


@dataclass(frozen=True)
class Entry:
    """One registered function: `entry(...)` calls it, `entry.info` holds what was declared with it."""

    kind: str
    name: str
    function: Callable
    info: dict = field(default_factory=dict)

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    @property
    def summary(self) -> str:
        """The first sentence of the function's docstring."""
        first = " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())
        return first.split(". ")[0].rstrip(".") + "." if first else ""

    @property
    def functions(self) -> tuple[Callable, ...]:
        """All functions whose code its results depend on."""
        return (self.function,)

    def hints(self) -> dict[str, object]:
        """Its annotations by name, with those beside the types (`Annotated`)."""
        return typing.get_type_hints(self.function, include_extras=True)

    def options(self) -> dict[str, inspect.Parameter]:
        """Its keyword options with type and default: all keyword-only parameters but seed and device."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ("seed", "device")}

    def described(self) -> list[dict]:
        """One row per option: name, type in plain words, default, source, and search, the range of tuning (or None)."""
        hints = self.hints()
        rows = []
        for name, option in self.options().items():
            hint = hints.get(name, object)
            annotated = typing.get_origin(hint) is typing.Annotated
            plain, *extras = typing.get_args(hint) if annotated else [hint]
            source = "; ".join(extra for extra in extras if isinstance(extra, str))
            search = next((extra for extra in extras if not isinstance(extra, str)), None)
            row = {"name": name, "type": _plainly(plain), "default": option.default}
            rows.append(row | {"source": source, "search": search})
        return rows

    def resolve(self, given: Mapping[str, object]) -> dict[str, object]:
        """All options, the given ones checked and the rest at their defaults.

        Raises UnknownName for an option it does not have and BadValue for one of the wrong type, for a negative number of
        something and for one that is not a number.
        """
        options, hints = self.options(), self.hints()
        for name, value in given.items():
            if name not in options:
                raise unknown(f"option of {self.kind} {self.name!r}", name, options)
            what, default = f"option {name!r} of {self.kind} {self.name!r}", options[name].default
            check_type(what, value, hints.get(name, object))
            if type(value) is int and type(default) is int and default >= 0:  # one from the end, as -1, is no number of
                check_least(what, value, 1 if "batch" in name else 0)
            if value != value:
                raise BadValue(f"{what} must be a number, got {value}")
        missing = [n for n, p in options.items() if p.default is p.empty and n not in given]
        if missing:
            raise BadValue(f"{self.kind} {self.name!r} needs a value for: {', '.join(missing)}")
        return {n: given.get(n, p.default) for n, p in options.items()}


@dataclass(frozen=True)
class Wrapped(Entry):
    """A function around another entry, which is its first argument; its options are those of both.

    Raises BadValue if both have an option of the same name.
    """

    base: Entry = None

    def __post_init__(self):
        if shared := set(Entry.options(self)) & set(self.base.options()):
            raise BadValue(
                f"{self.kind} {self.name!r}: both the wrapper and {self.base.name} have an option {', '.join(shared)}"
            )

    def __call__(self, *args, **kwargs):
        inner = {name: kwargs.pop(name) for name in self.base.options() if name in kwargs}
        return self.function(functools.partial(self.base, **inner), *args, **kwargs)

    @property
    def functions(self) -> tuple[Callable, ...]:
        return (self.function, *self.base.functions)

    def hints(self) -> dict[str, object]:
        return self.base.hints() | Entry.hints(self)

    def options(self) -> dict[str, inspect.Parameter]:
        return Entry.options(self) | self.base.options()


def check_type(what: str, value: object, hint: object) -> None:
    """Raises BadValue unless `value` is of the type `hint` (int passes for float, bool not for int)."""
    if not _fits(value, hint):
        raise BadValue(f"{what} must be {_plainly(hint)}, got {value!r} ({type(value).__name__})")


def check_least(what: str, value: float, least: float = 0) -> None:
    """Raises BadValue for a value below `least`, and for one that is not a number."""
    if not value >= least:
        raise BadValue(f"{what} must be at least {least}, got {value}")


def _plainly(hint) -> str:
    """`float`, `list[int]`, `Literal['a', 'b']`: a type as a person would write it."""
    if typing.get_origin(hint) is typing.Annotated:
        return _plainly(typing.get_args(hint)[0])
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")


def _fits(value, hint) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _fits(value, args[0])
    if hint in (object, typing.Any):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, a) for a in args)
    if origin is typing.Literal:
        return value in args and any(type(value) is type(a) for a in args)
    if origin in (list, tuple, dict):
        return isinstance(value, origin) and (not args or all(_fits(v, args[-1]) for v in value))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


registries: dict[str, "Registry"] = {}  # by kind: where a lower package looks up what a higher one registers


class Registry(Mapping):
    """Name -> Entry. package: its files register themselves when imported; hint: ends the error for unknown names."""

    def __init__(self, kind: str, package: str | None = None, hint: str = ""):
        self.kind, self.package, self.hint = kind, package, hint
        registries[kind] = self
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(self, name: str, **info) -> Callable:
        """Decorator that adds a function under `name`; a second registration of the name replaces the first one."""

        def add(function: Callable) -> Callable:
            self._entries[name] = Entry(self.kind, name, function, info)
            return function

        return add

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True  # first, since an imported file may look names up here
            try:
                if self.package:
                    for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                        importlib.import_module(f"{self.package}.{module.name}")
                load_plugins()
            except BaseException:  # or the next look would find what is there without a word of what is missing
                self._loaded = False
                raise

    def __getitem__(self, name: str) -> Entry:
        self._load()
        if name not in self._entries:
            hint = f"{self.hint} To add one, see the README: Add a {self.kind}."
            raise unknown(self.kind, name, self._entries, hint.strip())
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def __contains__(self, name) -> bool:
        self._load()
        return name in self._entries


def load_plugins() -> list[types.ModuleType]:
    """Import what `UNLEARNKIT_PLUGINS` names (modules or .py files, comma-separated), once per process."""
    return [_plugin(name) for name in plugin_names()]


def plugin_names() -> list[str]:
    """The names in `UNLEARNKIT_PLUGINS`, files by their absolute path: a worker may run in another folder."""
    names = [n.strip() for n in os.environ.get("UNLEARNKIT_PLUGINS", "").split(",") if n.strip()]
    return [str(paths.at(n).resolve()) if n.endswith(".py") else n for n in names]


def _plugin(name: str) -> types.ModuleType:
    try:
        return _plugin_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a plugin may raise anything, and may be a script that ends itself
        renamed = import_hint(error) if isinstance(error, ImportError) else ""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
        where = f" in line {lines[-1]}" if lines else ""
        reason = renamed or f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"UNLEARNKIT_PLUGINS names {name!r}, which cannot be imported{where}: {reason}") from error


def _plugin_file(path: Path) -> types.ModuleType:
    alias = f"unlearnkit_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"  # stems may be equal
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(alias, path)
        sys.modules[alias] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:  # or it would be taken for loaded at the next look
            del sys.modules[alias]
            raise
    return sys.modules[alias]
