"""The lists that `unlearnkit list` prints: what is registered, notebooks, profiles, tuned options; or one of them."""

import contextlib
import hashlib
import inspect
import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.core.errors import unknown
from unlearnkit.core.registry import plugin_names

LISTS = ("methods", "wrappers", "metrics", "rankers", "datasets", "perturbations", "models", "notebooks", "profiles")
WIDTH = 80


def show(what: str, name: str = "", as_json: bool = False) -> None:
    """Print what there is of one of LISTS, what is "tuned", or one thing in detail: show("method", "scrub").

    Some lines of at most WIDTH columns for each, or JSON with all that is known of it. Raises UnknownName for another word
    or name.
    """
    whole = f"{what}s" if name and f"{what}s" in LISTS else what
    if whole not in (*LISTS, "tuned"):
        raise unknown("list", what, (*LISTS, "tuned"))
    if whole in ("notebooks", "profiles"):
        paths.need_checkout(f"`list {what}`")
    rows = _stored(whole, {"tuned": _tuned, "notebooks": _notebooks, "profiles": _profiles}.get(whole, _registered))
    if name:
        key = "method" if whole == "tuned" else "name"
        rows = [row for row in rows if row[key] in (name, f"{name}(METHOD)")] or [_unknown(whole, name, key, rows)]
    if as_json:
        print(json.dumps(rows, indent=1))
    elif whole == "tuned":
        _print_tuned(rows)
    elif name:
        for row in rows:
            _print_one(row)
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            start = f"{row['name']:<{width}}  {_serves(row)}"
            _wrapped(row["summary"], start, " " * min(len(start), 30))


def _unknown(what: str, name: str, key: str, rows: list[dict]):
    raise unknown(what.removesuffix("s"), name, {row[key] for row in rows})


# --- for people ---


def _wrapped(text: str, start: str, indent: str) -> None:
    lines = textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)
    print("\n".join(lines) or start.rstrip())


def _serves(row: dict) -> str:
    """A column for "image", "text" or both, where an entry declares what it is for."""
    return f"{', '.join(row['domains']):<{len('image, text')}}  " if "domains" in row else ""


def _print_one(row: dict) -> None:
    """One thing: its description, what it declares, its options with type, default, source and range of tuning."""
    print(row["name"])
    for part in (row.get("text") or row["summary"]).split("\n\n"):
        _wrapped(" ".join(part.split()), "  ", "  ")
    for field, value in row.items():
        if field not in ("name", "summary", "text", "options", "parameters") and value not in ("", None, []):
            shown = (
                ", ".join(map(str, value)) if isinstance(value, list) else {True: "yes", False: "no"}.get(value, value)
            )
            _wrapped(str(shown), f"  {field.replace('_', ' ')}: ", "    ")
    for kind in ("options", "parameters"):
        if row.get(kind):
            print(f"\n{kind}")
        for name, option in row.get(kind, {}).items():
            search = option.get("search") or {}
            parts = [f"{option['type']}, default {option['default']!r}" if "default" in option else option["type"]]
            parts += [option["source"]] if option.get("source") else []
            if "low" in search:
                parts.append(f"tuned within {search['low']:g} to {search['high']:g}")
            _wrapped("; ".join(parts), f"  {name}: ", "    ")


def _print_tuned(rows: list[dict]) -> None:
    if not rows:
        print("nothing is tuned yet: methods run with published defaults; see `unlearnkit tune --help`")
    for row in rows:
        chosen = ", ".join(f"{k}={v} (default {row['defaults'][k]})" for k, v in row["values"].items())
        gaps = f"gap {row['gap_tuned']:.4f} (default {row['gap_default']:.4f}, n={row['n']})"
        tail = f"{row['trials']} trials" + (f", {row['diverged']} diverged" if row["diverged"] else "")
        stale = ", stale: the method's code changed since" if row["stale"] else ""
        start = f"{row['method']}  {row['dataset']}  {row['model']}: "
        _wrapped(f"{chosen}; {gaps}; {tail}{stale}", start, "    ")


# --- what there is ---


def _stored(what: str, make: Callable[[str], list[dict]]) -> list[dict]:
    """The rows of a list, kept in the cache until code, notebooks or tuned values change: making them imports torch."""
    code = [Path(__file__).parents[1] / package for package in ("unlearnkit", "data_builders")]
    files = [f for folder in code for f in folder.rglob("*.py")]
    files += [Path(name) for name in plugin_names() if name.endswith(".py")]
    files += [*paths.tuned().rglob("*.json"), *(paths.root() / "notebooks").rglob("*.[iy]*")]
    stamps = [(str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in sorted(files) if f.is_file()]
    state = json.dumps([what, sys.version, os.environ.get("UNLEARNKIT_PLUGINS", ""), stamps])
    file = paths.cache() / "lists" / f"{what}-{hashlib.sha256(state.encode()).hexdigest()[:20]}.json"
    try:
        digest, _, text = file.read_text(encoding="utf-8").partition("\n")
        if digest == hashlib.sha256(text.encode()).hexdigest():
            return json.loads(text)
    except (OSError, ValueError):  # not made yet, or damaged: it is made anew
        pass
    text = json.dumps(make(what), default=str)
    if not (paths.in_checkout() or "UNLEARNKIT_CACHE" in os.environ):
        return json.loads(text)  # the current folder is no place to leave files in
    with contextlib.suppress(OSError):  # who cannot write here sees the list all the same, and waits for it again
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in file.parent.glob(f"{what}-*.json"):
            old.unlink(missing_ok=True)
        file.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8")
    return json.loads(text)


def _registered(what: str) -> list[dict]:
    if what == "methods":
        from unlearnkit.methods import methods as registry
    elif what == "wrappers":
        from unlearnkit.wrappers import wrappers as registry
    elif what == "metrics":
        from unlearnkit.metrics import metrics as registry
    elif what == "rankers":
        from unlearnkit.privacy_risk import rankers as registry
    elif what == "models":
        return _models()
    elif what == "perturbations":
        from data_builders.perturbations import perturbations as registry
    else:
        from data_builders import datasets as registry
    return _described(registry)


def _models() -> list[dict]:
    """Classifiers of images, then language models."""
    import unlearnkit.analysis.reconstruction.model  # noqa: F401 (registers the networks of reconstruction)
    from unlearnkit.images.models import models
    from unlearnkit.texts.models import language_models

    by_domain = {"image": models, "text": language_models}
    return [row | {"domains": [domain]} for domain, registry in by_domain.items() for row in _described(registry)]


def _described(registry) -> list[dict]:
    return [
        {"name": name, "summary": entry.summary, **{k: v for k, v in entry.info.items() if not callable(v)}}
        | {"text": inspect.getdoc(entry.function) or ""}
        | {"options": {row.pop("name"): _option(row) for row in entry.described()}}
        for name, entry in sorted({**registry, **getattr(registry, "families", {})}.items())
    ]


def _option(row: dict) -> dict:
    """An option without its empty fields."""
    search = row.pop("search")
    return {k: v for k, v in row.items() if v != "" or k == "default"} | ({"search": vars(search)} if search else {})


def _notebooks(_: str) -> list[dict]:
    from unlearnkit.runner import notebook

    return [
        {
            "name": path.stem,
            "summary": notebook.title(path),
            "parameters": {n: {"default": d, "type": t} for n, (t, d) in notebook.parameters(path).items()},
        }
        for path in notebook.notebooks()
    ]


def _profiles(_: str) -> list[dict]:
    from unlearnkit.runner import grid

    return [row for profile in grid.PROFILES if (row := grid.described(profile))]


def _tuned(_: str) -> list[dict]:
    from unlearnkit.methods import tuned_options as tuned

    return tuned.listing()
