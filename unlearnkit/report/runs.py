"""Single runs as HTML: how each was made, and what was measured in it.

`known` and `run` are cached, since a run is behind many rows; a new Site clears both caches.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache

import pandas as pd
from markupsafe import Markup

from unlearnkit.core.store import described
from unlearnkit.report import show
from unlearnkit.report.sources import Result


@cache
def known(key: str) -> tuple[str, str, Mapping | None, Sequence[str]]:
    """(kind, parameters as HTML, how it was made, keys of what it was computed from) of a run that is in the cache."""
    entry = described(key)
    if entry is None:
        return "", "", None, ()
    params = "".join(f"<dt>{show.escape(k)}</dt><dd>{show.escape(v)}</dd>" for k, v in _flat(entry["params"]))
    return entry["kind"], params, entry["made"], entry["parents"]


@cache
def run(key: str) -> Markup:
    """A run as HTML: its parameters, versions and hardware, and the parameters of what it was computed from."""
    kind, params, made, parents = known(key)
    if made is None:
        return Markup(f'<p class="keys"><code>{key}</code></p>')
    parts = [f"<details><summary><code>{key}</code> {kind}</summary>", f'<dl class="facts">{params}</dl>']
    for parent in dict.fromkeys(parents):
        kind, params, parent_made, _ = known(parent)
        if parent_made:
            parts.append(
                f'<p class="parent">from {kind} <code>{parent}</code></p><dl class="facts small">{params}</dl>'
            )
    libraries = ", ".join(f"{name} {version}" for name, version in made["libraries"].items())
    machine = f"{made['gpu'] or made['processor']}, {made['threads']} thread{'s' * (made['threads'] != 1)}"
    parts.append(
        f"<p class='parent'>{made['date']}, code {made['code']}, Python {made['python']}, {libraries}; {machine}</p>"
    )
    return Markup("".join([*parts, "</details>"]))


def _flat(params: Mapping, before: str = "") -> list[tuple[str, str]]:
    """Nested parameters as (name, value), without empty ones."""
    pairs = []
    for name, value in sorted(params.items()):
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{before}{name}.")
        elif value not in ("", [], None):
            pairs.append((before + name, json.dumps(value) if isinstance(value, list) else str(value)))
    return pairs


def seeds(r: Result, keys: Sequence[str]) -> Markup:
    """The scores of each seed behind a row, metric by metric, as an HTML table; "" if no tidy record was kept."""
    if r.by_run is None:
        return Markup("")
    seed_of = r.runs.set_index("run").seed
    part = r.by_run[[key for key in keys if key in r.by_run]].dropna(how="all")
    part = part.T.groupby(seed_of[part.columns].to_numpy()).first().T  # a seed's numbers may come from several runs
    heads = [*(("", name) for name in part.index.names), *((" class=number", f"seed {seed}") for seed in part)]
    lines = ["".join(f"<th scope=col{kind}>{name}</th>" for kind, name in heads)]
    for index, values in zip(part.index, part.to_numpy().tolist()):
        words = "".join(f"<td>{show.escape(word)}</td>" for word in index)
        lines.append(
            words + "".join(f"<td class=number>{'' if pd.isna(value) else show.number(value)}</td>" for value in values)
        )
    head, *rows = (f"<tr>{line}</tr>" for line in lines)
    return Markup(f'<table class="data"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>')
