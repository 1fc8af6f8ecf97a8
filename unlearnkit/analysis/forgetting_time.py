"""How soon each target was forgotten: a second measure of how hard that is, beside how far the end is from retraining
(unlearnkit.analysis.difficulty)."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.images.config import Cell
from unlearnkit.analysis.difficulty import SAMPLE
from unlearnkit.core.errors import NotApplicable
from unlearnkit.methods import applies
from unlearnkit.core.progress import Progress
from unlearnkit.core.rank_correlation import partial_given_two, partial_spearman, spearman
from unlearnkit.study.reference_models import trained
from unlearnkit.analysis.trajectories import margins

TIMED = {  # as unlearnkit.analysis.difficulty.QUESTIONS; a target that retraining leaves surer has no way to go: `ahead` has a sign
    "difficulty": (spearman, ["risk", "difficulty"]),
    "difficulty | headroom": (partial_spearman, ["risk", "difficulty", "ahead"]),
    "difficulty | headroom corrected": (partial_given_two, ["risk", "difficulty", "ahead_0", "ahead_1"]),
    "gap and steps": (spearman, ["gap", "difficulty"]),
}


def arrivals(
    cells: Sequence[Cell], methods: Sequence[str], n_retrains: int = 3, *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """One row per target and method: the columns of the cell, sample, method, run, and

    steps: after how many optimiser steps of the method the target's loss is first as high as retraining leaves it, the loss
    being log(1 + exp(-phi)) and the goal that of the mean phi of n_retrains retrained models, which are those that
    `difficulty` measures by; 0 where it is so high before the first step (at_once). never: not within the run, whose length
    is `schedule`; steps is then one more than that: the largest rank, which all such targets share. returned: arrived, and
    at the end below the goal again. A method that takes no steps, has no meaning in a cell or diverged has no rows there.
    Raises NotApplicable if none has any. Source: ours.
    """
    repeats = ["", *map(str, range(1, n_retrains))]
    again = trained([(cell, "retrain", repeat) for cell in cells for repeat in repeats], device)
    parts = []
    with Progress("arrivals", len(cells) * len(methods)) as bar:
        for i, cell in enumerate(cells):
            rows = study.load_task(cell).index("target")
            retrained = again[i * len(repeats) : (i + 1) * len(repeats)]
            goal = torch.stack([study.evidence(model, device=device)[1].phi[rows] for model in retrained]).mean(0)
            for method in methods:
                found = _of_cell(cell, method, goal, tuned, device)
                if found is not None:
                    key, way = found
                    parts.append(first(way, goal).assign(sample=rows.numpy(), **cell.columns(), method=method, run=key))
                bar.step()
    if not parts:
        raise NotApplicable(f"none of these methods takes steps on these targets: {', '.join(methods)}")
    return pd.concat(parts, ignore_index=True)


def _of_cell(cell: Cell, method: str, goal: Tensor, tuned: bool, device: str) -> tuple[str, Tensor] | None:
    if not applies(method, cell.targets):
        return None
    try:
        made = study.unlearn(cell, method, tuned=tuned, device=device)
    except NotApplicable:
        return None
    if "diverged" in made.artefact.info:
        return None
    key, way = margins(cell, method, tuned=tuned, device=device)
    return (key, way) if len(way) > 1 else None


def first(way: Tensor, goal: Tensor) -> pd.DataFrame:
    """Columns steps, schedule, at_once, never and returned, one row per target; see `arrivals`. way: phi before the first
    and after each step, (1 + steps, targets); goal: (targets,)."""
    there, schedule = way <= goal, len(way) - 1
    arrived = there.any(0)
    steps = torch.where(arrived, there.int().argmax(0), schedule + 1)
    found = {"steps": steps, "at_once": there[0], "never": ~arrived, "returned": arrived & ~there[-1]}
    return pd.DataFrame({name: v.numpy() for name, v in found.items()}).assign(schedule=schedule)


def timed(found: pd.DataFrame, arrived: pd.DataFrame) -> pd.DataFrame:
    """The table of unlearnkit.analysis.difficulty.with_risk with `steps` for its difficulty and what that was as `gap`, and the
    shares at_once, never and returned; where a method has both. arrived: of `arrivals`."""
    columns = ["steps", "at_once", "never", "returned", "run"]
    return (
        found.drop(columns="run")
        .rename(columns={"difficulty": "gap"})
        .merge(arrived[[*SAMPLE, "method", *columns]].rename(columns={"steps": "difficulty"}), on=[*SAMPLE, "method"])
    )
