"""Which world does an unlearned model's margin come from, sample by sample?

Three worlds of models: original (trained on a target and on what is similar to it), retrain (not on the target, which is
then a non-member that has members close by), clean (on neither: a plain non-member). An attack on targets alone asks
"member or not?"; with the similar samples as a third population it can ask which kind of non-member.

Margins are phi (unlearnkit.images.outputs) of models made from other seeds, (draws, samples).
"""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue
from unlearnkit.images.outputs import Evidence
from unlearnkit.metrics.ensembles import histogram_kl, lira, lira_accuracy, resolvable, tpr_at
from data_builders.task import TRAINED_ON

WORLDS = tuple(TRAINED_ON)  # original, retrain, clean
GROUPS = ("target", "similar", "filler", "decoy", "test")
FEWEST = 4  # models of a kind: two to fit a Gaussian on, two to test
FAR = 3.0  # standard deviations


def alive(*ensembles: Tensor) -> list[Tensor]:
    """The ensembles, each (draws, samples), without the draws that diverged in one of them: what is compared has the
    same number of models, and a model stays beside the original that it was made from.

    Raises BadValue if fewer than FEWEST draws stay.
    """
    whole = torch.stack([e.isfinite().all(1) for e in ensembles]).all(0)
    if whole.sum() < FEWEST:
        raise BadValue(f"of {len(whole)} models only {int(whole.sum())} did not diverge, and at least {FEWEST} are needed: "
                       "ask for more, leave the method out, or change its options")  # fmt: skip
    return [e[whole] for e in ensembles]


def assigned(models: Tensor, worlds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{world, or "none": share of the models whose margin is likeliest there, (samples,)}; worlds that tie share a model,
    and one that is more than FAR standard deviations from every world comes from none of them.

    models and each world: (draws, samples). Each sample has one Gaussian per world, fitted on every other draw and
    evaluated on the rest, then the other way round, so that no model is judged by itself or by the original that it was
    made from. Source: ours, after U-LiRA's two worlds.
    """
    found = torch.zeros(len(worlds), models.shape[1], dtype=torch.float64)
    for fold in (0, 1):
        fitted = [v[1 - fold :: 2].double() for v in worlds.values()]
        held = models[fold::2].double()
        gaussians = [torch.distributions.Normal(v.mean(0), v.std(0).clamp(min=1e-6)) for v in fitted]
        likely = torch.stack([g.log_prob(held) for g in gaussians])  # (worlds, draws, samples)
        near = torch.stack([(held - g.mean).abs() <= FAR * g.stddev for g in gaussians]).any(0)
        best = (likely == likely.amax(0)).double()
        found += (near * best / best.sum(0)).sum(1)
    shares = found / len(models)
    return dict(zip(worlds, shares)) | {"none": 1 - shares.sum(0)}


def compare(models: Tensor, worlds: Mapping[str, Tensor]) -> pd.DataFrame:
    """Per sample and world: columns sample (column number), reference, klom, lira, assigned.

    klom: KL(models || world) of the margins, nats; lira: accuracy of telling the two apart by one margin; assigned: share
    of the models that are likeliest there; what is missing to 1 comes from none. models, worlds: (draws, samples), no NaN.
    """
    share = assigned(models, worlds)
    parts = []
    for name, world in worlds.items():
        values = {"klom": histogram_kl(models, world), "lira": lira_accuracy(models, world), "assigned": share[name]}
        part = pd.DataFrame({k: v.numpy() for k, v in values.items()}).rename_axis("sample").reset_index()
        parts.append(part.assign(reference=name))
    return pd.concat(parts, ignore_index=True)


def tables(
    models: Tensor, worlds: Mapping[str, Tensor], task: Evidence, fpr: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(samples, scores) of one row: `compare` with columns group and models (how many), for the samples in GROUPS; and
    their means over each group with U-LiRA-TPR at `fpr`, columns metric, reference, group, value.

    models, worlds: (draws, samples), NaN for a draw that diverged; task: for its roles. The rate is left out where the
    draws that stay cannot resolve it.
    """
    asked = len(models)
    models, *rest = alive(models, *worlds.values())
    worlds = dict(zip(worlds, rest))
    rows = {g: task.rows(g) for g in GROUPS if len(task.rows(g))}
    group = pd.Series({i: g for g, found in rows.items() for i in found.tolist()}, name="group")
    samples = compare(models, worlds).join(group, on="sample", how="inner").assign(models=len(models))
    means = samples.groupby(["reference", "group"])[["klom", "lira", "assigned"]].mean()
    means.columns = ["KLoM", "U-LiRA", "assigned"]
    scores = means.rename_axis(columns="metric").stack().rename("value").reset_index()
    none = 1 - means.assigned.groupby("group").sum()
    more = [("assigned", "none", g, value) for g, value in none.items()]
    more.append(("diverged-models", "", "all", float(asked - len(models))))
    for name, world in worlds.items():
        inside, outside = lira(models[:, rows["target"]], world[:, rows["target"]])
        if resolvable(outside, fpr):
            more.append(("U-LiRA-TPR", name, "target", tpr_at(inside, outside, fpr)))
    more = pd.DataFrame(more, columns=["metric", "reference", "group", "value"])
    return samples.reset_index(drop=True), pd.concat([scores, more], ignore_index=True)
