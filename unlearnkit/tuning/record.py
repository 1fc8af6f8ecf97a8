"""The file that tuning leaves: a record of the search, put in its place whole. Reading it is unlearnkit.methods.tuned_options's."""

import json
from collections.abc import Mapping
from pathlib import Path

from unlearnkit.methods import tuned_options as tuned
from unlearnkit.results import write_whole


def write(record: Mapping) -> Path:
    """Put a record in its place, whole or not at all. A file that says the same already keeps its date."""
    file = tuned.place(*(record[k] for k in ("method", "dataset", "model")))
    if not file.is_file() or _lasting(json.loads(file.read_text())) != _lasting(json.loads(json.dumps(record))):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: path.write_text(_by_line(record)))
    return file


def _lasting(record: Mapping) -> dict:
    """All that the same code finds again: not when, and on which machine."""
    return {k: v for k, v in record.items() if k != "made"}


def _by_line(record: Mapping) -> str:
    """JSON with one line per entry, and in lists and tables of more than one per item: a change is seen in a diff."""
    lines = []
    for key, value in record.items():
        if isinstance(value, dict) and len(value) > 1:
            inner = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            text = "{\n  " + ",\n  ".join(inner) + "\n }"
        elif isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        else:
            text = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
