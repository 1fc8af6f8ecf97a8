"""The lists that `unlearnkit list` prints: what is registered, the notebooks, the tuned options."""

import json

from unlearnkit.core.errors import unknown

LISTS = ("methods", "metrics", "rankers", "datasets", "perturbations", "models", "notebooks")


def show(what: str, as_json: bool) -> None:
    """Print what there is of one of LISTS, or what is "tuned": a line each, or JSON with all that is known of it.

    Raises UnknownName for another word.
    """
    if what not in (*LISTS, "tuned"):
        raise unknown("list", what, (*LISTS, "tuned"))
    if what == "tuned":
        _show_tuned(as_json)
        return
    rows = _notebooks() if what == "notebooks" else _registered(what)
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print(f"{row['name']:<{width}}  {_serves(row)}{row['summary']}")


def _serves(row: dict) -> str:
    """A column for "image", "text" or both, where an entry declares what it is for."""
    return f"{', '.join(row['domains']):<{len('image, text')}}  " if "domains" in row else ""


def _show_tuned(as_json: bool) -> None:
    from unlearnkit.methods import tuned_options as tuned

    rows = tuned.listing()
    if as_json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        print("nothing is tuned yet: all methods run with their published defaults; see `unlearnkit tune --help`")
    for row in rows if not as_json else ():
        chosen = ", ".join(f"{k}={v} (default {row['defaults'][k]})" for k, v in row["values"].items())
        gaps = f"gap {row['gap_tuned']:.4f} (default {row['gap_default']:.4f}, n={row['n']})"
        tail = f"{row['trials']} trials" + (f", {row['diverged']} diverged" if row["diverged"] else "")
        stale = ", stale: the method's code changed since" if row["stale"] else ""
        print(f"{row['method']}  {row['dataset']}  {row['model']}: {chosen}; {gaps}; {tail}{stale}")


def _registered(what: str) -> list[dict]:
    if what == "methods":
        from unlearnkit.methods import methods as registry
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
        | {"options": {row.pop("name"): _option(row) for row in entry.described()}}
        for name, entry in sorted({**registry, **getattr(registry, "families", {})}.items())
    ]


def _option(row: dict) -> dict:
    """An option without its empty fields."""
    search = row.pop("search")
    return {k: v for k, v in row.items() if v != "" or k == "default"} | ({"search": vars(search)} if search else {})


def _notebooks() -> list[dict]:
    from unlearnkit.runner import notebook

    return [
        {
            "name": path.stem,
            "summary": notebook.title(path),
            "parameters": {n: {"default": d, "type": t} for n, (t, d) in notebook.parameters(path).items()},
        }
        for path in notebook.notebooks()
    ]
