"""Tuned options, as written by `unlearnkit tune`: results/tuned/<dataset>/<model>/<method>.json.

A method runs with its published defaults, overridden by tuned values if there is a file, overridden by the user's
options. The search itself is in unlearnkit.tuning.search; this module is all that a run needs.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.documents import read_json
from unlearnkit.core.errors import BadValue, UnlearnkitError
from unlearnkit.core.wording import some
from unlearnkit.methods import methods

FORMAT = 1
_NAMES = ("method", "dataset", "model")
_NEEDED = dict.fromkeys(_NAMES, str) | {"values": dict, "defaults": dict, "objective": dict, "trials": list}
_NEEDED |= {"sources": dict, "made": dict}


def place(method: str, dataset: str, model: str) -> Path:
    """The file of the tuned values. dataset: a registered name, or a path of your own, which has values
    of its own: see unlearnkit.core.paths.dataset_id."""
    return paths.tuned() / paths.dataset_id(dataset) / model / f"{method}.json"


def read(file: Path) -> dict:
    """The content of a file of tuned values. Raises BadValue if it is damaged, or not where `place` says."""
    again = f"restore {_shown(file)} from git, or delete it and run `unlearnkit tune` again"
    try:
        content = read_json(file, _shown(file))
    except BadValue as error:
        raise BadValue(f"{error}: {again}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not _fits(content):
        raise BadValue(f"{_shown(file)} does not hold tuned values of format {FORMAT}: {again}")
    if not _agrees(content):
        raise BadValue(f"{_shown(file)}: its values or gaps are not those of its own trials: {again}")
    method, dataset, model = (content[name] for name in _NAMES)
    if (wanted := place(method, dataset, model)) != file:
        raise BadValue(
            f"{_shown(file)} says that it was tuned for {method} on {dataset} with {model}: values are not carried over "
            f"to another method, dataset or model. Move it to {_shown(wanted)}, or delete it and run `unlearnkit tune` "
            "for what its place says"
        )
    return content


def _fits(content: Mapping) -> bool:
    """Whether a record has all parts that are read of it."""
    parts = all(isinstance(content.get(name), kind) for name, kind in _NEEDED.items())
    numbers = [content["objective"].get(name) for name in ("default", "best", "n")] if parts else []
    named = parts and all(content[name] and Path(content[name]).name not in ("", "..") for name in _NAMES)
    trials = parts and all(isinstance(trial, dict) for trial in content["trials"])
    sources = parts and all(isinstance(digest, str) for digest in content["sources"].values())
    return bool(
        named and trials and sources and isinstance(content["made"].get("date"), str)
        and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    )  # fmt: skip


def _agrees(content: Mapping) -> bool:
    """Whether values, defaults and gaps are those that its trials have: the defaults come first, the best is taken."""
    trials, gaps = content["trials"], content["objective"]
    if not any("gap" in trial for trial in trials):
        return True
    best = min((t for t in trials if isinstance(t.get("gap"), int | float)), key=lambda t: t["gap"], default={})
    return (
        (best.get("options"), best.get("gap")) == (content["values"], gaps["best"])
        and (trials[0].get("options"), trials[0].get("gap")) == (content["defaults"], gaps["default"])
    )  # fmt: skip


def values(method: str, dataset: str, model: str) -> dict:
    """The tuned options of a method, {} if it has not been tuned. A wrapped method has its own, else those of its base.

    Raises what `read` does, UnknownName for an option that the method does not have, BadValue for one of the wrong
    type.
    """
    file = place(method, dataset, model)
    if not os.path.lexists(file):
        base = getattr(methods[method], "base", None)
        return values(base.name, dataset, model) if base else {}
    options = read(file)["values"]
    try:
        methods[method].resolve(options)
    except UnlearnkitError as error:
        advice = f"Delete it and run `unlearnkit tune {method}` for this dataset and model again"
        raise type(error)(f"{_shown(file)}: {error}. {advice}") from error
    return options


def resolve(
    method: str,
    dataset: str,
    model: str,
    given: Mapping | None = None,
    *,
    tuned: bool = True,
    domain: str = "image",
) -> dict:
    """All options of a run: the published defaults of the domain ("image" or "text"), overridden by tuned values if
    `tuned`, overridden by `given`."""
    entry = methods[method]
    defaults = entry.info.get(domain, {})
    return entry.resolve(defaults | (values(method, dataset, model) if tuned else {}) | dict(given or {}))


def option_table(
    method: str,
    dataset: str,
    model: str = "small_cnn",
    given: Mapping | None = None,
    *,
    tuned: bool = True,
    domain: str = "image",
) -> list[dict]:
    """One row per option of `resolve`: option, value, default (the domain's), set by ("you", "tuned" or "default"), and
    the source of the default."""
    chosen = resolve(method, dataset, model, given, tuned=tuned, domain=domain)
    default = resolve(method, dataset, model, tuned=False, domain=domain)
    set_by = dict.fromkeys(values(method, dataset, model) if tuned else (), "tuned") | dict.fromkeys(given or (), "you")
    return [
        {
            "option": row["name"],
            "value": chosen[row["name"]],
            "default": default[row["name"]],
            "set by": set_by.get(row["name"], "default"),
            "source of the default": row["source"],
        }
        for row in methods[method].described()
    ]


def stale(content: Mapping) -> list[str]:
    """Modules of the method's code that changed since it was tuned. Such values are still used, but should be tuned
    again."""
    if content["method"] not in methods:
        return [f"method {content['method']}, which no longer exists"]
    before, now = content["sources"], code.digests([methods[content["method"]]])
    new = [module for module, digest in now.items() if digest not in before.values()]
    return sorted({*code.changed(before), *new})


def listing() -> list[dict]:
    """One row per file of tuned values, as shown by `unlearnkit list tuned`."""
    rows = []
    for file in _files():
        content = read(file)
        objective = content["objective"]
        rows.append(
            {name: content[name] for name in (*_NAMES, "values", "defaults")}
            | {"gap_default": objective["default"], "gap_tuned": objective["best"], "n": objective["n"]}
            | {"trials": len(content["trials"]), "diverged": sum("diverged" in t for t in content["trials"])}
            | {"stale": bool(stale(content)), "date": content["made"]["date"][:10]}
        )
    return rows


def states() -> list[tuple[str, str, str]]:
    """(name, state, detail) of each file, as of `unlearnkit.results.verify`: "ok", "stale" or "damaged"."""
    rows = []
    for file in _files():
        name = f"tuned/{file.relative_to(paths.tuned()).with_suffix('')}"
        try:
            content = read(file)
            changed = stale(content)
            if not changed:
                values(*(content[k] for k in _NAMES))  # raises if an option no longer exists
        except UnlearnkitError as error:
            rows.append((name, "damaged", str(error)))
            continue
        if changed:
            advice = f"unlearnkit tune {content['method']} --dataset {content['dataset']} --model {content['model']}"
            rows.append((name, "stale", f"changed since: {some(changed)}; still used; run `{advice}`"))
        else:
            budget = f"{len(content['trials'])} trials on {content['objective']['n']} forget sets"
            rows.append((name, "ok", f"{budget}, {content['made']['date'][:10]}"))
    return rows


def digest(parameters: Mapping) -> str:
    """One hash of the tuned values that a notebook with these parameters may use, "" for none: its result is made anew
    when one changes. parameters: `tuned`; `dataset` (one or several); `extra_conditions`, a list of dicts with more;
    `texts`, a dict with more."""
    if not parameters.get("tuned"):
        return ""
    named = [
        p["dataset"]
        for p in (parameters, *parameters.get("extra_conditions", ()), parameters.get("texts", {}))
        if "dataset" in p
    ]
    datasets = {paths.dataset_id(d) for name in named for d in ([name] if isinstance(name, str) else name)}
    files = [file for file in _files() if file.relative_to(paths.tuned()).parts[0] in datasets]
    options = {str(file.relative_to(paths.tuned())): read(file)["values"] for file in files}
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:20] if options else ""


def _files() -> Iterator[Path]:
    return iter(sorted(paths.tuned().rglob("*.json")))


def _shown(file: Path) -> str:
    """The path below the project, without the machine's folders."""
    return str(file.relative_to(paths.root()) if file.is_relative_to(paths.root()) else file)
