"""How hard each target was to forget: how far a method's model stays from retrained ones on it, sample by sample; and
whether that correlates with privacy risk.

A risky sample moves more by definition, since retrained models are farther from the original on it: the headroom. So
"risky samples move more" and "risky samples are harder to match" can both hold, and the second is asked with the
headroom held fixed. Retrained models differ by chance, which biases this twice: noise that is in both difficulty and
headroom hides a relation, and noise in the headroom alone leaves some of it free. So the two are of different seeds,
and there is a correction for the second (unlearnkit.core.rank_correlation.partial_given_two).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.analysis.privacy_risk import spearman_columns
from unlearnkit.analysis.trajectories import margins_of_row
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.rank_correlation import over_seeds, partial_given_two, partial_spearman, spearman
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.images.config import Config
from unlearnkit.study.ensembles import draws, models_of_rows
from unlearnkit.study.memory import Kept
from unlearnkit.study.reference_models import Trained, references, train_references
from unlearnkit.study.rows import applicable_rows

NOISE_FLOOR_ROW = "retrain"  # the method: retraining from yet another seed, whose difficulty is noise alone
SAMPLE = [*CONDITION_COLUMNS, "seed", "sample"]
CORRELATES = {  # name: (how columns are correlated, which)
    "headroom": (spearman, ["risk", "headroom"]),
    "margin_shift": (spearman, ["risk", "margin_shift"]),
    "difficulty": (spearman, ["risk", "difficulty"]),
    "difficulty | headroom": (partial_spearman, ["risk", "difficulty", "headroom"]),
    "difficulty | headroom corrected": (partial_given_two, ["risk", "difficulty", "headroom_0", "headroom_1"]),
    "difficulty | shared headroom": (partial_spearman, ["risk", "difficulty", "shared_headroom"]),
}
STEP_CORRELATES = {  # as CORRELATES; signed, since a target that retraining leaves surer has nothing to be forgotten
    "difficulty": (spearman, ["risk", "difficulty"]),
    "difficulty | headroom": (partial_spearman, ["risk", "difficulty", "signed_headroom"]),
    "difficulty | headroom corrected": (
        partial_given_two,
        ["risk", "difficulty", "signed_headroom_0", "signed_headroom_1"],
    ),
    "gap and steps": (spearman, ["gap", "difficulty"]),
}
SHARES = {  # column: of which targets; where difficulty is in steps (`forgetting_steps`)
    "share_already_forgotten": "already_forgotten",
    "share_never_forgotten": "never_forgotten",
    "share_rebounded": "rebounded",
}


# --- in steps --------------------------------------------------------------------------------------------------------


def forgetting_steps(
    configs: Sequence[Config], methods: Sequence[str], n_retrains: int = 3, *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """One row per target and method: the columns of the config, sample, method, run, and

    steps_to_forget: after how many optimiser steps of the method the target's loss is first as high as retraining
    leaves it, the loss being log(1 + exp(-phi)) and the goal that of the mean phi of n_retrains retrained models, which
    are those that `difficulty` measures by; 0 where it is so high before the first step (already_forgotten).
    never_forgotten: not within the run, whose length is method_steps; steps_to_forget is then one more than that: the
    largest rank, which all such targets share. rebounded: forgotten at some step, and at the end below the goal again.
    A method that takes no steps, has no meaning in a config or diverged has no rows there. Raises NotApplicable if none
    has any. Source: ours.
    """
    rows = applicable_rows(configs, methods, tuned=tuned)
    originals = _originals(configs, device)
    retrained = _retrained(configs, n_retrains, device)
    goal = {config: phi.mean(0) for config, phi in retrained.items()}
    parts = []
    with Progress("steps to forget", len(rows)) as bar:
        for row, model in models_of_rows(rows, device=device):
            if model is not None:
                key, path = margins_of_row(row, originals[row.config], device=device)
                if len(path) > 1:
                    columns = row.config.columns() | {"method": row.name, "run": key}
                    columns["sample"] = study.load_task(row.config).index("target").numpy()
                    parts.append(first_step_below(path, goal[row.config]).assign(**columns))
            bar.step()
    if not parts:
        raise NotApplicable(f"none of these methods takes steps on these targets: {', '.join(methods)}")
    return pd.concat(parts, ignore_index=True)


def first_step_below(path: Tensor, goal: Tensor) -> pd.DataFrame:
    """Columns steps_to_forget, method_steps, already_forgotten, never_forgotten and rebounded, one row per target; see
    `forgetting_steps`. path: phi before the first and after each step, (1 + steps, targets); goal: (targets,)."""
    below, method_steps = path <= goal, len(path) - 1
    ever = below.any(0)
    columns = {
        "steps_to_forget": torch.where(ever, below.int().argmax(0), method_steps + 1),
        "already_forgotten": below[0],
        "never_forgotten": ~ever,
        "rebounded": ever & ~below[-1],
    }
    return pd.DataFrame({name: v.numpy() for name, v in columns.items()}).assign(method_steps=method_steps)


def with_steps(gaps: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """The table of `with_risk` with steps_to_forget for its difficulty and what that was as `gap`, and
    already_forgotten, never_forgotten and rebounded; where a method has both. steps: of `forgetting_steps`."""
    columns = ["steps_to_forget", *SHARES.values(), "run"]
    steps = steps[[*SAMPLE, "method", *columns]].rename(columns={"steps_to_forget": "difficulty"})
    return gaps.drop(columns="run").rename(columns={"difficulty": "gap"}).merge(steps, on=[*SAMPLE, "method"])


# --- as a distance ---------------------------------------------------------------------------------------------------


def difficulty(
    configs: Sequence[Config],
    methods: Sequence[str],
    n_retrains: int = 3,
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """One row per target and method, NOISE_FLOOR_ROW among them: the columns of the config, sample, method, run, and,
    with u the method's model, o the original, r the retrained ones, and phi the logit of the label's probability:

    difficulty: mean of |phi_u - phi_r| over n_retrains seeds; signed_difficulty: of phi_u - phi_r, above 0 for too
    little forgetting; headroom: mean of |phi_o - phi_r| over n_retrains *other* seeds, so that their noise is not in
    both; headroom_0 and _1: by every other of these, which is how noisy it is; signed_headroom, signed_headroom_0,
    signed_headroom_1: the same of phi_o - phi_r, below 0 where retraining leaves the target surer; shared_headroom:
    over the seeds of the difficulty, for comparison; margin_shift: |phi_o - phi_u|. A method that diverged in a config,
    or has no meaning in it, has no rows there. options: {method: options} that differ from the tuned ones; memory: see
    unlearnkit.study.memory.Kept. Raises BadValue for less than two retrainings, NotApplicable if no
    method has a meaning.
    """
    if n_retrains < 2:
        raise BadValue(f"n_retrains must be at least 2, one for each half of the headroom, got {n_retrains}")
    names = list(dict.fromkeys([NOISE_FLOOR_ROW, *methods]))
    rows = applicable_rows(configs, names, options, tuned=tuned)
    kept = Kept(memory, "difficulty", n_retrains=n_retrains)
    missing = kept.missing(rows)
    configs = list(dict.fromkeys(row.config for row in missing))
    originals = {config: _phi(model, device) for config, model in _originals(configs, device).items()}
    retrained = _retrained(configs, 2 * n_retrains, device)
    parts = []
    for row in rows:
        table = kept[row]
        if table is None:
            ((_, model),) = models_of_rows([row], device=device)
            if model is None:
                continue
            phi = originals[row.config], _phi(model, device), *retrained[row.config].split(n_retrains)
            kept[row] = table = _distances(row.config, *phi).assign(run=model.key)
        parts.append(table.assign(**row.config.columns(), method=row.name))
    if not parts:
        raise NotApplicable(f"no meaning for these targets: {', '.join(names)}")
    return pd.concat(parts, ignore_index=True)


def _distances(config: Config, before: Tensor, after: Tensor, own: Tensor, others: Tensor) -> pd.DataFrame:
    """The columns of `difficulty` from phi of the targets: by the original and by a method's model, (targets,), and by the
    retrained models of difficulty and of headroom, (n_retrains, targets)."""
    columns = {
        "sample": study.load_task(config).index("target"),
        "difficulty": (after - own).abs().mean(0),
        "signed_difficulty": (after - own).mean(0),
        "margin_shift": (before - after).abs(),
        "headroom": (before - others).abs().mean(0),
        "headroom_0": (before - others[::2]).abs().mean(0),
        "headroom_1": (before - others[1::2]).abs().mean(0),
        "signed_headroom": (before - others).mean(0),
        "signed_headroom_0": (before - others[::2]).mean(0),
        "signed_headroom_1": (before - others[1::2]).mean(0),
        "shared_headroom": (before - own).abs().mean(0),
    }
    return pd.DataFrame({name: v.numpy() for name, v in columns.items()})


def _originals(configs: Sequence[Config], device: str) -> dict[Config, Trained]:
    refs = references(configs, ["original"], device=device)
    return {config: models["original"] for config, models in zip(configs, refs, strict=True)}


def _retrained(configs: Sequence[Config], n: int, device: str) -> dict[Config, Tensor]:
    """phi of the targets in n retrained models of each config, (n, targets)."""
    models = train_references([(config, "retrain", draw) for config in configs for draw in draws(n)], device)
    phi = [_phi(model, device) for model in models]
    return {config: torch.stack(phi[i * n : (i + 1) * n]) for i, config in enumerate(configs)}


def _phi(model: Trained, device: str) -> Tensor:
    """Outputs.phi of each target, (targets,)."""
    return study.outputs(model, device=device)[1].phi[study.load_task(model.config).index("target")]


# --- tables ----------------------------------------------------------------------------------------------------------


def with_risk(difficulties: pd.DataFrame, risks: pd.DataFrame, ranker: str) -> pd.DataFrame:
    """The table of `difficulty` with the columns risk, of this ranker, from all shadow models, and risk_run, its
    key."""
    chosen = risks[(risks.ranker == ranker) & (risks.half == "") & (risks.group == "target")]
    if chosen.empty:
        raise BadValue(f"there are no risks by {ranker!r}: give it to unlearnkit.analysis.privacy_risk.risks")
    chosen = chosen[[*SAMPLE, "value", "run"]].rename(columns={"value": "risk", "run": "risk_run"})
    return difficulties.merge(chosen, on=SAMPLE)


def difficulty_table(samples: pd.DataFrame, correlates: Mapping[str, tuple] = CORRELATES) -> pd.DataFrame:
    """One row per config, method and correlate of risk: Spearman's correlation (`spearman_columns`);
    spearman_minus_noise_floor: less that of NOISE_FLOOR_ROW, paired by seed, with its interval over seeds; SHARES,
    where they are known. The headroom is no method's, and stands with NOISE_FLOOR_ROW alone. samples: of `with_risk`,
    or with correlates=STEP_CORRELATES of `with_steps`.
    """
    rows = []
    for config, of_config in samples.groupby(CONDITION_COLUMNS, sort=False):
        by_seed: dict[tuple[str, str], pd.Series] = {}
        intervals = []
        for (method, name), seeds in _columns(of_config, correlates).items():
            if name == "headroom" and method != NOISE_FLOOR_ROW:  # the same for all methods
                continue
            statistic = correlates[name][0]
            by_seed[method, name] = pd.Series({seed: float(statistic(*v)) for seed, v in seeds.items()})
            intervals.append((method, name, over_seeds(statistic, list(seeds.values()))))
        for method, name, interval in intervals:
            row = dict(zip(CONDITION_COLUMNS, config)) | {"method": method, "correlate": name}
            row |= spearman_columns(interval)
            excess = (by_seed[method, name] - by_seed.get((NOISE_FLOOR_ROW, name), np.nan)).dropna()
            if method != NOISE_FLOOR_ROW and len(excess):
                row |= interval_columns("spearman_minus_noise_floor", excess)
            own = of_config[of_config.method == method]
            for share, column in ((share, column) for share, column in SHARES.items() if column in own):
                row |= interval_columns(share, own.groupby("seed")[column].mean())
            rows.append(row | {"run": _keys(own.run, own.risk_run)})
    return pd.DataFrame(rows)


def _keys(*columns: pd.Series) -> str:
    """The runs of some rows, as a table names them."""
    return " ".join(dict.fromkeys(key for column in columns for key in column))


def _columns(
    of_config: pd.DataFrame, correlates: Mapping[str, tuple]
) -> dict[tuple[str, str], dict[int, list[np.ndarray]]]:
    """{(method, correlate): {seed: [risk, what it is correlated with, what is held fixed ...]}}."""
    columns: dict = {}
    for (method, seed), part in of_config.groupby(["method", "seed"], sort=False):
        for name, (_, names) in correlates.items():
            columns.setdefault((method, name), {})[seed] = [part[c].to_numpy() for c in names]
    return columns


def near_duplicates_difficulty_table(difficulties: pd.DataFrame, risks: pd.DataFrame) -> pd.DataFrame:
    """One row per config and quantity: its mean over the targets, mean over n_seeds seeds with a 95% interval; and
    `change_from_fewest_copies`, its difference to the fewest near-duplicates of the same dataset, targets and seed,
    whose targets are the same images.

    quantity: "risk: RANKER" of targets and, as chance, of decoys; headroom; "difficulty: METHOD" and "signed
    difficulty: METHOD".
    """
    parts = []
    for (group, ranker), part in risks[risks.half == ""].groupby(["group", "ranker"]):
        parts.append(part.assign(quantity=f"risk: {ranker}", group=group))
    floor = difficulties[difficulties.method == NOISE_FLOOR_ROW]
    parts.append(floor.assign(quantity="headroom", value=floor.headroom))
    for name in ("difficulty", "signed_difficulty"):
        quantity = f"{name.replace('_', ' ')}: " + difficulties.method
        parts.append(difficulties.assign(quantity=quantity, value=difficulties[name]))
    long = pd.concat(parts, ignore_index=True).fillna({"group": "target"})
    keys = [*CONDITION_COLUMNS, "quantity", "group"]
    runs = long.groupby(keys).run.agg(_keys)
    means = long.groupby([*keys, "seed"], sort=False).value.mean().reset_index()
    same = [c for c in [*keys, "seed"] if c not in ("copies", "strength", "similarity_level")]
    fewest = means.sort_values("copies").drop_duplicates(same)[[*same, "value"]]
    means = means.merge(fewest, on=same, suffixes=("", "_fewest"))
    rows = []
    for key, part in means.groupby(keys, sort=False):
        row = dict(zip(keys, key)) | interval_columns("value", part.value) | {"n_seeds": len(part)}
        row |= interval_columns("change_from_fewest_copies", part.value - part.value_fewest)
        rows.append(row | {"run": runs[key]})
    return pd.DataFrame(rows)
