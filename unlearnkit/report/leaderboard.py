"""One board of all scores: the tidy tables behind all results, with one number and its interval per metric."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from unlearnkit.core.statistics import CONDITION_COLUMNS, FEWEST, LABELS_GIVEN, LEVEL, bounds, residual_influence
from unlearnkit.metrics import metrics
from unlearnkit.report import gates, show
from unlearnkit.report.columns import meaning
from unlearnkit.report.sources import TIDY, Result

FIRST = ("target", "all")  # the group that a metric is shown for, if it has several
INFLUENCE = {
    "residual_influence": "influence",
    "residual_influence_rank": "influence-rank",
}  # and the metric that each is made from
BESIDE = (("residual_influence", "clean"), ("TA", ""), ("neighbour-cost", "original"), ("RTE", "retrain"))
WHOLE = {"residual_influence": "clean", "residual_influence_rank": "clean", "label_given": "", "TA": ""}  # of `_whole`
VARIANT = re.compile(r"(.+?)(?:\([a-z_]+=.*\)|, .+)")  # muda(rank=9); random_label, ascending


@dataclass(frozen=True)
class Board:
    """rows: one per condition and method, with `runs`, their keys, and `unusable`; values: {(metric, reference): (rows, 3)
    of mean, low and high, NaN where there is none}; groups: {metric: the group of samples it is shown for}; varying: columns
    that differ, in the order in which a reader chooses."""

    rows: pd.DataFrame
    values: dict[tuple[str, str], np.ndarray]
    groups: dict[str, str]
    varying: list[str]

    def kinds(self) -> list[dict]:
        """What the board can show, in order: metric, reference, group, direction, unit and summary of each."""
        return [{"metric": m, "reference": ref, "group": self.groups[m], **about(m)} for m, ref in self.values]

    def beside(self) -> list[tuple[str, str]]:
        """(metric, reference) of the measures that stand side by side, those of BESIDE that were measured at all."""
        return [kind for kind in BESIDE if kind in self.values] or list(self.values)[:1]

    def start(self) -> dict[str, object]:
        """The commonest condition as a whole, {column of `varying`: value}: the one with the most rows that have a value of
        the first measure; of several, the first."""
        known = self.rows[~np.isnan(self.values[self.beside()[0]][:, 0])]
        if not self.varying or known.empty:
            return {}
        sizes = known.groupby(self.varying, sort=False).size()
        at = sizes.idxmax()
        return dict(zip(self.varying, at if isinstance(at, tuple) else (at,)))

    def rounded(self) -> dict[str, list[list[float | None] | int]]:
        """{"metric|reference": per row [mean], or [mean, low, high] to 4 digits, or 0 for none}, for a script."""
        return {
            f"{metric}|{reference}": [
                [float(f"{v:.4g}") for v in row if not np.isnan(v)] or 0 for row in table.tolist()
            ]
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
    """None if no result has a tidy record, or a table with standardised influence."""
    whole = [_whole(r) for r in results if r.name.startswith("T") and r.whole and {*WHOLE, "method"} <= {*r.table}]
    scores = tidy(results)
    if scores is None:
        return _joined(whole) if whole else None
    names = [c for c in scores if c not in TIDY]
    index = [*names, "method"]
    scores["row"] = scores.groupby(index, sort=False, dropna=False).ngroup()
    groups = _headline(scores)
    rows = scores.drop_duplicates("row")[index].reset_index(drop=True)  # in the order of their numbers
    measured = scores[scores.metric != "diverged"]  # a seed on which a method diverged has no numbers
    counts = {"n_seeds": measured.groupby("row").seed.nunique()}
    counts["n_diverged"] = scores[scores.metric == "diverged"].groupby("row").size()
    for name, count in counts.items():
        rows[name] = count.reindex(rows.index, fill_value=0).astype(int)
    keys = scores.drop_duplicates(["row", "run"]).groupby("row").run
    rows["runs"] = keys.agg(frozenset)
    shown = measured[measured.group == measured.metric.map(groups)]
    values = _means(shown, len(rows)) | _influences(scores, names, rows)
    known = [values[kind][:, 0] for kind in (("model-utility", ""), ("TA", "")) if kind in values]
    utility = pd.Series(known[0] if known else np.nan, index=rows.index)
    for other in known[1:]:
        utility = utility.fillna(pd.Series(other))
    rows["unusable"] = gates.unusable(rows, utility)
    return _joined([Board(rows, values, groups | dict.fromkeys(INFLUENCE, "target"), []), *whole])


def _whole(r: Result) -> Board:
    """The rows of a table that was made target by target, with influence standardised by decoys (unlearnkit.analysis.
    influence), which has no tidy record."""
    table, rows = (
        r.table,
        r.table[[c for c in [*CONDITION_COLUMNS, *gates.FURTHER, "method", "n_seeds"] if c in r.table]],
    )
    rows = rows.assign(profile=r.profile or "small", n_diverged=0, unusable=gates.apart(table))
    rows = rows.assign(runs=[frozenset(keys) for keys in r.behind])
    ends = [("", "_low", "_high") if f"{name}_low" in table else ("",) for name in WHOLE]
    values = {}
    for (name, reference), own in zip(WHOLE.items(), ends):
        columns = [pd.to_numeric(table[f"{name}{end}"], errors="coerce").to_numpy(float) for end in own]
        values[name, reference] = np.column_stack([*columns, *[np.full(len(table), np.nan)] * (3 - len(columns))])
    return Board(rows, values, {name: "test" if name == "TA" else "target" for name in WHOLE}, [])


def _joined(boards: Sequence[Board]) -> Board:
    """Boards below each other, with the columns that differ on all of them, and measures in order."""
    rows = pd.concat([board.rows for board in boards], ignore_index=True)
    names = [c for c in rows if c not in ("method", "n_seeds", "n_diverged", "runs", "unusable")]
    rows[names] = rows[names].astype(object).where(rows[names].notna(), "")
    kinds = {kind for board in boards for kind in board.values}
    ordered = sorted(kinds, key=lambda k: (not k[0].startswith("residual_influence"), k[0].lower(), k[1]))
    values = {
        kind: np.concatenate([b.values.get(kind, np.full((len(b.rows), 3), np.nan)) for b in boards])
        for kind in ordered
    }
    groups = {metric: group for board in reversed(boards) for metric, group in board.groups.items()}
    varying = [n for n in names if rows[n].map(str).nunique() > 1]
    return Board(
        rows, values, groups, sorted(varying, key=lambda name: name == "profile")
    )  # the data set says it already


def variant_of(method: str) -> str:
    """The method that a row is a variant of: one option set to another value, or another order; "" if of none."""
    match = VARIANT.fullmatch(method)
    return match[1] if match else ""


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


def _means(shown: pd.DataFrame, n: int) -> dict[tuple[str, str], np.ndarray]:
    """{(metric, reference): (n, 3)} of mean and t interval over seeds, as unlearnkit.core.statistics.mean_interval has them;
    here for a hundred thousand groups at once."""
    stats = shown.groupby(["metric", "reference", "row"]).value.agg(["mean", "std", "count"]).reset_index()
    half = stdtrit(np.maximum(stats["count"] - 1, 1), 0.5 + LEVEL / 2) * stats["std"] / np.sqrt(stats["count"])
    half = half.where(stats["count"] >= FEWEST)
    ends = np.array([bounds(metric) for metric in stats.metric]).reshape(-1, 2)
    mean = stats["mean"].to_numpy()
    low = np.maximum(mean - half, np.minimum(ends[:, 0], mean))
    high = np.minimum(mean + half, np.maximum(ends[:, 1], mean))
    stats = stats.assign(low=low.where(half.notna()), high=high.where(half.notna()))
    values = {}
    for kind, part in stats.groupby(["metric", "reference"]):
        values[kind] = np.full((n, 3), np.nan)
        values[kind][part.row.to_numpy()] = part[["mean", "low", "high"]].to_numpy()
    return values


def _influences(scores: pd.DataFrame, names: Sequence[str], rows: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    place = {key: i for i, key in enumerate(rows[[*names, "method"]].itertuples(index=False, name=None))}
    values: dict[tuple[str, str], np.ndarray] = {}
    for name, metric in INFLUENCE.items():
        for key, *interval in _influence(scores, metric, names):
            table = values.setdefault((name, "clean"), np.full((len(rows), 3), np.nan))
            table[place[key]] = [np.nan if v is None else v for v in interval]
    return values


def _influence(scores: pd.DataFrame, metric: str, names: Sequence[str]) -> Iterator[tuple]:
    """(row's key, mean, low, high) of the residual influence wherever original and clean stand beside a method."""
    others = [n for n in names if n not in CONDITION_COLUMNS]
    wanted = scores[scores.metric.isin([metric, *LABELS_GIVEN]) & (scores.group == "target") & (scores.reference == "")]
    for condition, part in wanted.groupby(others, sort=False):
        own = part[part.metric == metric]
        if {"original", "clean"} <= set(own.method):
            both = own.groupby(CONDITION_COLUMNS).method.agg(lambda m: {"original", "clean"} <= set(m))
            known = part.set_index(CONDITION_COLUMNS).index.isin(both.index[both])
            columns = ["residual_influence", "residual_influence_low", "residual_influence_high"]
            for index, row in residual_influence(part[known], metric)[columns].iterrows():
                by_name = dict(zip([*CONDITION_COLUMNS, "method"], index)) | dict(zip(others, condition))
                yield tuple(by_name[n] for n in [*names, "method"]), *(None if pd.isna(v) else float(v) for v in row)


def about(metric: str) -> dict[str, str]:
    """Direction, unit and summary of a metric, as registered."""
    if metric in metrics:
        entry = metrics[metric]
        return {name: entry.info[name] for name in ("direction", "unit")} | {"summary": entry.summary}
    gap = {"direction": "gap", "unit": "share"} if metric in INFLUENCE else {"direction": "", "unit": ""}
    return gap | {"summary": meaning(metric)[:1].upper() + meaning(metric)[1:] + "."}
