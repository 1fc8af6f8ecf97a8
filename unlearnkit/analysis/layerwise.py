"""Metrics of features, layer by layer: where in a net is forgetting to be seen?"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unlearnkit import metrics as metrics_module
from unlearnkit import study
from unlearnkit.core.errors import BadValue
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, mean_interval
from unlearnkit.core.store import Spec, Store
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.methods import applies
from unlearnkit.study.model_outputs import by_layer


def of_features() -> list[str]:
    """The metrics that need features and no more, which have a value for every layer."""
    return sorted(name for name, entry in metrics_module.metrics.items() if entry.info["needs"] == ("features",))


def depth(
    configs: Sequence[Config],
    names: Sequence[str],
    layers: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    *,
    tuned: bool = True,
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy score table with two columns more: layer, and depth, 1 for the first one asked for.

    names: as in study.scores; a method is left out of configs for which it has no meaning. layers: by name; those that
    feed the next one if not given. metrics: of `of_features`, all of them if not given. A method that diverged has one
    row, of metric "diverged". Raises BadValue for a metric that does not read features alone.
    """
    metrics = of_features() if metrics is None else list(dict.fromkeys(metrics))
    for name in metrics:
        if metrics_module.metrics[name].info["needs"] != ("features",):
            raise BadValue(
                f"metric {name!r} does not read features alone: of layers there are {', '.join(of_features())}"
            )
    rows = [(c, n) for c in configs for n in names if n in (*study.BASELINES, study.INITIAL) or applies(n, c.targets)]
    study.references(configs, device=device)
    frames = []
    with Progress("layers", len(rows)) as bar:
        for config, name in rows:
            frames.append(_scores(config, name, layers, metrics, tuned, device).assign(**config.columns(), method=name))
            bar.step()
    return pd.concat(frames, ignore_index=True)


def _scores(
    config: Config, name: str, layers: Sequence[str], metrics: list[str], tuned: bool, device: str
) -> pd.DataFrame:
    model = study.model(config, name, tuned=tuned, device=device)
    if "diverged" in model.artefact.info:
        lost = {"metric": "diverged", "reference": "", "group": "all", "value": 1.0, "layer": "", "depth": 0}
        return pd.DataFrame([lost]).assign(run=model.key)
    registered = [metrics_module.metrics[m] for m in metrics]
    (refs,) = study.references([config], device=device)
    compared = [r for r in refs if any(r in entry.info["references"] for entry in registered)]
    mine = by_layer(model, layers, device=device)
    theirs = {r: by_layer(refs[r], list(mine), device=device) for r in compared}
    parents = [key for found in (mine, *theirs.values()) for key, _ in found.values()]
    params = {"metrics": metrics, "layers": list(mine)}
    spec = Spec("depth", params, (metrics_module, outputs_module, *registered), parents)

    def make(folder: Path) -> None:
        tables = []
        for place, (layer, (_, seen)) in enumerate(mine.items(), 1):
            table = metrics_module.score(seen, {r: found[layer][1] for r, found in theirs.items()}, metrics)
            tables.append(table.assign(layer=layer, depth=place))
        pd.concat(tables, ignore_index=True).to_parquet(folder / "scores.parquet")

    artefact = Store().get(spec, make)
    return pd.read_parquet(artefact.folder / "scores.parquet").assign(run=artefact.key)


def by_depth(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per config, method, metric, reference, group and layer: mean, low, high over seeds, n."""
    kept = [*CONDITION_COLUMNS, "method", "metric", "reference", "group", "depth", "layer"]
    groups = scores[scores.metric != "diverged"].groupby(kept, sort=False).value
    return pd.DataFrame({key: mean_interval(values) for key, values in groups}).T.rename_axis(kept).reset_index()
