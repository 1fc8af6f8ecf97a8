"""Membership inference attacks, each fitted and evaluated on disjoint samples."""

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from unlearnkit.evidence import Evidence
from unlearnkit.metrics import metric


def confidence_attack(evidence: Evidence) -> float:
    """Share of targets that an SVC on the confidence in the label takes for non-members.

    Fitted on as many retain (member) as test (non-member) samples. The targets are in neither, so what it is
    evaluated on is disjoint from what it is fitted on.
    """
    confidence = (-evidence.losses).exp().numpy()
    members, outsiders = _balanced(evidence.rows("retain").numpy(), evidence.rows("test").numpy())
    x = confidence[np.concatenate([members, outsiders])][:, None]
    y = np.repeat([1, 0], len(members))
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, y)
    return float((attack.predict(confidence[evidence.rows("target").numpy()][:, None]) == 0).mean())


def loss_attack(evidence: Evidence) -> float | None:
    """Cross-validated accuracy of logistic regression on the loss: targets against test samples of the same labels.

    The two sides are balanced. None with fewer than four on a side: too few to fit and test on.
    """
    losses = evidence.losses.numpy()
    targets, outsiders = _same_labels(evidence)
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
    n, rng = min(len(a), len(b)), np.random.default_rng(0)
    return rng.permutation(a)[:n], rng.permutation(b)[:n]


def _same_labels(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """As many targets as test samples, label by label."""
    rng, labels = np.random.default_rng(0), evidence.labels.numpy()
    targets, test = evidence.rows("target").numpy(), evidence.rows("test").numpy()
    pairs = [_take(rng, targets[labels[targets] == k], test[labels[test] == k]) for k in np.unique(labels[targets])]
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _take(rng, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = min(len(a), len(b))
    return rng.permutation(a)[:n], rng.permutation(b)[:n]


@metric("MIA", direction="gap", unit="fraction", source="Jia et al. 2023, arXiv 2304.04934; Fan et al. 2024")
def mia_confidence(evidence: Evidence, reference=None) -> dict[str, float]:
    """Share of targets that a confidence SVC takes for non-members; about the test set's share after forgetting."""
    return {"target": evidence.once(confidence_attack)}


@metric("MIA-loss", direction="gap", unit="accuracy", source="NeurIPS 2023 unlearning challenge, starting kit")
def mia_loss(evidence: Evidence, reference=None) -> dict[str, float]:
    """Accuracy of telling targets from test samples of the same labels by their loss; 0.5 = indistinguishable."""
    found = evidence.once(loss_attack)
    return {} if found is None else {"target": found}
