"""Membership inference attacks, each fitted and evaluated on disjoint samples."""

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import DOMAINS, metric

MOST = 2000  # members, and as many non-members, that the confidence attack is fitted on at most; ours


def confidence_attack(outputs: Outputs) -> dict[str, float]:
    """Share of targets, near-duplicates and decoys that an SVC on the confidence in the label takes for non-members.

    Fitted on as many other retained samples (members) as test samples (non-members), MOST of each at most, drawn alike for
    all models of a task, so that it is evaluated on none that it is fitted on. The papers take all of the retain set for
    members; but `clean` was never trained on near-duplicates, and on the other retained samples every model is trained.
    """
    confidence = (-outputs.losses).exp().numpy()[:, None]
    members, outsiders = _balanced(outputs.rows("filler").numpy(), outputs.rows("test").numpy())
    y = np.repeat([1, 0], len(members))
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(confidence[np.concatenate([members, outsiders])], y)
    rows = {group: outputs.rows(group).numpy() for group in ("target", "similar", "decoy")}
    return {g: float((attack.predict(confidence[r]) == 0).mean()) for g, r in rows.items() if len(r)}


def entropy_attack(outputs: Outputs) -> float:
    """Share of targets whose modified entropy is above a threshold, and which therefore count as non-members.

    Each label has a threshold: the one that best separates other retained from test samples of that label, both sides
    weighted alike; where one side has no sample of the label, the threshold over all labels. No target is in either
    side, and no near-duplicate, since `clean` is trained on none.
    """
    value, labels = outputs.modified_entropy.numpy(), outputs.labels.numpy()
    members, outsiders, targets = (outputs.rows(g).numpy() for g in ("filler", "test", "target"))
    outside = np.empty(len(targets), dtype=bool)
    for label in np.unique(labels[targets]):
        inside, out = (rows[labels[rows] == label] for rows in (members, outsiders))
        if not len(inside) or not len(out):
            inside, out = members, outsiders
        same_label = labels[targets] == label
        outside[same_label] = value[targets[same_label]] > best_threshold(value[inside], value[out])
    return float(outside.mean())


def best_threshold(low: np.ndarray, high: np.ndarray) -> float:
    """The value t for which (share of `low` at most t + share of `high` above t) is largest; the least of several.

    It lies halfway between two of the given values. low, high: (n,), (m,), both with at least one.
    """
    values = np.unique(np.concatenate([low, high]))
    below = np.searchsorted(np.sort(low), values, side="right") / len(low)
    above = 1 - np.searchsorted(np.sort(high), values, side="right") / len(high)
    best = int(np.argmax(below + above))
    return float(values[best] + values[min(best + 1, len(values) - 1)]) / 2


def loss_attack(outputs: Outputs) -> float | None:
    """Cross-validated accuracy of logistic regression on the loss: targets against test samples of the same labels.

    The two sides are balanced. None with fewer than four on a side: too few to fit and test on.
    """
    losses = outputs.losses.numpy()
    targets, outsiders = _same_labels(outputs)
    if len(targets) < 4:
        return None
    x = np.log(np.maximum(losses[np.concatenate([targets, outsiders])], 1e-12))[:, None]
    y = np.repeat([1, 0], len(targets))
    x = (x - x.mean()) / (x.std() + 1e-12)
    folds = StratifiedKFold(min(5, len(targets)), shuffle=True, random_state=0).split(x, y)
    with config_context(assume_finite=True, skip_parameter_validation=True):  # half of the time, for so few samples
        hits = [LogisticRegression().fit(x[fit], y[fit]).score(x[held], y[held]) for fit, held in folds]
    return float(np.mean(hits))


def _balanced(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, rng = min(len(a), len(b), MOST), np.random.default_rng(0)
    return rng.permutation(a)[:n], rng.permutation(b)[:n]


def _same_labels(outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """As many targets as test samples, label by label."""
    rng, labels = np.random.default_rng(0), outputs.labels.numpy()
    targets, test = outputs.rows("target").numpy(), outputs.rows("test").numpy()
    pairs = [_take(rng, targets[labels[targets] == k], test[labels[test] == k]) for k in np.unique(labels[targets])]
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _take(rng, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = min(len(a), len(b))
    return rng.permutation(a)[:n], rng.permutation(b)[:n]


@metric(
    "MIA",
    direction="gap",
    unit="fraction",
    domains=DOMAINS,
    source="Jia et al. 2023, arXiv 2304.04934; Fan et al. 2024; members ours",
)
def mia_confidence(outputs: Outputs, reference=None) -> dict[str, float]:
    """Share that a confidence SVC takes for non-members: of the targets, about the test set's share after forgetting;
    of near-duplicates and decoys, which tell a target from a non-member with members close by."""
    return outputs.once(confidence_attack)


@metric("MIA-loss", direction="gap", unit="accuracy", source="NeurIPS 2023 unlearning challenge, starting kit")
def mia_loss(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy of telling targets from test samples of the same labels by their loss; 0.5 = indistinguishable."""
    accuracy = outputs.once(loss_attack)
    return {} if accuracy is None else {"target": accuracy}


@metric("MIA-mentr", direction="gap", unit="fraction", source="Song and Mittal 2021, arXiv 2003.10595")
def mia_modified_entropy(outputs: Outputs, reference=None) -> dict[str, float]:
    """Share of targets that thresholds on the modified entropy take for non-members; low if remembered."""
    return {"target": outputs.once(entropy_attack)}
