"""Numbers that were made again beside the published ones, and what may be said of them.

On the same kind of processor, with the same build of torch and number of threads, they should be equal. Elsewhere sums are
taken in another order, training departs, and the question is whether a number differs by more than seeds do.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import stdev

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from unlearnkit.core.statistics import LEVEL
from unlearnkit.results import records

RELATIVE, ABSOLUTE = 1e-3, 1e-5  # "the same number": stacked and single training differ by less, other samples by more
CLOCK = ("RTE", "seconds", "peak_mib")  # what depends on the machine and the hour: shown, never judged
STATES = ("beyond noise", "no spread known", "within noise", "close", "equal", "clock")  # worst first
COLUMNS = ["metric", "reference", "group", "published", "again", "noise", "state", "run"]
ANOTHER_KEY = "another key: code or data changed"
KIND = ("processor", "instructions", "gpu", "torch_build", "threads")  # of a record's `made`


def difference_of_seeds(values: Sequence[float]) -> float:
    """How far apart two seeds of a number may be, in 95 of 100 cases, by its values for some; NaN for fewer than two."""
    values = [v for v in values if not math.isnan(v)]
    n = len(values)
    return float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * stdev(values) * math.sqrt(2) if n > 1 else math.nan


def difference_of_means(low: float, high: float) -> float:
    """How far apart two means over as many seeds may be, by the interval of one; NaN where it has none."""
    return (high - low) / 2 * math.sqrt(2)


def state(metric: str, published: object, new: object, noise: float = math.nan) -> str:
    """ "equal" to 6 digits; "close" within RELATIVE or ABSOLUTE; else by the noise, or "no spread known"; a measured time
    or memory is a "clock"."""
    if metric.removesuffix("_low").removesuffix("_high") in CLOCK:
        return "clock"
    a, b = (math.nan if v == "" else float(v) for v in (published, new))  # type: ignore[arg-type]
    if (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=2e-6):
        return "equal"
    if math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
        return "close"
    if math.isnan(noise):
        return "no spread known"
    return "within noise" if abs(a - b) <= noise else "beyond noise"


def other_kind(before: Mapping, now: Mapping) -> str:
    """How the processor that made a record differs from the one at hand, as Provenance has both; "" if it does not."""
    unknown = [name for name in KIND if name not in before]
    if unknown:
        return f"the published record does not say on which {unknown[0].replace('_', ' ')} it was made"
    return ", ".join(f"{name.replace('_', ' ')} {_short(before[name])}, here {_short(now[name])}"
                     for name in KIND if before[name] != now[name])  # fmt: skip


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return str(value.get("version", "unknown"))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "none")


def verdict(table: pd.DataFrame, elsewhere: str) -> tuple[str, bool]:
    """(one line, whether the published numbers stand). elsewhere: of `other_kind`.

    One number in 20 lies outside a 95% interval by chance: they stand if no more do. A number without a spread over seeds
    must be the same where the processor is, and is not judged elsewhere.
    """
    count = table.state.value_counts().reindex(STATES, fill_value=0).to_dict()
    bare, same = count["no spread known"], count["equal"] + count["close"]
    judged = len(table) - count["clock"] - (bare if elsewhere else 0)
    beyond = count["beyond noise"] + (0 if elsewhere else bare)
    where = f"not on the same kind of machine ({elsewhere})" if elsewhere else "on the same kind of machine"
    changed = table.run.str.contains(ANOTHER_KEY, regex=False).any()
    where += "; code or data changed since, see `unlearnkit verify`" if changed else ""
    if beyond > (1 - LEVEL) * judged:
        return f"NOT REPRODUCED: {beyond} of {judged} numbers differ by more than seeds do, {where}", False
    if bare and not judged:
        return f"CANNOT BE SAID: {bare} numbers differ, without a spread over seeds, {where}", True
    if same == judged and not bare:
        word = "the same but for the order of sums" if count["close"] else "equal"
        return f"REPRODUCED: {judged} numbers, {word}, {where}", True
    told = {f"{count['within noise']} of {judged} numbers differ, by less than seeds do": count["within noise"],
            f"{beyond} of {judged} by more, as 1 in 20 may": beyond,
            f"{bare} differ without a spread over seeds and are not judged": bare if elsewhere else 0}  # fmt: skip
    hint = "" if elsewhere or changed else "; they should be equal here: did a library change?"
    return f"REPRODUCED WITHIN NOISE: {', '.join(text for text, n in told.items() if n)}, {where}{hint}", True


def shown(table: pd.DataFrame) -> str:
    """The numbers as text, run by run, the worst first, and how many are in which state."""
    order = table.state.map(STATES.index)
    by_run = table.assign(order=order).sort_values(["run", "order"], kind="stable").drop(columns="order")
    counts = ", ".join(f"{n} {name}" for name, n in table.state.value_counts().items())
    legend = (
        f"equal: to 6 digits; close: within {RELATIVE:g} of it or {ABSOLUTE:g}; noise: how far apart two seeds "
        "may be (95%); clock: times and memory, not judged"
    )
    parts = []
    for run, part in by_run.groupby("run", sort=False):
        lines = part.drop(columns="run").to_string(index=False, float_format=lambda v: f"{v:.6g}", na_rep="")
        parts.append(f"{run}\n{lines}")
    return "\n\n".join([*parts, f"{counts} ({legend})"])


def tidy(record: pd.DataFrame, where: Mapping[str, object]) -> pd.DataFrame | None:
    """A record with a row per run, metric, reference and group; None where it holds no numbers of runs.

    Scores of single targets become means over those that agree with `where`: a model carries the targets of many conditions.
    """
    if "value" in record:
        return record
    if "target" not in record:
        return None
    of_targets, of_models = (
        ["score", "rank", "label_given", "divergence"],
        [c for c in ("TA", "RA", "RA_similar", "utility") if c in record],
    )
    for name in (c for c in where if c in record and c not in ("seed", "method")):
        fits = {value: records.same(value, where[name]) for value in record[name].unique()}
        record = record[record[name].map(fits).astype(bool)]
    names = [
        c for c in record if c not in (*of_targets, *of_models, "target", "steps", "seconds", "processor", "n_decoys")
    ]
    means = record.groupby(names, dropna=False, sort=False)[[*of_targets, *of_models]].mean().reset_index()
    long = means.melt(id_vars=names, var_name="metric").assign(reference="")
    return long.assign(group=np.where(long.metric.isin(of_targets), "target", "all"))
