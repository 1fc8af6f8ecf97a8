"""Tuning on record: one budget for all methods, on forget sets that no table reports, with the test set out of sight.

Values are searched for where similar samples play no part (random targets, no copies) and then frozen, so that what is
reported with similar samples was not tuned for them. Everything that was tried is written down (unlearnkit.methods.tuned_options).
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from unlearnkit import study
from unlearnkit.core import code_digest as code
from unlearnkit.core.compute import derive, resolve_device, threads
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.core.progress import Progress, duration
from unlearnkit.core.store import Spec, Store, provenance
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.methods import methods
from unlearnkit.methods import tuned_options as tuned
from unlearnkit.methods import tuned_options as tuned_values
from unlearnkit.results import write_whole
from unlearnkit.runner import job
from unlearnkit.study.domains import domain, task_artefact
from unlearnkit.tuning import objective, search_space


def write(record: Mapping) -> Path:
    """Put a record in its place, whole or not at all. A file that says the same already keeps its date."""
    file = tuned.place(*(record[k] for k in ("method", "dataset", "model")))
    if not file.is_file() or _lasting(json.loads(file.read_text())) != _lasting(json.loads(json.dumps(record))):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: path.write_text(_by_line(record)))
    return file


def _lasting(record: Mapping) -> dict:
    """All that the same code finds again: not when, and on which machine."""
    return {k: v for k, v in record.items() if k != "made"}


def _by_line(record: Mapping) -> str:
    """JSON with one line per entry, and in lists and tables of more than one per item: a change is seen in a diff."""
    lines = []
    for key, value in record.items():
        if isinstance(value, dict) and len(value) > 1:
            inner = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            text = "{\n  " + ",\n  ".join(inner) + "\n }"
        elif isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        else:
            text = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


TRIALS = 20  # settings tried of each method
GOAL = "mean |difference to retrain| over UA, RA, TA, MIA; TA and the attack's non-members: validation samples"


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
        judge, reference = _reference(config, refs["retrain"].key, device)
        with threads(1):
            try:
                model = refs["original"].load()
                if entry:
                    model = entry(model, domain(config).request(config), seed=seed, device=device, **options)
                return {"gap": objective.gap(judge(model), reference)}
            except NonFiniteLoss as error:
                return {"diverged": str(error)}

    return Store().get(spec, make).info


@lru_cache(maxsize=8)
def _reference(config: Config, key: str, device: str) -> tuple[Callable, Outputs]:
    """What judges models of the config without its test samples, and what it says of the retrained one, of this key."""
    judge = objective.validation_outputs(config, device)
    return judge, judge(study.references([config], ["retrain"], device=device)[0]["retrain"].load())


def _over(grid: Sequence[Config], method: str, options: Mapping, device: str) -> dict:
    """One trial over all seeds: mean gap, and that of each seed; the worst there is once it diverged on one."""
    gaps = []
    for config in grid:
        found = trial(config, method, options, device)
        if "diverged" in found:
            return {"gap": objective.WORST, "by_seed": gaps, "diverged": f"seed {config.seed}: {found['diverged']}"}
        gaps.append(round(found["gap"], 6))
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
    """Search one method's options on the configs of `search_space.protocol`; returns what `write` puts on record. fixed:
    options that are not searched, where they are not to have their defaults.

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
    search = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    search.enqueue_trial(defaults)
    tried = []
    for number in range(trials):
        proposed = search.ask()
        found = {name: search_space.suggest(proposed, name, within) for name, within in ranges.items()}
        options = found if number else defaults
        outcome = _over(grid, method, methods[method].resolve(published | dict(fixed or {}) | options), device)
        search.tell(proposed, outcome["gap"])
        tried.append({"options": options, **outcome})
        done()
    best = min(tried, key=lambda t: t["gap"])  # of equals the earliest, so the default if nothing beats it
    return _record(method, grid, ranges, defaults, tried, best, device)


def _record(method, grid, ranges, defaults, tried, best, device) -> dict:
    import optuna

    config, again = grid[0], search_space.defaults("retrain", grid[0].domain)
    task = domain(config).without_test(study.load_task(config))
    marks = {"original": _over(grid, "original", {}, device), "retrain_again": _over(grid, "retrain", again, device)}
    return {
        "format": tuned_values.FORMAT,
        "method": method,
        "dataset": config.columns()["dataset"],
        "model": config.model,
        "values": best["options"],
        "defaults": defaults,
        "searched": {name: vars(within) for name, within in ranges.items()},
        "objective": {"is": GOAL, "n": len(grid), "default": tried[0]["gap"], "best": best["gap"]}
        | {name: found["gap"] for name, found in marks.items()},
        "budget": {"trials": len(tried), "seeds": [c.seed for c in grid], "sampler": "Optuna TPE, seed 0"},
        "protocol": {"targets": config.targets, "n_targets": len(task.index("target")), "copies": config.copies}
        | {"train_size": config.train_size, "validation": len(task.index("test"))}
        | {n: getattr(config, n) for n in search_space.SETTINGS[type(config)] if n not in ("train_size", "recipe")},
        "recipe": config.recipe.as_dict(),
        "trials": tried,
        "sources": code.digests([methods[method]]),
        "made": provenance() | {"optuna": optuna.__version__},
    }


# --- many methods --------------------------------------------------------------------------------------------------


def run(
    names: Sequence[str],
    dataset: str = "digits",
    model: str = "small_cnn",
    *,
    trials: int = TRIALS,
    seeds: int = search_space.SEEDS,
    workers: int | None = None,
    **settings,
) -> list[Path]:
    """Tune methods and write their files, each as soon as it is finished; prints a line per method and the time left.

    One budget, trials x seeds, for all. Several methods are tuned at a time, each by one worker: what is tried next
    depends on what was found, and the result on nothing else. An exception stops its own method alone, and is raised
    when the others are finished. The same command goes on where a stopped run was. settings: see `search_space.protocol`.
    """
    grids = {name: search_space.protocol(name, dataset, model, seeds, **settings) for name in names}
    ready = [name for name in grids if search_space.space(name, search_space.of(model).domain)]
    for name in grids:
        if name not in ready:
            print(f"{name}: has no option to tune", flush=True)
    if not ready:
        return []
    study.references(list(dict.fromkeys(c for name in ready for c in grids[name])), ["original", "retrain"])
    print(f"tuning {len(ready)} methods, each by {trials} trials on {seeds} forget sets", flush=True)
    files, failed, start = [], {}, time.monotonic()
    own = job.gpus()
    at_once = workers or len(own) or os.cpu_count() or 1
    for name, found in _results({name: grids[name] for name in ready}, trials, at_once, own):
        if isinstance(found, Exception):
            failed[name] = found
            text = f"FAILED: {type(found).__name__}: {found}"
        else:
            files.append(write(found))
            text = _summary(found)
        done, taken = len(files) + len(failed), time.monotonic() - start
        left = f"about {duration(taken / done * (len(ready) - done))} left" if done < len(ready) else duration(taken)
        print(f"[{done}/{len(ready)}] {name}: {text} | {left}", flush=True)
    for error in failed.values():
        raise error
    return files


def _summary(record: Mapping) -> str:
    goal, diverged = record["objective"], sum("diverged" in t for t in record["trials"])
    chosen = ", ".join(f"{k}={v}" for k, v in record["values"].items())
    found = f"gap {goal['best']:.4f} with {chosen}; default {goal['default']:.4f}, original {goal['original']:.4f}"
    return f"{found}, retrain again {goal['retrain_again']:.4f}" + (f"; {diverged} trials diverged" if diverged else "")


def _results(grids: Mapping[str, Sequence[Config]], trials: int, workers: int, gpus: Sequence[str]):
    """Yields (method, record or exception) as they are finished."""
    with Progress("trials", len(grids) * trials) as bar:
        if min(workers, len(grids)) == 1:
            for name, grid in grids.items():
                try:
                    yield name, tune(name, grid, trials, done=bar.step)
                except Exception as error:
                    yield name, error
            return
        import dask
        from distributed import as_completed

        from unlearnkit.runner import batch

        # Dask's own setting, but for its wish that freed memory is handed back at once, which makes training slower
        environ = {"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1}}
        with dask.config.set(environ), batch.local_cluster(min(workers, len(grids))) as client:
            client.subscribe_topic("trial", lambda event: bar.step())
            environment = batch.environment()
            jobs = {client.submit(_work, n, g, trials, environment, gpus, pure=False): n for n, g in grids.items()}
            for future in as_completed(jobs):
                error = future.exception()
                yield jobs[future], error if error is not None else future.result()


def _work(method: str, grid: Sequence[Config], trials: int, environment: Mapping, gpus: Sequence[str]) -> dict:
    """On a worker."""
    from distributed import get_worker

    os.environ.update(environment)
    job.choose_gpu(gpus)
    return tune(method, grid, trials, done=lambda: get_worker().log_event("trial", method))
