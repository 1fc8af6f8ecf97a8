"""The record of a search, results/tuned/<dataset>/<model>/<method>.json: everything that was tried.

Runs read it through unlearnkit.methods.tuned_options.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearnkit.core import code_digest
from unlearnkit.core.errors import BadValue
from unlearnkit.core.provenance import provenance
from unlearnkit.images.config import MIXED, Config
from unlearnkit.methods import Search, methods, tuned_options
from unlearnkit.results import write_whole
from unlearnkit.study.domains import domain, load_task
from unlearnkit.tuning import objective, search_space


def make_record(
    method: str,
    grid: Sequence[Config],
    ranges: Mapping[str, Search],
    defaults: Mapping,
    trials: Sequence[Mapping],
    baselines: Mapping[str, float],
) -> dict:
    """What `write` puts into the file. trials: options, gap and by_seed of each, the defaults first; baselines: {row:
    gap} of rows that no option changes."""
    import optuna

    config, best = (
        grid[0],
        min(trials, key=lambda t: t["gap"]),
    )  # the earliest of equals: the default if nothing beats it
    task = load_task(config)
    wing = domain(config)
    task = objective.mixed_task(task, wing.GUESSED) if config.targets == MIXED else wing.without_test(task)
    settings = [name for name in search_space.SETTINGS[config.domain] if name not in ("train_size", "recipe")]
    return {
        "format": tuned_options.FORMAT,
        "method": method,
        "dataset": config.columns()["dataset"],
        "model": config.model,
        "values": best["options"],
        "defaults": dict(defaults),
        "searched": {name: vars(search) for name, search in ranges.items()},
        "objective": {"is": objective.goal(config), "n": len(grid), "default": trials[0]["gap"], "best": best["gap"]}
        | dict(baselines),
        "budget": {"trials": len(trials), "seeds": [c.seed for c in grid], "sampler": "Optuna TPE, seed 0"},
        "protocol": {"targets": config.targets, "n_targets": len(task.index("target")), "copies": config.copies}
        | {"train_size": config.train_size, "validation": len(task.index("test"))}
        | {name: getattr(config, name) for name in settings},
        "recipe": config.recipe.as_dict(),
        "trials": list(trials),
        "sources": code_digest.digests([methods[method]]),
        "made": provenance() | {"optuna": optuna.__version__},
    }


def check_budget(names: Sequence[str], dataset: str, model: str, trials: int, seeds: int) -> None:
    """Raises BadValue if a record of one of these methods has a larger budget, trials x forget sets: a quick try must not
    replace what a long search found."""
    larger = []
    for name in names:
        file = tuned_options.place(name, dataset, model)
        if os.path.lexists(file):
            before = tuned_options.read(file)
            known = len(before["trials"]), before["objective"]["n"]
            if known[0] * known[1] > trials * seeds:
                larger.append(f"{name} ({known[0]} trials on {known[1]} forget sets)")
    if larger:
        raise BadValue(
            f"{trials} trials on {seeds} forget sets are less than what is on record for {', '.join(larger)}: ask for as "
            "much, leave these methods out, or replace their records by --force"
        )


def write(record: Mapping) -> Path:
    """Write a record to its file, whole or not at all. A file that differs in its date and machine alone stays."""
    file = tuned_options.place(*(record[k] for k in ("method", "dataset", "model")))
    new = json.loads(json.dumps(record))
    if not os.path.lexists(file) or _reproducible(tuned_options.read(file)) != _reproducible(new):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: path.write_text(_one_line_per_entry(record), encoding="utf-8"))
    return file


def _reproducible(record: Mapping) -> dict:
    """All that the same code finds again: without date and machine."""
    return {k: v for k, v in record.items() if k != "made"}


def _one_line_per_entry(record: Mapping) -> str:
    """JSON with one line per entry, and per item of lists and tables of several, so that a diff shows a change."""
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


def summary(record: Mapping) -> str:
    """One line: the best values and their gap, beside the gaps of the defaults, the original and retraining again."""
    gaps, diverged = record["objective"], sum("diverged" in t for t in record["trials"])
    values = ", ".join(f"{k}={v}" for k, v in record["values"].items())
    text = f"gap {gaps['best']:.4f} with {values}; default {gaps['default']:.4f}, original {gaps['original']:.4f}"
    return f"{text}, retrain again {gaps['retrain_again']:.4f}" + (f"; {diverged} trials diverged" if diverged else "")
