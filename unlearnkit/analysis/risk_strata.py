"""One unlearned model against several retrained ones, sample by sample and stratum by stratum of the targets' risk."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.gaps import tug_of_war, tug_of_war_by_attack
from unlearnkit.privacy_risk.shadow_models import check, moments
from unlearnkit.privacy_risk.subset_models import Seen

STRATA = ("low", "middle", "high")


def strata(risk: Tensor) -> dict[str, Tensor]:
    """{name: row numbers} of thirds of the samples by risk, (n,), sizes that differ by one at most; larger = higher."""
    return dict(zip(STRATA, risk.argsort(stable=True).tensor_split(len(STRATA))))


def membership(seen: Seen, phi: Tensor) -> Tensor:
    """Probability that a model with these margins, (n,), was trained on each sample, (n,), by the Gaussians of the shadow
    models with and without it and an even prior. Source: online LiRA, Carlini et al. 2022, arXiv 2112.03570, as a
    probability, since the likelihood ratio itself has no bound."""
    check(seen.inside)
    with_, without = (
        torch.distributions.Normal(mean, variance.sqrt().clamp(min=1e-6)).log_prob(phi)
        for mean, variance in (moments(seen.phi, which) for which in (seen.inside, ~seen.inside))
    )
    return (with_ - without).sigmoid()


def compared(
    model: Evidence, retrained: Sequence[Evidence], shadows: Seen, parts: Mapping[str, Tensor]
) -> pd.DataFrame:
    """Columns metric, stratum, value: means over the retrained models, and over the targets of a stratum.

    ToW, ToW-MIA: as unlearnkit.metrics.gaps, 1 is best; phi-gap: |difference of phi|, logits; LiRA-gap: |difference of
    `membership`|, from 0 to 1; FA-gap: |difference of the accuracy on the stratum|; and the model's own FA, phi, RA, TA.
    shadows: of the targets alone; parts: {stratum: rows among the targets}, to which "all" is added.
    """
    rows = model.rows("target")
    parts = {"all": torch.arange(len(rows)), **parts}
    phi, right = model.phi[rows], model.correct[rows]
    member = membership(shadows, phi)
    found = []
    for other in retrained:
        found += [("ToW", "all", tug_of_war(model, other)["all"])]
        found += [("ToW-MIA", "all", tug_of_war_by_attack(model, other)["all"])]
        for name, mine, theirs in (
            ("phi-gap", phi, other.phi[rows]),
            ("LiRA-gap", member, membership(shadows, other.phi[rows])),
        ):
            apart = (mine - theirs).abs()
            found += [(name, s, apart[part].mean().item()) for s, part in parts.items()]
        there = other.correct[rows]
        found += [("FA-gap", s, (right[p].mean() - there[p].mean()).abs().item()) for s, p in parts.items()]
    found += [("FA", s, right[p].mean().item()) for s, p in parts.items()]
    found += [("phi", s, phi[p].mean().item()) for s, p in parts.items()]
    found += [("RA", "all", accuracy(model, "retain")), ("TA", "all", accuracy(model, "test"))]
    table = pd.DataFrame(found, columns=["metric", "stratum", "value"])
    return table.groupby(["metric", "stratum"], sort=False).value.mean().reset_index()
