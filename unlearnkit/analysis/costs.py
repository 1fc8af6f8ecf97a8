"""What each method costs (T10), from the tidy score table."""

import pandas as pd

from unlearnkit.core.statistics import interval_columns, mean_interval
from unlearnkit.study import BASELINES


def cost_table(scores: pd.DataFrame) -> pd.DataFrame:
    """What each method costs: one row per data set, architecture and method, means over all of its tasks, with 95%
    intervals over n_seeds seeds of the means over tasks.

    seconds: wall seconds of one unlearning, on one thread or one GPU; steps: of optimisers; each also as a ratio to
    retraining (seconds_ratio by the metric RTE). Peak memory stands with each run (`peak_mib`) and not here: on the CPU
    it is that of the process, which made other models before.
    """
    key = ["dataset", "train_size", "architecture", "method"]
    methods = scores[~scores.method.isin(BASELINES)]

    def by_seed(metric: str, reference: str) -> pd.Series:
        part = methods[(methods.metric == metric) & (methods.reference == reference)]
        return part.groupby([*key, "seed"]).value.mean()

    steps = by_seed("steps", "")
    retrain = steps.xs("retrain", level="method")
    columns = {
        "seconds": by_seed("seconds", ""),
        "steps": steps,
        "steps_ratio": steps / retrain.reindex(steps.index.droplevel("method")).to_numpy(),
        "seconds_ratio": by_seed("RTE", "retrain"),
    }
    parts = []
    for name, values in columns.items():
        groups = values.groupby(level=key)
        parts.append(pd.DataFrame({i: interval_columns(name, mean_interval(v)) for i, v in groups}).T.astype(float))
    table = pd.concat(parts, axis=1).assign(n_seeds=columns["seconds"].groupby(level=key).size())
    return table.rename_axis(key).reset_index().sort_values([*key[:3], "seconds"], ignore_index=True)
