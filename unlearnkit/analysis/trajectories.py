"""The state of a model after each optimiser step of an unlearning method: the whole optimisation path, not only its
end."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_builders.task import ROLES, SimilarityTask
from unlearnkit import study
from unlearnkit.core.alignment import effective_rank, moment
from unlearnkit.core.compute import threads
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.optimise import watched
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, interval_columns
from unlearnkit.core.store import Spec, Store
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import GROUPS, Outputs, forward_task
from unlearnkit.images.predict import predict
from unlearnkit.images.request import request_of
from unlearnkit.images.tasks import load_task
from unlearnkit.methods import methods
from unlearnkit.metrics.features import dimensional_alignment, features
from unlearnkit.metrics.subsample import drawn
from unlearnkit.study.memory import Kept
from unlearnkit.study.reference_models import Trained, references
from unlearnkit.study.rows import Row, applicable_rows, label, resolve_row
from unlearnkit.study.unlearned_models import unlearn_row

TRACKED_GROUPS = {"forget": "target", "retain": "retain", "test": "test"}
MOST = 2000  # samples of a group that a run is watched on


def state_metrics(outputs: Outputs) -> dict[str, float]:
    """Accuracy on the forget set, the retain set and test samples; DA and effective rank of the forget set's features,
    NaN and 0 where all of them are 0. On MOST samples of each, drawn the same for all models of a task, where there are
    more."""
    rows = torch.cat([drawn(outputs.rows(group), MOST, "watched") for group in TRACKED_GROUPS.values()])
    outputs = outputs.select(rows)
    state = {name: outputs.correct[outputs.rows(group)].mean().item() for name, group in TRACKED_GROUPS.items()}
    target, alive = features(outputs, "target"), all(features(outputs, g).any() for g in ("target", "retain"))
    da = dimensional_alignment(outputs) if alive else float("nan")
    return state | {"DA": da, "effective_rank": effective_rank(moment(target))}


def trajectory(
    config: Config,
    method: str,
    options: Mapping | None = None,
    *,
    tuned: bool = True,
    every: int = 1,
    device: str = "auto",
) -> pd.DataFrame:
    """One row for the original, step 0, and one after every so many-th optimiser step of `unlearn(config, method,
    options)` and the last: step, the columns of `state_metrics`, and run, the key that it is stored under.

    Steps are those of `unlearnkit.core.optimise.minimise`; a method that takes none has the rows of its start and its
    end. A run that diverges ends with the last step whose features are finite. Raises BadValue for an `every` below 1.
    """
    if every < 1:
        raise BadValue(f"every must be at least 1, got {every}")
    return _trajectory(resolve_row(config, method, options, tuned=tuned), every, device)


def _trajectory(row: Row, every: int, device: str) -> pd.DataFrame:
    original = references([row.config], ["original"], device=device)[0]["original"]
    unlearned = unlearn_row(row, original, device=device)
    task, steps = _watched(load_task(row.config)), unlearned.artefact.info["steps"]

    def make() -> pd.DataFrame:
        rows = [{"step": 0} | state_metrics(study.outputs(original, features=True, device=device)[1])]

        def look(net: nn.Module, taken: int) -> None:
            if taken % every == 0 or taken == steps:
                outputs = forward_task(net, task, features=True, device=device, precision=row.config.recipe.precision)
                if outputs.features.isfinite().all():
                    rows.append({"step": taken} | state_metrics(outputs))

        _run_again(unlearned, original, look, device)
        if len(rows) == 1 and not unlearned.diverged:  # no steps, or none of `minimise`
            rows.append(
                {"step": max(steps, 1)} | state_metrics(study.outputs(unlearned, features=True, device=device)[1])
            )
        return pd.DataFrame(rows)

    roots = (state_metrics, methods[row.name], outputs_module)
    return stored_table(Spec("trajectory", {"every": every}, roots, [unlearned.key]), make)


def margins(config: Config, method: str, *, tuned: bool = True, device: str = "auto") -> tuple[str, Tensor]:
    """(key, Outputs.phi of each target, in the order of their ids, before the first and after each optimiser step of
    `unlearn(config, method)`: (1 + steps, targets) float32); of image classifiers. A method that takes no steps has one
    row.
    """
    original = references([config], ["original"], device=device)[0]["original"]
    return margins_of_row(resolve_row(config, method, tuned=tuned), original, device=device)


def margins_of_row(row: Row, original: Trained, *, device: str = "auto") -> tuple[str, Tensor]:
    """`margins` of a row whose options are resolved, and of its config's original model."""
    unlearned = unlearn_row(row, original, device=device)
    task, precision = load_task(row.config), row.config.recipe.precision
    rows = task.index("target")
    spec = Spec("margins", {}, (margins, methods[row.name], outputs_module), [unlearned.key])

    def make(folder: Path) -> None:
        phi: list[Tensor] = []

        def look(net: nn.Module, _: int = 0) -> None:
            logits = predict(net, task.x[rows], device=device, precision=precision)[0]
            role = torch.full_like(rows, ROLES.index("target"))
            phi.append(Outputs(logits, task.y[rows], role, rows).phi.float())

        look(original.load())
        _run_again(unlearned, original, look, device)
        save_file({"phi": torch.stack(phi)}, folder / "margins.safetensors")

    artefact = Store().get(spec, make)
    return artefact.key, load_file(artefact.folder / "margins.safetensors")["phi"]


def _watched(task: SimilarityTask) -> SimilarityTask:
    """The part of a task that `state_metrics` looks at: a model is run on no more than that at each look."""
    groups = [task.index(*GROUPS[group]) for group in TRACKED_GROUPS.values()]
    rows = torch.cat([drawn(group, MOST, "watched") for group in groups])
    return task.part(rows, task.role[rows])


def _run_again(unlearned: Trained, original: Trained, look: Callable[[nn.Module, int], None], device: str) -> None:
    """Run the method that made a model once more, calling look(net, steps taken so far) after each of its optimiser
    steps; a run that diverged ends where it did."""
    params, taken = unlearned.artefact.manifest["params"], 0

    def step(net: nn.Module) -> None:
        nonlocal taken
        taken += 1
        look(net, taken)

    expected = contextlib.suppress(NonFiniteLoss) if unlearned.diverged else contextlib.nullcontext()
    request = request_of(load_task(unlearned.config), unlearned.config.recipe)
    with threads(1), watched(step), expected:
        methods[params["method"]](original.load(), request, seed=params["seed"], device=device, **params["options"])


def trajectories(
    configs: Sequence[Config],
    wanted: Sequence[Mapping],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    every: int = 1,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """`trajectory` of each config and each of `wanted`, {"method": name, ...its options}, with the config's columns and
    `method` as score tables call it. options: {method: options} that differ from the tuned ones without being named;
    memory: see unlearnkit.study.memory.Kept. A method is left out of configs in which it has no meaning. Raises
    UnknownName or BadValue for one that does not fit, before anything runs."""
    if every < 1:
        raise BadValue(f"every must be at least 1, got {every}")
    names = [(row["method"], {k: v for k, v in row.items() if k != "method"}) for row in wanted]
    options = options or {}
    rows = applicable_rows(configs, [(name, {**options.get(name, {}), **own}) for name, own in names], tuned=tuned)
    kept = Kept(memory, "trajectories", every=every)
    missing = kept.missing(rows)
    references(list(dict.fromkeys(row.config for row in missing)), ["original"], device=device)  # together
    parts = []
    with Progress("trajectories", len(rows)) as bar:
        for row in rows:
            table = kept.get(row, lambda row=row: _trajectory(row, every, device))
            own = {k: v for k, v in row.options.items() if options.get(row.name, {}).get(k) != v}
            parts.append(table.assign(**row.config.columns(), method=label(row.name, own)))
            bar.step()
    return pd.concat(parts, ignore_index=True)


def stability(steps: pd.DataFrame) -> pd.DataFrame:
    """How steady each run was, from its whole path: one row per config and method, means over n_seeds seeds with 95%
    intervals.

    lowest_retain_accuracy, lowest_test_accuracy: the lowest accuracy on the path; test_accuracy_total_variation: the
    sum of all changes of test accuracy from row to row, up and down; final_test_accuracy_sd: standard deviation over
    seeds of the test accuracy at the end, one number. steps: of `trajectories`.
    """
    rows = []
    for index, part in steps.groupby([*CONDITION_COLUMNS, "method"], sort=False):
        by_seed = [run.sort_values("step") for _, run in part.groupby("seed")]
        columns = {
            "lowest_retain_accuracy": [run.retain.min() for run in by_seed],
            "lowest_test_accuracy": [run.test.min() for run in by_seed],
            "test_accuracy_total_variation": [run.test.diff().abs().sum() for run in by_seed],
        }
        row = dict(zip([*CONDITION_COLUMNS, "method"], index, strict=True))
        for name, values in columns.items():
            row |= interval_columns(name, values)
        row["final_test_accuracy_sd"] = pd.Series([run.test.iloc[-1] for run in by_seed]).std()
        rows.append(row | {"steps": max(run.step.max() for run in by_seed), "n_seeds": len(by_seed)})
    return pd.DataFrame(rows)
