"""What stands behind the rows of a table: runs, their scores, how each was made. One file of data a table, which the page of
the table shows row by row (static/table.js)."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from unlearnkit.core.store import described
from unlearnkit.report.sources import Result

GROUPS = ("target", "similar", "retain", "test", "all")  # of samples; scores of others stay in the project's records


def data(r: Result, commands: Sequence[str]) -> dict:
    """For a script, compactly, since a table may have thousands of runs.

    rows: per row [command, numbers of its runs, 1 if each seed has at most one number per measure, else 0]; keys: of all
    runs; seeds: of each, "" where unknown; measures: [metric, reference, group], of GROUPS; scores: per run of a row with
    1 its values in the order of `measures`, joined by commas, an empty one where it has none; words, known, made: see
    `_Details`.
    """
    numbers: dict[str, int] = {}
    behind = [[numbers.setdefault(key, len(numbers)) for key in keys] for keys in r.behind]
    seeds = r.runs.set_index("run").seed.to_dict() if "seed" in r.runs else {}
    details = _Details()
    scores = None if r.by_run is None else r.by_run[r.by_run.index.get_level_values("group").isin(GROUPS)]
    single = [scores is not None and _single(scores, keys, seeds) for keys in r.behind]
    shown = {key for keys, one in zip(r.behind, single) if one for key in keys}
    found = {
        "rows": [[command, runs, int(one)] for command, runs, one in zip(commands, behind, single)],
        "keys": list(numbers),
        "seeds": [_plain(seeds.get(key, "")) for key in numbers],
        "measures": [] if scores is None else [list(index) for index in scores.index],
        "scores": [_joined(scores, key) if key in shown else "" for key in numbers],
        "runs": [details.number(key) for key in numbers],
    }
    return found | {"words": list(details.words), "known": details.known, "made": list(details.made)}


def script(found: Mapping) -> str:
    """The data as a script for a page: also read where a page may fetch nothing, as from a disk."""
    return f"window.ROWS={json.dumps(found, separators=(',', ':'), allow_nan=False)};\n".replace("</", "<\\/")


def _joined(by_run: pd.DataFrame, key: str) -> str:
    if key not in by_run:
        return ""
    words = ("" if pd.isna(v) else f"{v:.4g}" for v in by_run[key].tolist())
    return ",".join(word.removeprefix("0") if "." in word else word for word in words).rstrip(",")


def _single(scores: pd.DataFrame, keys: Sequence[str], seeds: Mapping) -> bool:
    """Whether no two of these runs share a seed and a measure. Rows over many methods do."""
    there = [key for key in keys if key in scores]
    of_seed = [seeds.get(key, "") for key in there]
    if there and len(set(of_seed)) == len(there):
        return True
    known = scores[there].notna()
    return not known.empty and bool((known.T.groupby(of_seed).sum() <= 1).to_numpy().all())


def _plain(value: object) -> object:
    return int(value) if isinstance(value, int | float) or hasattr(value, "item") else str(value)


class _Details:
    """What the cache still knows of runs, each text once.

    words: "name value" of parameters; made: versions and hardware; known: [kind, number in `made`, numbers in `words`,
    [[key, number in `known`] of what it was computed from]].
    """

    def __init__(self):
        self.words: dict[str, int] = {}
        self.made: dict[str, int] = {}
        self.known: list[list] = []
        self._numbers: dict[str, int] = {}

    def number(self, key: str, parents: bool = True) -> int:
        """Its number in `known`, -1 if the cache does not have it any more."""
        if key not in self._numbers:
            entry = described(key)
            if entry is None:
                return -1
            words = [self.words.setdefault(word, len(self.words)) for word in _flat(entry["params"])]
            made = self.made.setdefault(_made(entry["made"]), len(self.made))
            self._numbers[key] = len(self.known)
            self.known.append([entry["kind"], made, words, []])
            if parents:
                above = [(parent, self.number(parent, False)) for parent in dict.fromkeys(entry["parents"])]
                self.known[self._numbers[key]][3] = [[parent, n] for parent, n in above if n >= 0]
        return self._numbers[key]


def _made(made: Mapping) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in made["libraries"].items())
    machine = f"{made['gpu'] or made['processor']}, {made['threads']} thread{'s' * (made['threads'] != 1)}"
    return f"{made['date'][:10]}, code {made['code']}, Python {made['python']}, {libraries}; {machine}"


def _flat(params: Mapping, before: str = "") -> list[str]:
    """Nested parameters as "name value", without empty ones."""
    words = []
    for name, value in sorted(params.items()):
        if isinstance(value, Mapping):
            words += _flat(value, f"{before}{name}.")
        elif value not in ("", [], None):
            words.append(f"{before}{name} {json.dumps(value) if isinstance(value, list) else value}")
    return words
