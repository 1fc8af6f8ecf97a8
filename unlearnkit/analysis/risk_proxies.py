"""How well each ranker foretells the privacy risk that shadow models measure, beside how well these foretell themselves."""

from collections.abc import Sequence

import pandas as pd

from unlearnkit.core.errors import BadValue
from unlearnkit.core.rank_correlation import over_seeds, spearman
from unlearnkit.privacy_risk.shadow_models import STATISTICS
from unlearnkit.core.statistics import CELL

ITSELF = "half against half"  # the row of a measure by one half of the shadow models against the same by the other


def t8_proxies(risks: pd.DataFrame, measures: Sequence[str] = ("lira_online", "memorisation")) -> pd.DataFrame:
    """One row per cell, group, measure and ranker: Spearman's rho of the two over the samples, mean over seeds (n), with
    intervals over seeds and, rho_*_samples, over samples (their number: of all seeds).

    ITSELF is the measure's own reliability at *half* of its models; `full` in that row what it would be at all of them, by
    Spearman and Brown's 2 rho / (1 + rho): no ranker can be expected to exceed its root. Decoys show what is found where
    there is nothing. risks: of unlearnkit.analysis.privacy_risk.risks. Raises BadValue for a measure that is not among them.
    """
    rows = []
    for measure in measures:
        if measure not in STATISTICS or measure not in set(risks.ranker):
            known = ", ".join(sorted(set(STATISTICS) & set(risks.ranker)))
            raise BadValue(f"{measure!r} is no measure of these risks: known are {known or 'none'}")
        for (*cell, group), part in risks.groupby([*CELL, "group"], sort=False):
            seeds = {}
            for _, of_seed in part.groupby("seed"):
                wide = of_seed.pivot(index="sample", columns=["ranker", "half"], values="value")
                target = wide[measure, ""].to_numpy()
                for ranker, half in wide:
                    if half == "" and ranker != measure:
                        seeds.setdefault(ranker, []).append([target, wide[ranker, half].to_numpy()])
                if (measure, "0") in wide:
                    seeds.setdefault(ITSELF, []).append([wide[measure, h].to_numpy() for h in "01"])
            for ranker, columns in seeds.items():
                found = over_seeds(spearman, columns)
                row = dict(zip(CELL, cell)) | {"group": group, "measure": measure, "ranker": ranker}
                row |= {
                    ("rho" if k == "mean" else k if k in ("n", "samples") else f"rho_{k}"): v for k, v in found.items()
                }
                if ranker == ITSELF and found["mean"] is not None:
                    row["full"] = 2 * found["mean"] / (1 + found["mean"])
                rows.append(row)
    return pd.DataFrame(rows)
