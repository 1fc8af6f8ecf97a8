"""What a model knows after each step of an unlearning method: a run is told by its way, and not by its end alone."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_builders.task import ROLES
from unlearnkit.core.alignment import effective_rank, moment
from unlearnkit.core.compute import threads
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.optimise import watched
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval
from unlearnkit.core.store import Spec, Store
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs, forward_task
from unlearnkit.images.predict import predict
from unlearnkit.images.request import request_of
from unlearnkit.images.tasks import load_task
from unlearnkit.methods import methods
from unlearnkit.metrics.features import dimensional_alignment, features
from unlearnkit.study.model_outputs import outputs
from unlearnkit.study.reference_models import Trained, references
from unlearnkit.study.unlearned_models import label, unlearn

TRACKED_GROUPS = {"forget": "target", "retain": "retain", "test": "test"}


def state_metrics(seen: Outputs) -> dict[str, float]:
    """Accuracy on the forget set, the retain set and test samples; DA and effective rank of the forget set's features, NaN
    and 0 where all of them are 0."""
    found = {name: seen.correct[seen.rows(group)].mean().item() for name, group in TRACKED_GROUPS.items()}
    target, alive = features(seen, "target"), all(features(seen, g).any() for g in ("target", "retain"))
    da = dimensional_alignment(seen) if alive else float("nan")
    return found | {"DA": da, "effective_rank": effective_rank(moment(target))}


def trajectory(
    config: Config,
    method: str,
    options: Mapping | None = None,
    *,
    tuned: bool = True,
    every: int = 1,
    device: str = "auto",
) -> pd.DataFrame:
    """One row for the original, step 0, and one after every so many-th optimiser step of `unlearn(config, method, options)`
    and the last: step, the columns of `stood`, and run, the key that it is stored under.

    Steps are those of `unlearnkit.core.optimise.minimise`; a method that takes none has the rows of its start and its end. A run
    that diverges ends with the last step whose features are finite. Raises BadValue for an `every` below 1.
    """
    if every < 1:
        raise BadValue(f"every must be at least 1, got {every}")
    made = unlearn(config, method, options, tuned=tuned, device=device)
    (refs,) = references([config], ["original"], device=device)
    task, steps = load_task(config), made.artefact.info["steps"]
    spec = Spec("trajectory", {"every": every}, (state_metrics, methods[method], outputs_module), [made.key])

    def make(folder: Path) -> None:
        rows = [{"step": 0} | state_metrics(outputs(refs["original"], features=True, device=device)[1])]

        def look(net: nn.Module, taken: int) -> None:
            if taken % every == 0 or taken == steps:
                seen = forward_task(net, task, features=True, device=device, precision=config.recipe.precision)
                if seen.features.isfinite().all():
                    rows.append({"step": taken} | state_metrics(seen))

        _again(made, refs["original"], look, device)
        if len(rows) == 1 and "diverged" not in made.artefact.info:  # no steps, or none of `minimise`
            rows.append({"step": max(steps, 1)} | state_metrics(outputs(made, features=True, device=device)[1]))
        pd.DataFrame(rows).to_parquet(folder / "steps.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "steps.parquet").assign(run=artefact.key)


def margins(config: Config, method: str, *, tuned: bool = True, device: str = "auto") -> tuple[str, Tensor]:
    """(key, Outputs.phi of each target, in the order of their ids, before the first and after each optimiser step of
    `unlearn(config, method)`: (1 + steps, targets) float32); of image classifiers. A method that takes no steps has one row.
    """
    made = unlearn(config, method, tuned=tuned, device=device)
    (refs,) = references([config], ["original"], device=device)
    task, precision = load_task(config), config.recipe.precision
    rows = task.index("target")
    spec = Spec("margins", {}, (margins, methods[method], outputs_module), [made.key])

    def make(folder: Path) -> None:
        found: list[Tensor] = []

        def look(net: nn.Module, _: int = 0) -> None:
            logits = predict(net, task.x[rows], device=device, precision=precision)[0]
            role = torch.full_like(rows, ROLES.index("target"))
            found.append(Outputs(logits, task.y[rows], role, rows).phi.float())

        look(refs["original"].load())
        _again(made, refs["original"], look, device)
        save_file({"phi": torch.stack(found)}, folder / "margins.safetensors")

    artefact = Store().get(spec, make)
    return artefact.key, load_file(artefact.folder / "margins.safetensors")["phi"]


def _again(made: Trained, original: Trained, look: Callable[[nn.Module, int], None], device: str) -> None:
    """Run the method that made a model once more, calling look(net, steps taken so far) after each of its optimiser steps;
    a run that diverged ends where it did."""
    how, taken = made.artefact.manifest["params"], 0

    def step(net: nn.Module) -> None:
        nonlocal taken
        taken += 1
        look(net, taken)

    diverged = "diverged" in made.artefact.info
    expected = contextlib.suppress(NonFiniteLoss) if diverged else contextlib.nullcontext()
    request = request_of(load_task(made.config), made.config.recipe)
    with threads(1), watched(step), expected:
        methods[how["method"]](original.load(), request, seed=how["seed"], device=device, **how["options"])


def trajectories(
    configs: Sequence[Config], wanted: Sequence[Mapping], *, tuned: bool = True, every: int = 1, device: str = "auto"
) -> pd.DataFrame:
    """`trajectory` of each config and each of `wanted`, {"method": name, ...its options}, with the config's columns and
    `method` as score tables call it. Raises UnknownName or BadValue for one that does not fit, before anything runs."""
    asked = [(row["method"], {k: v for k, v in row.items() if k != "method"}) for row in wanted]
    for method, options in asked:
        methods[method].resolve(options)
    references(configs, ["original"], device=device)  # together
    parts = []
    with Progress("trajectories", len(configs) * len(asked)) as bar:
        for config in configs:
            for method, options in asked:
                found = trajectory(config, method, options, tuned=tuned, every=every, device=device)
                parts.append(found.assign(**config.columns(), method=label(method, options)))
                bar.step()
    return pd.concat(parts, ignore_index=True)


def stability(steps: pd.DataFrame) -> pd.DataFrame:
    """How steady each run was, from its way: one row per config and method, means over seeds with 95% intervals.

    lowest_retain, lowest_test: the lowest accuracy on the way; back_and_forth: the sum of all changes of test accuracy
    from row to row, up and down; spread_test: standard deviation over seeds of the test accuracy at the end, one number.
    steps: of `trajectories`.
    """
    rows = []
    for index, part in steps.groupby([*CONDITION_COLUMNS, "method"], sort=False):
        by_seed = [run.sort_values("step") for _, run in part.groupby("seed")]
        ways = {
            "lowest_retain": [run.retain.min() for run in by_seed],
            "lowest_test": [run.test.min() for run in by_seed],
            "back_and_forth": [run.test.diff().abs().sum() for run in by_seed],
        }
        row = dict(zip([*CONDITION_COLUMNS, "method"], index, strict=True))
        for name, values in ways.items():
            found = mean_interval(values)
            row |= {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        row["spread_test"] = pd.Series([run.test.iloc[-1] for run in by_seed]).std()
        rows.append(row | {"steps": max(run.step.max() for run in by_seed), "n": len(by_seed)})
    return pd.DataFrame(rows)
