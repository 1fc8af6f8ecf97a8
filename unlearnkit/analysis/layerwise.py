"""Feature metrics per layer."""

from collections.abc import Mapping, Sequence

import pandas as pd

from unlearnkit import metrics as metrics_module
from unlearnkit import study
from unlearnkit.core.errors import BadValue
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import CONDITION_COLUMNS, bounds, mean_interval
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images import outputs as outputs_module
from unlearnkit.images.config import Config
from unlearnkit.study.ensembles import model_of_row
from unlearnkit.study.memory import Kept
from unlearnkit.study.model_outputs import by_layer
from unlearnkit.study.reference_models import Trained
from unlearnkit.study.rows import Row, applicable_rows


def feature_metrics() -> list[str]:
    """The metrics that need features and no more, which have a value for every layer."""
    return sorted(name for name, entry in metrics_module.metrics.items() if entry.info["needs"] == ("features",))


def layer_scores(
    configs: Sequence[Config],
    names: Sequence[str],
    layers: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """The tidy score table with two columns more: layer, and depth, 1 for the first layer asked for.

    names: as in study.scores; a method is left out of configs for which it has no meaning. layers: by name; those that
    feed the next one if not given. metrics: of `feature_metrics`, all of them if not given. options: {method: options} that
    are to differ from the tuned ones. memory: see unlearnkit.study.memory.Kept. A method that diverged has one row, of
    metric "diverged". Raises BadValue for a metric that does not read features alone.
    """
    metrics = feature_metrics() if metrics is None else list(dict.fromkeys(metrics))
    for name in metrics:
        if metrics_module.metrics[name].info["needs"] != ("features",):
            raise BadValue(
                f"metric {name!r} does not read features alone: of layers there are {', '.join(feature_metrics())}"
            )
    rows = applicable_rows(configs, names, options, tuned=tuned)
    kept = Kept(memory, "layers", layers=list(layers), metrics=metrics)
    missing = list(dict.fromkeys(row.config for row in kept.missing(rows)))
    refs_of = dict(zip(missing, study.references(missing, device=device), strict=True))
    tables = []
    with Progress("layers", len(rows)) as bar:
        for row in rows:
            table = kept.get(row, lambda row=row: _scores(row, refs_of[row.config], layers, metrics, device))
            tables.append(table.assign(**row.config.columns(), method=row.name))
            bar.step()
    return pd.concat(tables, ignore_index=True)


def _scores(
    row: Row, refs: Mapping[str, Trained], layers: Sequence[str], metrics: list[str], device: str
) -> pd.DataFrame:
    model = model_of_row(row, refs["original"], device=device)
    if model.diverged:
        lost = {"metric": "diverged", "reference": "", "group": "all", "value": 1.0, "layer": "", "depth": 0}
        return pd.DataFrame([lost]).assign(run=model.key)
    registered = [metrics_module.metrics[m] for m in metrics]
    compared = [r for r in refs if any(r in entry.info["references"] for entry in registered)]
    own = by_layer(model, layers, device=device)
    others = {r: by_layer(refs[r], list(own), device=device) for r in compared}
    parents = [key for of_layers in (own, *others.values()) for key, _ in of_layers.values()]
    params = {"metrics": metrics, "layers": list(own)}

    def make() -> pd.DataFrame:
        tables = []
        for depth, (layer, (_, outputs)) in enumerate(own.items(), 1):
            references = {r: of_layers[layer][1] for r, of_layers in others.items()}
            table = metrics_module.score(outputs, references, metrics)
            tables.append(table.assign(layer=layer, depth=depth))
        return pd.concat(tables, ignore_index=True)

    return stored_table(Spec("depth", params, (metrics_module, outputs_module, *registered), parents), make)


def by_depth(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per config, method, metric, reference, group and layer: mean, low, high over n_seeds seeds."""
    kept = [*CONDITION_COLUMNS, "method", "metric", "reference", "group", "depth", "layer"]
    groups = scores[scores.metric != "diverged"].groupby(kept, sort=False).value
    metric = kept.index("metric")
    means = {key: mean_interval(values, bounds(key[metric])) for key, values in groups}
    table = pd.DataFrame(means).T.rename_axis(kept).reset_index()
    return table.rename(columns={"n": "n_seeds"})
