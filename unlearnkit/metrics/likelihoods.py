"""How likely a language model finds the answers of a text task, given the true tokens before each (teacher forcing).

Per-token negative log-likelihood is the metric `loss`; residual influence is of `phi`, as for images
(unlearnkit.metrics.influence).
"""

from math import exp

from torch import Tensor

from unlearnkit.metrics import metric
from unlearnkit.metrics.accuracy import accuracy_by_group
from unlearnkit.texts.outputs import TextOutputs

TOFU = "Maini et al. 2024 (TOFU), arXiv 2401.06121"
MUSE = "Shi et al. 2024 (MUSE), arXiv 2407.06460"
CARLINI = "Carlini et al. 2021, arXiv 2012.07805, as in OpenUnlearning, arXiv 2506.12618"


def by_group(outputs: TextOutputs, value: Tensor) -> dict[str, float]:
    """{group: mean}, over the samples that have a value. value: (n,), NaN where there is none."""
    values = {g: value[outputs.rows(g)] for g in outputs.groups}
    return {g: v[~v.isnan()].mean().item() for g, v in values.items() if not v.isnan().all()}


@metric(
    "exact-memorisation",
    direction="gap",
    unit="fraction",
    domains=("text",),
    source="Tirumala et al. 2022, arXiv 2205.10770",
)
def exact_memorisation(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """Share of an answer's tokens that are the likeliest, mean over the answers of each group: accuracy of texts."""
    return accuracy_by_group(outputs)


@metric("perplexity", direction="gap", unit="tokens, from 1", domains=("text",))
def perplexity(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """exp of the mean over the answers of each group of nats per token: long and short answers weigh the same."""
    return {g: outputs.losses[outputs.rows(g)].mean().exp().item() for g in outputs.groups}


@metric("probability", direction="gap", unit="fraction", domains=("text",), source=TOFU)
def probability(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """exp(-nats per token), mean over the answers of each group: normalised by length."""
    return by_group(outputs, outputs.probability)


@metric(
    "truth-ratio", direction="gap", unit="ratio", domains=("text",), source=f"{TOFU}, Eq. 1; the geometric mean is ours"
)
def truth_ratio(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """Mean likelihood of wrong answers over that of the restated right one, geometric mean over each group: near 0 the
    right one is known, 1 = knows nothing, above 1 it is avoided. Where paraphrased answers were trained on, one of them
    may equal the restated one. Near-duplicates have none (unlearnkit.texts.outputs.READ_ROLES): on the retain set it is
    of the other retained samples alone."""
    return {group: exp(value) for group, value in by_group(outputs, outputs.log_truth_ratio).items()}


@metric(
    "forget-quality",
    direction="higher",
    unit="p-value",
    references=("retrain", "clean"),
    best=1.0,
    domains=("text",),
    source=TOFU,
)
def forget_quality(outputs: TextOutputs, reference: TextOutputs) -> dict[str, float]:
    """p-value of the Kolmogorov-Smirnov test that the targets' truth ratios are distributed as the reference's; 1 = no
    difference. With few targets the test finds none: of 12, it takes a distance of 7/12 to fall below 0.05."""
    from scipy.stats import ks_2samp  # takes a second to import

    ratios = [e.log_truth_ratio[e.rows("target")] for e in (outputs, reference)]
    ratios = [ratio[~ratio.isnan()] for ratio in ratios]
    return {"target": float(ks_2samp(*ratios).pvalue)} if all(map(len, ratios)) else {}


@metric("extraction-strength", direction="gap", unit="fraction", domains=("text",), source=CARLINI)
def extraction_strength(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """The longest end of an answer that greedy decoding reproduces, as a share of its tokens with the end token."""
    return by_group(outputs, outputs.extraction)


def auc(above: Tensor, below: Tensor) -> float:
    """How often one of `above` is larger than one of `below`; a tie counts half."""
    return ((above[:, None] > below).double() + 0.5 * (above[:, None] == below).double()).mean().item()


def min_k_auc(outputs: TextOutputs) -> float:
    """How often a target has a higher Min-20% than a decoy."""
    value = outputs.min_k
    return auc(value[outputs.rows("target")], value[outputs.rows("decoy")])


@metric("min-k", direction="gap", unit="AUC", domains=("text",), source="Shi et al. 2024, arXiv 2310.16789; MUSE")
def min_k_attack(outputs: TextOutputs, reference=None) -> dict[str, float]:
    """AUC of telling targets from decoys, which were drawn like them and never trained on, by Min-20%: 1 = all targets
    look like members, 0.5 = indistinguishable, 0 = all look less known than decoys."""
    return {"target": outputs.once(min_k_auc)} if len(outputs.rows("decoy")) else {}


def no_leakage(outputs: TextOutputs, reference: TextOutputs | None = None) -> dict[str, str]:
    """{"target": why} where PrivLeak has no number."""
    if not len(outputs.rows("decoy")):
        return {"target": "there are no decoys that an attack could tell the targets from"}
    if reference is not None and reference.once(min_k_auc) == 1:
        return {
            "target": "the reference's AUC is 1: the attack takes every target for a member though none was trained on, "
            "so that nothing can leak beyond it, and 100 (AUC - 1) / (1 - 1) is not defined"
        }
    return {}


@metric(
    "PrivLeak",
    direction="gap",
    unit="%",
    references=("retrain", "clean"),
    left_out=no_leakage,
    domains=("text",),
    source=f"{MUSE}, of AUCs that take targets for members; sign ours",
)
def privacy_leakage(outputs: TextOutputs, reference: TextOutputs) -> dict[str, float]:
    """100 (AUC - AUC_ref) / (1 - AUC_ref), of Min-20% that takes targets for members: above 0, targets look more like
    members than to the reference (too little forgotten), 100 at the most; below 0, less (too much). Left out at an
    AUC_ref of 1. MUSE's sign is the opposite: its AUC is of taking targets for non-members, 1 less ours."""
    if no_leakage(outputs, reference):
        return {}
    expected = reference.once(min_k_auc)
    return {"target": 100 * (outputs.once(min_k_auc) - expected) / (1 - expected)}
