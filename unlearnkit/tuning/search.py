"""The search for a method's options: one budget for all methods, forget sets that no table reports, no test samples.

Values are searched for where near-duplicates play no part (random targets, no copies) and then frozen, so that what is
reported with near-duplicates was not tuned for them. Everything that was tried is recorded (unlearnkit.tuning.record).
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from torch import nn

from unlearnkit import study
from unlearnkit.core import paths
from unlearnkit.core.compute import derive, resolve_device, threads
from unlearnkit.core.disk import check_writable
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.progress import Progress, duration
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.methods import methods
from unlearnkit.runner import job
from unlearnkit.study.domains import domain, task_artefact
from unlearnkit.tuning import objective, search_space
from unlearnkit.tuning.record import check_budget, make_record, summary, write

TRIALS = 20  # settings tried of each method


# --- one trial -----------------------------------------------------------------------------------------------------


def trial(config: Config, method: str, options: Mapping, device: str = "auto") -> Mapping:
    """{"gap": ...} of one run of `method`, or {"diverged": why}; stored, so that no trial is run twice.

    options: all of them. method "original" is the model before unlearning. The unlearned model itself is not kept.
    """
    entry = methods[method] if method != "original" else None
    (refs,) = study.references([config], ["original", "retrain"], device=device)
    seed = derive(config.seed, "method", method)
    params = {"method": method, "options": dict(options), "recipe": config.recipe.as_dict(), "seed": seed}
    params["device"] = resolve_device(device).type
    roots = (*objective.code(config), *([entry] if entry else []))
    spec = Spec("trial", params, roots, [refs["original"].key, refs["retrain"].key, task_artefact(config).key])

    def make(folder: Path) -> dict:
        distance = _measure(config, refs["original"].key + refs["retrain"].key, device)
        with threads(1):
            try:
                model = refs["original"].load()
                if entry:
                    model = entry(model, domain(config).request(config), seed=seed, device=device, **options)
                return {"gap": distance(model)}
            except NonFiniteLoss as error:
                return {"diverged": str(error)}

    return Store().get(spec, make).info


@lru_cache(maxsize=8)
def _measure(config: Config, keys: str, device: str) -> Callable[[nn.Module], float]:
    """`objective.measure`, once for a config and its references of these keys."""
    return objective.measure(config, device)


def _all_seeds(grid: Sequence[Config], method: str, options: Mapping, device: str) -> dict:
    """One setting over all seeds: the mean gap, and each seed's; the worst possible if it diverged on one."""
    gaps = []
    for config in grid:
        outcome = trial(config, method, options, device)
        if "diverged" in outcome:
            why = f"seed {config.seed}: {outcome['diverged']}"
            return {"gap": objective.worst(config), "by_seed": gaps, "diverged": why}
        gaps.append(round(outcome["gap"], 6))
    return {"gap": round(sum(gaps) / len(gaps), 6), "by_seed": gaps}


# --- one method ----------------------------------------------------------------------------------------------------


def tune(
    method: str,
    grid: Sequence[Config],
    trials: int = TRIALS,
    *,
    fixed: Mapping | None = None,
    device: str = "auto",
    done: Callable[[], None] = lambda: None,
) -> dict:
    """Search one method's options on the configs of `search_space.protocol`; returns the record. fixed: options that
    are not searched, where they are not to have their defaults.

    The first trial is the published default; the rest are proposed by Optuna's TPE sampler, seeded, so that a run that
    was stopped finds its trials again and goes on. A trial that diverges counts as the worst. done() is called after
    each trial. Raises BadValue for a method without a range to search, and whatever else a method raises.
    """
    kind = grid[0].domain
    ranges, published = search_space.space(method, kind), search_space.defaults(method, kind)
    if not ranges:
        raise BadValue(f"method {method!r} has no option to tune")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    defaults = {name: published[name] for name in ranges}
    sampler = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    sampler.enqueue_trial(defaults)
    tried = []
    for number in range(trials):
        proposal = sampler.ask()
        proposed = {name: search_space.suggest(proposal, name, within) for name, within in ranges.items()}
        options = proposed if number else defaults
        resolved = methods[method].resolve(published | dict(fixed or {}) | options)
        outcome = _all_seeds(grid, method, resolved, device)
        sampler.tell(proposal, outcome["gap"])
        tried.append({"options": options, **outcome})
        done()
    baselines = {
        "original": _all_seeds(grid, "original", {}, device)["gap"],
        "retrain_again": _all_seeds(grid, "retrain", search_space.defaults("retrain", kind), device)["gap"],
    }
    return make_record(method, grid, ranges, defaults, tried, baselines)


# --- many methods --------------------------------------------------------------------------------------------------


def run(
    names: Sequence[str],
    dataset: str = "digits",
    model: str = "small_cnn",
    *,
    trials: int = TRIALS,
    seeds: int = search_space.SEEDS,
    workers: int | None = None,
    force: bool = False,
    **settings,
) -> list[Path]:
    """Tune methods and write their files, each as soon as it is finished; prints a line per method and the time left.

    One budget, trials x seeds, for all. Several methods are tuned at a time, each by one worker: the next trial depends
    on the earlier ones of its method, and the result on nothing else. An exception stops its own method alone, and is
    raised when the others are finished. The same command continues a stopped run. settings: see
    `search_space.protocol`. Raises, before anything runs, StoreError where records cannot be written, and BadValue where
    one of a larger budget would be replaced, unless `force`.
    """
    check_writable("the tuned values", paths.tuned(), "UNLEARNKIT_TUNED")
    if not force:
        check_budget(names, dataset, model, trials, seeds)
    grids = {name: search_space.protocol(name, dataset, model, seeds, **settings) for name in names}
    ready = [name for name, grid in grids.items() if search_space.space(name, grid[0].domain)]
    for name in grids:
        if name not in ready:
            print(f"{name}: has no option to tune", flush=True)
    if not ready:
        return []
    study.references(list(dict.fromkeys(c for name in ready for c in grids[name])), ["original", "retrain"])
    print(f"tuning {len(ready)} methods, each by {trials} trials on {seeds} forget sets", flush=True)
    files, failed, start = [], {}, time.monotonic()
    gpus = job.gpus()
    n_workers = workers or len(gpus) or os.cpu_count() or 1
    for name, result in _results({name: grids[name] for name in ready}, trials, n_workers, gpus):
        if isinstance(result, Exception):
            failed[name] = result
            text = f"FAILED: {type(result).__name__}: {result}"
        else:
            files.append(write(result))
            text = summary(result)
        done, seconds = len(files) + len(failed), time.monotonic() - start
        left = (
            f"about {duration(seconds / done * (len(ready) - done))} left" if done < len(ready) else duration(seconds)
        )
        print(f"[{done}/{len(ready)}] {name}: {text} | {left}", flush=True)
    if files:
        print(f"records in {os.path.relpath(files[0].parent, paths.root())}; `unlearnkit list tuned` shows them")
    for error in failed.values():
        raise error
    return files


def _results(
    grids: Mapping[str, Sequence[Config]], trials: int, workers: int, gpus: Sequence[str]
) -> Iterator[tuple[str, dict | Exception]]:
    """(method, record or exception) of each, as it is finished."""
    with Progress("trials", len(grids) * trials) as bar:
        if min(workers, len(grids)) == 1:
            for name, grid in grids.items():
                try:
                    yield name, tune(name, grid, trials, done=bar.step)
                except Exception as error:
                    yield name, error
            return
        from distributed import as_completed

        from unlearnkit.runner import batch

        with batch.local_cluster(min(workers, len(grids))) as client:
            client.subscribe_topic("trial", lambda event: bar.step())
            environment = batch.environment()
            jobs = {client.submit(_work, n, g, trials, environment, gpus, pure=False): n for n, g in grids.items()}
            for future in as_completed(jobs):
                error = future.exception()
                yield jobs[future], error if error is not None else future.result()


def _work(method: str, grid: Sequence[Config], trials: int, environment: Mapping, gpus: Sequence[str]) -> dict:
    """`tune` on a worker."""
    from distributed import get_worker

    os.environ.update(environment)
    job.choose_gpu(gpus)
    return tune(method, grid, trials, done=lambda: get_worker().log_event("trial", method))
