"""Metrics: `(evidence, reference) -> {group: number}`, each with its direction, unit and references.

direction: "lower" or "higher" is better, or "gap": only its distance to the reference's value says anything.
references: the models it is computed against, each giving a row of its own; () for metrics of one model alone.
"""

from collections.abc import Mapping

import pandas as pd

from unlearnkit.evidence import Evidence
from unlearnkit.registry import Registry

metrics = Registry("metric", "unlearnkit.metrics")


def metric(name: str, *, direction: str, unit: str, references: tuple[str, ...] = (), source: str = ""):
    """Register `function(evidence, reference) -> {group: number}` under `name`."""
    assert direction in ("lower", "higher", "gap"), direction
    return metrics.register(name, direction=direction, unit=unit, references=references, source=source)


def score(evidence: Evidence, references: Mapping[str, Evidence], names: list[str] | None = None) -> pd.DataFrame:
    """All metrics (or those of `names`) of one model: columns metric, reference ("" for none), group, value.

    references: {"original": ..., "retrain": ..., "clean": ...}. A metric's exception is not caught.
    """
    rows = []
    for name in names or sorted(metrics):
        entry = metrics[name]
        for reference in entry.info["references"] or ("",):
            values = entry(evidence, references[reference] if reference else None)
            rows += [(name, reference, group, float(value)) for group, value in values.items()]
    return pd.DataFrame(rows, columns=["metric", "reference", "group", "value"])
