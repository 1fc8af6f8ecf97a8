"""Metrics: `(outputs, reference) -> {group: number}`, each with its direction, unit and references.

direction: "lower" or "higher" is better, or "gap": only the distance to the reference's value has a meaning.
references: the models it is computed against, a row for each; () for metrics of one model alone. best: a reference's
value against itself. needs: of unlearnkit.images.outputs.NEEDS, beyond one forward pass; metrics with needs are
computed only where they are asked for by name. domains: "image", "text" or both. Where images have labels, texts have
the tokens of their answers: `correct` is the share of these that are the likeliest (exact memorisation), `losses` are
nats per token, `phi` is of the probability per token. A group for which a metric has no meaning is left out; `left_out`
says why.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps

import pandas as pd

from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Registry
from unlearnkit.images.outputs import NEEDS, Outputs

metrics = Registry("metric", "unlearnkit.metrics")
DOMAINS = ("image", "text")


def metric(
    name: str,
    *,
    direction: str,
    unit: str,
    references: tuple[str, ...] = (),
    best: float = 0.0,
    needs: tuple[str, ...] = (),
    left_out: Callable[[Outputs, Outputs | None], dict[str, str]] = lambda outputs, reference=None: {},
    domains: tuple[str, ...] = ("image",),
    source: str = "",
):
    """Register `function(outputs, reference) -> {group: number}` under `name`. left_out(outputs, reference): {group:
    why} of the groups without a number.

    The registered metric raises BadValue where the outputs lack what it needs, and NotApplicable for outputs of another
    domain; the plain function checks nothing.
    """
    assert direction in ("lower", "higher", "gap"), direction
    assert set(needs) <= set(NEEDS), needs

    def add(function: Callable) -> Callable:
        @wraps(function)
        def checked(outputs: Outputs, reference: Outputs | None = None) -> dict[str, float]:
            if (domain := outputs.domain) not in domains:
                raise NotApplicable(f"metric {name!r} has no meaning for {domain}s: it judges {' and '.join(domains)}s")
            if references and reference is None:
                raise BadValue(f"metric {name!r} compares with a reference: {' or '.join(references)}")
            for need in needs:
                for model_outputs in (outputs, reference) if references else (outputs,):
                    model_outputs.require(need, name)
            return function(outputs, reference)

        info = {"direction": direction, "unit": unit, "references": references, "best": best, "needs": needs}
        metrics.register(name, **info, domains=tuple(domains), left_out=left_out, source=source)(checked)
        return function

    return add


def single_pass_metrics(domain: str = "image") -> list[str]:
    """Names of the metrics that need one forward pass and no more, sorted: those of every table of a domain."""
    return sorted(n for n, entry in metrics.items() if not entry.info["needs"] and domain in entry.info["domains"])


def needs_of(names: Sequence[str]) -> set[str]:
    """All needs of these metrics."""
    return {need for name in names for need in metrics[name].info["needs"]}


def judging(domain: str, names: Sequence[str]) -> list[str]:
    """Those of `names` that judge this domain. Raises NotApplicable if none does."""
    able = [name for name in names if domain in metrics[name].info["domains"]]
    if not able:
        raise NotApplicable(f"no meaning for {domain}s: {', '.join(names)}")
    return able


def left_out(outputs: Outputs, names: Sequence[str] | None = None, reference: Outputs | None = None) -> pd.DataFrame:
    """Why a metric of `names` (without it all of the domain) has no number for a group: columns metric, group, why.

    reference: of the metrics that compare with one; without it nothing is said of what depends on it.
    """
    names = sorted(n for n in metrics if outputs.domain in metrics[n].info["domains"]) if names is None else names
    rows = [(n, g, why) for n in names for g, why in metrics[n].info["left_out"](outputs, reference).items()]
    return pd.DataFrame(rows, columns=["metric", "group", "why"])


def score(outputs: Outputs, references: Mapping[str, Outputs], names: Sequence[str] | None = None) -> pd.DataFrame:
    """The scores of one model: columns metric, reference ("" for none), group, value.

    names: metrics; by default those of one forward pass. references: {"original": ..., "retrain": ..., "clean": ...,
    "initial": ...}, those that the metrics compare with. Raises BadValue for a reference or a need that is not there; a
    metric's own exception is not caught.
    """
    rows = []
    for name in single_pass_metrics(outputs.domain) if names is None else names:
        entry = metrics[name]
        for reference in entry.info["references"] or ("",):
            if reference and reference not in references:
                raise BadValue(f"metric {name!r} needs the outputs of {reference!r} among the references")
            values = entry(outputs, references[reference] if reference else None)
            rows += [(name, reference, group, float(value)) for group, value in values.items()]
    return pd.DataFrame(rows, columns=["metric", "reference", "group", "value"])
