"""One board of all scores: the tidy tables behind all results, with one number and its interval per metric."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval, residual_influence
from unlearnkit.metrics import metrics
from unlearnkit.report import show
from unlearnkit.report.sources import TIDY, Result

FIRST = ("target", "all")  # the group that a metric is shown for, if it has several
INFLUENCE = {
    "residual_influence": "phi",
    "residual_influence_net": "phi-decoy",
}  # and the metric that each is made from


@dataclass(frozen=True)
class Board:
    """rows: one per condition and method, with `runs`, their keys; values: {(metric, reference): (rows, 3) of mean, low and
    high, NaN where there is none}; groups: {metric: the group of samples it is shown for}; varying: columns that differ."""

    rows: pd.DataFrame
    values: dict[tuple[str, str], np.ndarray]
    groups: dict[str, str]
    varying: list[str]

    def kinds(self) -> list[dict]:
        """What the board can show, in order: metric, reference, group, direction, unit and summary of each."""
        return [{"metric": m, "reference": ref, "group": self.groups[m], **about(m)} for m, ref in self.values]

    def rounded(self) -> dict[str, list[list[float | None]]]:
        """{"metric|reference": [mean, low, high] of each row to 4 digits, None where there is none}, for a script."""
        return {
            f"{metric}|{reference}": [[None if np.isnan(v) else float(f"{v:.4g}") for v in row] for row in table]
            for (metric, reference), table in self.values.items()
        }

    def costs(self) -> dict[str, list[tuple[str, str, str]]]:
        """{method: (data set, metric, its cost there: mean over conditions, least and most)}."""
        costs: dict[str, list] = defaultdict(list)
        for (metric, reference), table in self.values.items():
            if about(metric)["unit"] in ("s", "optimiser steps") or metric == "RTE":
                known = self.rows.assign(value=table[:, 0]).dropna(subset=["value"])
                for (method, dataset), part in known.groupby(["method", "dataset"]).value:
                    spread = f"{show.number(part.mean())} ({show.number(part.min())} to {show.number(part.max())})"
                    costs[method].append((dataset, metric + (f" to {reference}" if reference else ""), spread))
        return costs


def board(results: Sequence[Result]) -> Board | None:
    """None if no result has a tidy record."""
    scores = tidy(results)
    if scores is None:
        return None
    names = [c for c in scores if c not in TIDY]
    index = [*names, "method"]
    groups = _headline(scores)
    shown = scores[scores.group == scores.metric.map(groups)]
    measured = scores.seed.where(scores.metric != "diverged")  # a seed on which a method diverged has no numbers
    rows = scores.assign(measured=measured).groupby(index, sort=False)
    rows = rows.agg(n_seeds=("measured", "nunique"), runs=("run", frozenset)).reset_index()
    diverged = scores[scores.metric == "diverged"].groupby(index, sort=False).size().rename("n_diverged")
    rows = rows.join(diverged, on=index).fillna({"n_diverged": 0}).astype({"n_diverged": int})
    place = {key: i for i, key in enumerate(rows[index].itertuples(index=False, name=None))}
    values: dict[tuple[str, str], np.ndarray] = {}

    def put(metric: str, reference: str, key: tuple, interval: Sequence[float | None]) -> None:
        table = values.setdefault((metric, reference), np.full((len(rows), 3), np.nan))
        table[place[key]] = [np.nan if v is None else v for v in interval]

    for (metric, reference), part in shown[shown.metric != "diverged"].groupby(["metric", "reference"], sort=True):
        for key, group in part.groupby(index, sort=False).value:
            mean = mean_interval(group.to_numpy())
            put(metric, reference, key, (mean["mean"], mean["low"], mean["high"]))
    for name, metric in INFLUENCE.items():
        for key, *interval in _influence(scores, metric, names):
            put(name, "clean", key, interval)
    varying = [n for n in names if rows[n].nunique() > 1]
    ordered = sorted(values, key=lambda k: (k[0] not in INFLUENCE, k[0].lower(), k[1]))
    return Board(rows, {k: values[k] for k in ordered}, groups | dict.fromkeys(INFLUENCE, "target"), varying)


def tidy(results: Sequence[Result]) -> pd.DataFrame | None:
    """All tidy records under each other, each score once; a column that a record does not have is empty there."""
    frames, taken = [], set()
    for result in results:
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
    further = sorted(c for c in scores if c not in (*TIDY, *CONDITION_COLUMNS, "profile"))
    naming = ["profile", *CONDITION_COLUMNS, *further, "method", "seed", "metric", "reference", "group"]
    return scores[[*naming, "value", "run"]].drop_duplicates(naming, ignore_index=True)


def _headline(scores: pd.DataFrame) -> dict[str, str]:
    """{metric: the group that it is shown for}."""
    known = scores[["metric", "group"]].drop_duplicates().groupby("metric", sort=False).group.agg(list)
    return {metric: next((g for g in FIRST if g in groups), groups[0]) for metric, groups in known.items()}


def _influence(scores: pd.DataFrame, metric: str, names: Sequence[str]) -> Iterator[tuple]:
    """(row's key, mean, low, high) of the residual influence wherever original and clean stand beside a method."""
    others = [n for n in names if n not in CONDITION_COLUMNS]
    wanted = scores[(scores.metric == metric) & (scores.group == "target") & (scores.reference == "")]
    for condition, part in wanted.groupby(others, sort=False):
        if {"original", "clean"} <= set(part.method):
            known = part.groupby(CONDITION_COLUMNS).method.transform(lambda m: {"original", "clean"} <= set(m))
            columns = ["residual_influence", "residual_influence_low", "residual_influence_high"]
            for index, row in residual_influence(part[known], metric)[columns].iterrows():
                by_name = dict(zip([*CONDITION_COLUMNS, "method"], index)) | dict(zip(others, condition))
                yield tuple(by_name[n] for n in [*names, "method"]), *(None if pd.isna(v) else float(v) for v in row)


def about(metric: str) -> dict[str, str]:
    """Direction, unit and meaning of a metric of the board."""
    if metric in INFLUENCE:
        net = ", net of what the model knows of decoys" if metric == "residual_influence_net" else ""
        meaning = (
            f"Residual influence of the targets{net}: 1 as before unlearning, 0 as in a model that saw nothing alike."
        )
        return {"direction": "gap", "unit": "share", "summary": meaning}
    if metric not in metrics:
        return {"direction": "", "unit": "", "summary": ""}
    entry = metrics[metric]
    return {"direction": entry.info["direction"], "unit": entry.info["unit"], "summary": entry.summary}
