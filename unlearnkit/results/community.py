"""The community's leaderboard: numbers that others measured, in results/community.yaml, and the row of a method for it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from unlearnkit.core import code_digest, paths
from unlearnkit.core.documents import check_shape, read_yaml
from unlearnkit.core.errors import BadValue

NAME = "results/community.yaml"
NUMBERS = (
    "residual_influence",
    "FA",
    "RA",
    "TA",
    "MIA",
    "RTE",
)  # columns of unlearnkit.analysis.tables.dose_response_table
TEXT = {"type": "string", "minLength": 1, "maxLength": 200, "description": "text of at most 200 characters is needed"}
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{12}$",
          "description": "a config's digest is needed, 12 hexadecimal digits (in quotes if all are decimal)"}  # fmt: skip
COMMIT = {"type": "string", "pattern": r"^(\S+-g)?[0-9a-f]{7,40}$",
          "description": "a commit of this project is needed, 7 to 40 hexadecimal digits, without -dirty"}  # fmt: skip
INTERVAL = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3,
            "description": "[mean, low, high] of a 95% interval are needed, three numbers"}  # fmt: skip
ROW = {
    "method": TEXT, "dataset": TEXT, "condition": TEXT, "config": DIGEST, "code": COMMIT, "by": TEXT,
    "n": {"type": "integer", "minimum": 2, "description": "the number of seeds is needed, at least 2: one has no interval"},
    "numbers": {"type": "object", "minProperties": 1, "propertyNames": {"enum": [*NUMBERS]},
                "additionalProperties": INTERVAL},
    "link": {"type": "string", "pattern": r"^https://\S+$", "description": "an address is needed that begins with https://"},
}  # fmt: skip
SCHEMA = {
    "type": "array",
    "items": {"type": "object", "properties": ROW, "required": [*ROW], "additionalProperties": False},
}


def rows(file: Path | None = None) -> list[dict]:
    """The rows of the community's leaderboard, none where there is no file.

    Raises BadValue, in one line with the row, for a file that is not such a leaderboard: a field that is missing, unknown or
    of another kind, an interval that does not hold its mean, two rows of one method, config and code.
    """
    file = file or paths.root() / NAME
    if not file.exists():
        return []
    content: list = read_yaml(file, NAME)
    check_shape(content, SCHEMA, NAME)
    seen: dict[tuple, int] = {}
    for i, row in enumerate(content):
        for name, (mean, low, high) in row["numbers"].items():
            if not low <= mean <= high:  # NaN does not pass, either
                raise BadValue(f"{NAME}: {i}.numbers.{name}: the mean {mean} is not between {low} and {high}")
        before = seen.setdefault((row["method"], row["config"], row["code"]), i)
        if before != i:
            raise BadValue(f"{NAME}: {i}: row {before} has the same method, config and code")
    return content


def entry(table: pd.DataFrame, configs: Sequence, method: str, *, by: str, link: str) -> str:
    """A row of the leaderboard as YAML, to be pasted into results/community.yaml.

    table: of unlearnkit.analysis.tables.dose_response_table; configs: what it was made from, one condition over its seeds;
    by: who measured it; link: to the method's code. Raises BadValue for several conditions, and for a method that is not
    there.
    """
    import yaml

    (digest, config), *others = {config_digest(c): c for c in configs}.items()
    mine = table[table.method == method]
    if others or len(mine) != 1:
        raise BadValue(f"one condition and one row of {method!r} are needed, got {1 + len(others)} and {len(mine)}")
    row = mine.iloc[0]
    numbers = {c: [_short(row[f"{c}{end}"]) for end in ("", "_low", "_high")]
               for c in NUMBERS if c in row and not pd.isna(row[c]) and not pd.isna(row[f"{c}_low"])}  # fmt: skip
    columns: Mapping = config.columns()
    condition = (
        f"{columns['targets']}, {config.copies} near-duplicates, {columns['perturbation']} {columns['strength']:g}"
    )
    made = {"method": method, "dataset": columns["dataset"], "condition": condition, "config": digest,
            "code": code_digest.version(), "n": int(row["n_seeds"]), "numbers": numbers, "by": by, "link": link}  # fmt: skip
    check_shape([made], SCHEMA, "the new row")
    return yaml.safe_dump([made], sort_keys=False, allow_unicode=True, default_flow_style=None)


def config_digest(config) -> str:
    """A digest of a config without its seed, 12 hexadecimal digits."""
    parts = {name: value for name, value in asdict(config).items() if name != "seed"}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
