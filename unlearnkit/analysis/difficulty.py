"""How hard each target was to forget: how far a method's model stays from retrained ones on it, sample by sample; and
whether that goes with privacy risk.

A risky sample moves more by definition, since retrained models are farther from the original on it: the headroom. So
"risky samples move more" and "risky samples are harder to match" can both hold, and the second is asked with the headroom
held fixed. Retrained models differ by chance, which biases this twice: noise that is in both difficulty and headroom hides
a relation, and noise in the headroom alone leaves some of it free. So the two are of different seeds, and there is a
correction for the second (unlearnkit.core.rank_correlation.partial_given_two).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.analysis.trajectories import margins
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.rank_correlation import over_seeds, partial_given_two, partial_spearman, spearman
from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval
from unlearnkit.images.config import Config
from unlearnkit.methods import applies
from unlearnkit.study.reference_models import Trained, references, train_references

STEP_CORRELATES = {  # as unlearnkit.analysis.difficulty.CORRELATES; a target that retraining leaves surer has no way to go: `ahead` has a sign
    "difficulty": (spearman, ["risk", "difficulty"]),
    "difficulty | headroom": (partial_spearman, ["risk", "difficulty", "ahead"]),
    "difficulty | headroom corrected": (partial_given_two, ["risk", "difficulty", "ahead_0", "ahead_1"]),
    "gap and steps": (spearman, ["gap", "difficulty"]),
}


def forgetting_steps(
    configs: Sequence[Config], methods: Sequence[str], n_retrains: int = 3, *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """One row per target and method: the columns of the config, sample, method, run, and

    steps: after how many optimiser steps of the method the target's loss is first as high as retraining leaves it, the loss
    being log(1 + exp(-phi)) and the goal that of the mean phi of n_retrains retrained models, which are those that
    `difficulty` measures by; 0 where it is so high before the first step (at_once). never: not within the run, whose length
    is `schedule`; steps is then one more than that: the largest rank, which all such targets share. returned: arrived, and
    at the end below the goal again. A method that takes no steps, has no meaning in a config or diverged has no rows there.
    Raises NotApplicable if none has any. Source: ours.
    """
    repeats = ["", *map(str, range(1, n_retrains))]
    again = train_references([(config, "retrain", repeat) for config in configs for repeat in repeats], device)
    parts = []
    with Progress("arrivals", len(configs) * len(methods)) as bar:
        for i, config in enumerate(configs):
            rows = study.load_task(config).index("target")
            retrained = again[i * len(repeats) : (i + 1) * len(repeats)]
            goal = torch.stack([study.outputs(model, device=device)[1].phi[rows] for model in retrained]).mean(0)
            for method in methods:
                found = _of_cell(config, method, goal, tuned, device)
                if found is not None:
                    key, way = found
                    parts.append(
                        first_step_below(way, goal).assign(
                            sample=rows.numpy(), **config.columns(), method=method, run=key
                        )
                    )
                bar.step()
    if not parts:
        raise NotApplicable(f"none of these methods takes steps on these targets: {', '.join(methods)}")
    return pd.concat(parts, ignore_index=True)


def _of_cell(config: Config, method: str, goal: Tensor, tuned: bool, device: str) -> tuple[str, Tensor] | None:
    if not applies(method, config.targets):
        return None
    try:
        made = study.unlearn(config, method, tuned=tuned, device=device)
    except NotApplicable:
        return None
    if "diverged" in made.artefact.info:
        return None
    key, way = margins(config, method, tuned=tuned, device=device)
    return (key, way) if len(way) > 1 else None


def first_step_below(way: Tensor, goal: Tensor) -> pd.DataFrame:
    """Columns steps, schedule, at_once, never and returned, one row per target; see `arrivals`. way: phi before the first
    and after each step, (1 + steps, targets); goal: (targets,)."""
    there, schedule = way <= goal, len(way) - 1
    arrived = there.any(0)
    steps = torch.where(arrived, there.int().argmax(0), schedule + 1)
    found = {"steps": steps, "at_once": there[0], "never": ~arrived, "returned": arrived & ~there[-1]}
    return pd.DataFrame({name: v.numpy() for name, v in found.items()}).assign(schedule=schedule)


def with_steps(found: pd.DataFrame, arrived: pd.DataFrame) -> pd.DataFrame:
    """The table of unlearnkit.analysis.difficulty.with_risk with `steps` for its difficulty and what that was as `gap`, and the
    shares at_once, never and returned; where a method has both. arrived: of `arrivals`."""
    columns = ["steps", "at_once", "never", "returned", "run"]
    return (
        found.drop(columns="run")
        .rename(columns={"difficulty": "gap"})
        .merge(arrived[[*SAMPLE, "method", *columns]].rename(columns={"steps": "difficulty"}), on=[*SAMPLE, "method"])
    )


NOISE_FLOOR_ROW = "retrain"  # the method: retraining from yet another seed, whose difficulty is noise alone
CORRELATES = {  # name: (how columns are correlated, which)
    "headroom": (spearman, ["risk", "headroom"]),
    "moved": (spearman, ["risk", "moved"]),
    "difficulty": (spearman, ["risk", "difficulty"]),
    "difficulty | headroom": (partial_spearman, ["risk", "difficulty", "headroom"]),
    "difficulty | headroom corrected": (partial_given_two, ["risk", "difficulty", "headroom_0", "headroom_1"]),
    "difficulty | shared headroom": (partial_spearman, ["risk", "difficulty", "shared_headroom"]),
}
SHARES = (
    "at_once",
    "never",
    "returned",
)  # of the targets, where difficulty is in steps (unlearnkit.analysis.difficulty)
SAMPLE = [*CONDITION_COLUMNS, "seed", "sample"]


def difficulty(
    configs: Sequence[Config], methods: Sequence[str], n_retrains: int = 3, *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """One row per target and method, FLOOR among them: the columns of the config, sample, method, run, and, with u the
    method's model, o the original, r the retrained ones, and phi the logit of the label's probability:

    difficulty: mean of |phi_u - phi_r| over n_retrains seeds; signed: of phi_u - phi_r, above 0 for too little forgetting;
    headroom: mean of |phi_o - phi_r| over n_retrains *other* seeds, so that their noise is not in both; headroom_0 and _1:
    by every other of these, which is how noisy it is; ahead, ahead_0, ahead_1: the same of phi_o - phi_r, below 0 where
    retraining leaves the target surer; shared_headroom: over the seeds of the difficulty, for comparison;
    moved: |phi_o - phi_u|. A method that diverged in a config, or has no meaning in it, has no rows there. Raises BadValue
    for less than two retrainings, NotApplicable if no method has a meaning.
    """
    if n_retrains < 2:
        raise BadValue(f"n_retrains must be at least 2, one for each half of the headroom, got {n_retrains}")
    names = list(dict.fromkeys([NOISE_FLOOR_ROW, *methods]))
    repeats = ["", *map(str, range(1, 2 * n_retrains))]
    originals = [refs["original"] for refs in references(configs, ["original"], device=device)]
    again = train_references([(config, "retrain", repeat) for config in configs for repeat in repeats], device)
    parts, why = [], None
    for i, (config, original) in enumerate(zip(configs, originals, strict=True)):
        rows = study.load_task(config).index("target")

        def phi(model: Trained, rows=rows) -> Tensor:
            return study.outputs(model, device=device)[1].phi[rows]

        before = phi(original)
        r = torch.stack([phi(model) for model in again[i * len(repeats) : (i + 1) * len(repeats)]])
        mine, others = r[:n_retrains], r[n_retrains:]
        for name in (name for name in names if applies(name, config.targets)):
            try:
                model = study.unlearn(config, name, tuned=tuned, device=device)
            except NotApplicable as error:
                why = error
                continue
            if "diverged" in model.artefact.info:
                continue
            after = phi(model)
            found = {
                "sample": rows,
                "difficulty": (after - mine).abs().mean(0),
                "signed": (after - mine).mean(0),
                "moved": (before - after).abs(),
                "headroom": (before - others).abs().mean(0),
                "headroom_0": (before - others[::2]).abs().mean(0),
                "headroom_1": (before - others[1::2]).abs().mean(0),
                "ahead": (before - others).mean(0),
                "ahead_0": (before - others[::2]).mean(0),
                "ahead_1": (before - others[1::2]).mean(0),
                "shared_headroom": (before - mine).abs().mean(0),
            }
            found = pd.DataFrame({k: v.numpy() for k, v in found.items()})
            parts.append(found.assign(**config.columns(), method=name, run=model.key))
    if not parts:
        raise why or NotApplicable(f"no meaning for these targets: {', '.join(names)}")
    return pd.concat(parts, ignore_index=True)


def with_risk(difficulties: pd.DataFrame, risks: pd.DataFrame, ranker: str) -> pd.DataFrame:
    """The table of `difficulty` with the columns risk, of this ranker, from all shadow models, and risk_run, its key."""
    chosen = risks[(risks.ranker == ranker) & (risks.half == "") & (risks.group == "target")]
    if chosen.empty:
        raise BadValue(f"there are no risks by {ranker!r}: give it to unlearnkit.analysis.privacy_risk.risks")
    return difficulties.merge(
        chosen[[*SAMPLE, "value", "run"]].rename(columns={"value": "risk", "run": "risk_run"}), on=SAMPLE
    )


def difficulty_table(found: pd.DataFrame, questions: Mapping[str, tuple] = CORRELATES) -> pd.DataFrame:
    """One row per config, method and question: Spearman's rho of risk, with intervals over seeds and, _samples, over samples;
    beyond_floor: rho less that of FLOOR, paired by seed, with its interval over seeds; SHARES, where they are known. The
    headroom is no method's, and stands with FLOOR alone. found: of `with_risk`, or with questions=TIMED of
    unlearnkit.analysis.difficulty.with_steps.
    """
    rows = []
    for config, of_cell in found.groupby(CONDITION_COLUMNS, sort=False):
        per_seed: dict[tuple[str, str], pd.Series] = {}
        made = []
        for (method, name), seeds in _columns(of_cell, questions).items():
            if name == "headroom" and method != NOISE_FLOOR_ROW:  # the same for all methods
                continue
            statistic = questions[name][0]
            per_seed[method, name] = pd.Series({seed: float(statistic(*v)) for seed, v in seeds.items()})
            made.append((method, name, over_seeds(statistic, list(seeds.values()))))
        for method, name, interval in made:
            row = dict(zip(CONDITION_COLUMNS, config)) | {"method": method, "question": name}
            row |= {
                ("rho" if k == "mean" else k if k in ("n", "samples") else f"rho_{k}"): v for k, v in interval.items()
            }
            beyond = (per_seed[method, name] - per_seed.get((NOISE_FLOOR_ROW, name), np.nan)).dropna()
            if method != NOISE_FLOOR_ROW and len(beyond):
                row |= _interval("beyond_floor", mean_interval(beyond))
            mine = of_cell[of_cell.method == method]
            for share in (share for share in SHARES if share in mine):
                row |= _interval(share, mean_interval(mine.groupby("seed")[share].mean()))
            rows.append(row | {"run": _keys(mine.run, mine.risk_run)})
    return pd.DataFrame(rows)


def _keys(*columns: pd.Series) -> str:
    """The runs of some rows, as a table names them."""
    return " ".join(dict.fromkeys(key for column in columns for key in column))


def _interval(name: str, found: dict) -> dict:
    return {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def _columns(
    of_cell: pd.DataFrame, questions: Mapping[str, tuple]
) -> dict[tuple[str, str], dict[int, list[np.ndarray]]]:
    """{(method, question): {seed: [risk, what it is correlated with, what is held fixed ...]}}."""
    found: dict = {}
    for (method, seed), part in of_cell.groupby(["method", "seed"], sort=False):
        for name, (_, columns) in questions.items():
            found.setdefault((method, name), {})[seed] = [part[c].to_numpy() for c in columns]
    return found


def near_duplicates_difficulty_table(difficulties: pd.DataFrame, risks: pd.DataFrame) -> pd.DataFrame:
    """One row per config and quantity: its mean over the targets, mean over seeds with a 95% interval; and `change`, its
    difference to the fewest copies of the same dataset, targets and seed, whose targets are the same images.

    quantity: "risk: RANKER" of targets and, as chance, of decoys; headroom; "difficulty: METHOD" and "signed: METHOD".
    """
    parts = []
    for (group, ranker), part in risks[risks.half == ""].groupby(["group", "ranker"]):
        parts.append(part.assign(quantity=f"risk: {ranker}", group=group))
    floor = difficulties[difficulties.method == NOISE_FLOOR_ROW]
    parts.append(floor.assign(quantity="headroom", value=floor.headroom))
    for name in ("difficulty", "signed"):
        parts.append(difficulties.assign(quantity=name + ": " + difficulties.method, value=difficulties[name]))
    long = pd.concat(parts, ignore_index=True).fillna({"group": "target"})
    keys = long.groupby([*CONDITION_COLUMNS, "quantity", "group"]).run.agg(_keys)
    means = long.groupby([*CONDITION_COLUMNS, "quantity", "group", "seed"], sort=False).value.mean().reset_index()
    same = [c for c in CONDITION_COLUMNS if c not in ("copies", "strength", "similarity_level")] + [
        "quantity",
        "group",
        "seed",
    ]
    first = means.sort_values("copies").drop_duplicates(same)[[*same, "value"]]
    means = means.merge(first, on=same, suffixes=("", "_first"))
    rows = []
    for key, part in means.groupby([*CONDITION_COLUMNS, "quantity", "group"], sort=False):
        found = mean_interval(part.value)
        row = dict(zip([*CONDITION_COLUMNS, "quantity", "group"], key)) | _interval("value", found) | {"n": found["n"]}
        rows.append(row | _interval("change", mean_interval(part.value - part.value_first)) | {"run": keys[key]})
    return pd.DataFrame(rows)
