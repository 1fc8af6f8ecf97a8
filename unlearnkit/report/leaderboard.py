"""One board of all scores: the tidy tables behind all results, with one number and its interval per metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval, residual_influence
from unlearnkit.metrics import metrics
from unlearnkit.report.sources import TIDY, Result

FIRST = ("target", "all")  # the group that a metric is shown for, if it has several
RHO = {"rho": "phi", "rho_net": "phi-decoy"}


@dataclass(frozen=True)
class Board:
    """rows: one per condition and method, with `runs`, their keys; values: {(metric, reference): (rows, 3) of mean, low and
    high, NaN where there is none}; groups: {metric: the group of samples it is shown for}; varying: columns that differ."""

    rows: pd.DataFrame
    values: dict[tuple[str, str], np.ndarray]
    groups: dict[str, str]
    varying: list[str]


def board(found: Sequence[Result]) -> Board | None:
    """None if no result has a tidy record."""
    scores = tidy(found)
    if scores is None:
        return None
    names = [c for c in scores if c not in TIDY]
    index = [*names, "method"]
    groups = _headline(scores)
    cut = scores[scores.group == scores.metric.map(groups)]
    told = scores.seed.where(scores.metric != "diverged")  # a seed on which a method diverged has no numbers
    rows = scores.assign(told=told).groupby(index, sort=False).agg(n=("told", "nunique"), runs=("run", frozenset))
    rows = rows.reset_index()
    lost = scores[scores.metric == "diverged"].groupby(index, sort=False).size()
    rows = rows.join(lost.rename("diverged"), on=index).fillna({"diverged": 0}).astype({"diverged": int})
    place = {key: i for i, key in enumerate(rows[index].itertuples(index=False, name=None))}
    values: dict[tuple[str, str], np.ndarray] = {}

    def put(metric: str, reference: str, key: tuple, told) -> None:
        table = values.setdefault((metric, reference), np.full((len(rows), 3), np.nan))
        table[place[key]] = [np.nan if v is None else v for v in told]

    for (metric, reference), part in cut[cut.metric != "diverged"].groupby(["metric", "reference"], sort=True):
        for key, group in part.groupby(index, sort=False).value:
            seen = mean_interval(group.to_numpy())
            put(metric, reference, key, (seen["mean"], seen["low"], seen["high"]))
    for name, metric in RHO.items():
        for key, *told in _rho(scores, metric, names):
            put(name, "clean", key, told)
    varying = [n for n in names if rows[n].nunique() > 1]
    ordered = sorted(values, key=lambda k: (k[0] not in RHO, k[0].lower(), k[1]))
    return Board(rows, {k: values[k] for k in ordered}, groups | dict.fromkeys(RHO, "target"), varying)


def tidy(found: Sequence[Result]) -> pd.DataFrame | None:
    """All tidy records under each other, each score once; a column that a record does not have is empty there."""
    frames, taken = [], set()
    for result in found:
        files = [d for name, d in result.entry.get("files", {}).items() if name.startswith("scores/")]
        if files and files[0] not in taken and result.record is not None and TIDY.issubset(result.record):
            taken.add(files[0])
            frames.append(result.record.assign(profile=result.profile or "small"))
    if not frames:
        return None
    scores = pd.concat(frames, ignore_index=True)
    for name in {*scores, *CONDITION_COLUMNS}:
        if name not in scores:
            scores[name] = ""
        elif name not in ("value", "seed"):
            scores[name] = scores[name].astype(object).where(scores[name].notna(), "")
    names = [
        "profile",
        *CONDITION_COLUMNS,
        *sorted(c for c in scores if c not in TIDY and c not in (*CONDITION_COLUMNS, "profile")),
    ]
    which = [*names, "method", "seed", "metric", "reference", "group"]
    return scores[[*which, "value", "run"]].drop_duplicates(which, ignore_index=True)


def _headline(scores: pd.DataFrame) -> dict[str, str]:
    """{metric: the group that it is shown for}."""
    known = scores[["metric", "group"]].drop_duplicates().groupby("metric", sort=False).group.agg(list)
    return {metric: next((g for g in FIRST if g in groups), groups[0]) for metric, groups in known.items()}


def _rho(scores: pd.DataFrame, metric: str, names: Sequence[str]):
    """(row's key, mean, low, high) wherever original and clean stand beside a method."""
    others = [n for n in names if n not in CONDITION_COLUMNS]
    wanted = scores[(scores.metric == metric) & (scores.group == "target") & (scores.reference == "")]
    for condition, part in wanted.groupby(others, sort=False):
        if {"original", "clean"} <= set(part.method):
            known = part.groupby(CONDITION_COLUMNS).method.transform(lambda m: {"original", "clean"} <= set(m))
            told = residual_influence(part[known], metric)
            for index, row in told.iterrows():
                by_name = dict(zip([*CONDITION_COLUMNS, "method"], index)) | dict(zip(others, condition))
                yield (
                    tuple(by_name[n] for n in [*names, "method"]),
                    *(_none(row[c]) for c in ("rho", "rho_low", "rho_high")),
                )


def _none(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def about(metric: str) -> dict[str, str]:
    """Direction, unit and meaning of a metric of the board."""
    if metric in RHO:
        net = ", net of what the model knows of decoys" if metric == "rho_net" else ""
        said = (
            f"Residual influence of the targets{net}: 1 as before unlearning, 0 as in a model that saw nothing alike."
        )
        return {"direction": "gap", "unit": "share", "summary": said}
    if metric not in metrics:
        return {"direction": "", "unit": "", "summary": ""}
    entry = metrics[metric]
    return {"direction": entry.info["direction"], "unit": entry.info["unit"], "summary": entry.summary}
