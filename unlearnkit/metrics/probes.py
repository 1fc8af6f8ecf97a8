"""Simple learners on the features: a new linear head, nearest neighbours, clusters.

Labels are those that the models were trained on. Probes learn from the retain set. Where it lacks a class of the
targets, as when whole classes are forgotten, they learn from the targets too, since they can only name classes that
they were shown; the targets then have no score, and the group to read is "unseen": test samples of the targets' labels.
Of groups of more than MOST samples, to learn from or to cluster, MOST are drawn, the same for all models of a task.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits
from torch import Tensor

from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import metric
from unlearnkit.metrics.subsample import drawn

RESTARTS = 10
PER_CLUSTER = 5  # samples for each cluster, at least: with one or two, clusters are noise; ours
CLUSTERED = ("target", "test", "held-out")
MOST = 2000  # samples that a probe learns from, or that are clustered; ours
ONE_CLASS = (
    "all samples are of one class: their labels have no entropy for clusters to explain, so NMI is 0 / 0 and not "
    "defined; pairwise F1 is"
)
DECAY = 1e-3  # weight of |w|^2 / 2 beside the mean cross-entropy; ours
TOLERANCE = 1e-6  # of the largest gradient at which the probe's head is taken for fitted
ITERATIONS = 10_000  # at most


def split(outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
    """Row numbers that probes learn from, and those of each group that they are scored on (see the module)."""
    labels, retain, target, test = outputs.labels, *(outputs.rows(g) for g in ("retain", "target", "test"))
    unseen = test[torch.isin(labels[test], labels[target])]
    if not len(unseen):  # whole classes are forgotten: their test images are the decoys
        unseen = outputs.rows("decoy")
    groups = {"target": target, "test": test, "unseen": unseen}
    if not torch.isin(labels[target], labels[retain]).all():
        retain = torch.cat([retain, groups.pop("target")])
    return retain, {group: rows for group, rows in groups.items() if len(rows)}


def held_out(outputs: Outputs) -> Tensor:
    """Row numbers of samples of all classes that no model was trained on: the test samples and, where these lack classes
    of the targets since whole classes are forgotten, the decoys, which are the test images of these."""
    test, labels = outputs.rows("test"), outputs.labels
    if torch.isin(labels[outputs.rows("target")], labels[test]).all():
        return test
    return torch.cat([test, outputs.rows("decoy")])


def not_probed(outputs: Outputs, reference=None) -> dict[str, str]:
    """{group: why} of the groups without a score."""
    why = "probes learn from the targets, since no retained sample is of their class: read the group unseen"
    return {} if "target" in split(outputs)[1] else {"target": why}


def fitted_head(x: np.ndarray, y: np.ndarray, tolerance: float = TOLERANCE) -> LogisticRegression:
    """Multinomial logistic regression: mean cross-entropy plus DECAY |w|^2 / 2, iterated until no gradient is above
    `tolerance`. The problem is convex, so that the head is a property of the features and not of the solver.

    x: (n, width); y: (n,), two labels or more. Raises BadValue if it is not fitted after ITERATIONS.
    """
    head = LogisticRegression(C=1 / (DECAY * len(y)), tol=tolerance, max_iter=ITERATIONS)
    with threadpool_limits(torch.get_num_threads()):
        head.fit(x, y)
    if head.n_iter_.max() >= ITERATIONS:
        raise BadValue(f"the linear probe is not fitted after {ITERATIONS} iterations: are its features finite?")
    return head


def probe_hits(outputs: Outputs) -> dict[str, float]:
    """Accuracy on each group of a `fitted_head` on standardised features. Empty if the samples to learn from are of one
    class."""
    learn, groups = split(outputs)
    learn, y = drawn(learn, MOST, "probe"), outputs.labels.numpy()
    if len(np.unique(y[learn])) < 2:
        return {}
    shown = outputs.features[learn].double().numpy()
    mean, spread = shown.mean(0), shown.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    head = fitted_head((shown - mean) / spread, y[learn])
    with threadpool_limits(torch.get_num_threads()):
        return {
            group: float(head.score((outputs.features[rows].double().numpy() - mean) / spread, y[rows]))
            for group, rows in groups.items()
        }


@metric(
    "LP",
    direction="gap",
    unit="fraction",
    needs=("features",),
    left_out=not_probed,
    source="Seo et al. 2025 (MUDA), arXiv 2407.17710",
)
def linear_probe(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy of a new linear head on the frozen features: what they tell, whatever the model's own head does."""
    return outputs.once(probe_hits)


def nearest_labels(bank: Tensor, labels: Tensor, queries: Tensor, k: int = 5) -> Tensor:
    """The most frequent label of the k rows of `bank` of largest cosine, (queries,); in a tie, the nearest one's.

    bank: (n, width); labels: (n,); queries: (m, width). Raises NotApplicable if the bank has fewer than k rows.
    """
    if len(bank) < k:
        raise NotApplicable(f"{k} neighbours asked for among {len(bank)} samples")
    classes, labels = labels.unique(return_inverse=True)
    bank = torch.nn.functional.normalize(bank.float())
    votes = 1 + 0.25 * 0.5 ** torch.arange(k, dtype=torch.float64)  # the nearest vote breaks ties and no more
    winners = []
    for part in torch.nn.functional.normalize(queries.float()).split(1024):
        near = labels[(part @ bank.T).topk(k).indices]
        tally = torch.zeros(len(part), len(classes), dtype=torch.float64)
        winners.append(classes[tally.scatter_add_(1, near, votes.expand(len(part), k)).argmax(1)])
    return torch.cat(winners) if winners else labels[:0]


@metric(
    "k-NN",
    direction="gap",
    unit="fraction",
    needs=("features",),
    left_out=not_probed,
    source="ours; as in Wu et al. 2018, unweighted",
)
def nearest_neighbours(outputs: Outputs, reference=None) -> dict[str, float]:
    """Accuracy of the vote of the 5 nearest samples by cosine of the features."""
    learn, groups = split(outputs)
    learn = drawn(learn, MOST, "probe")
    if len(learn) < 5:
        return {}
    v, y = outputs.features, outputs.labels
    return {
        group: (nearest_labels(v[learn], y[learn], v[rows]) == y[rows]).double().mean().item()
        for group, rows in groups.items()
    }


def clusters(features: Tensor, k: int) -> np.ndarray:
    """Cluster number of each sample, (n,): k-means from k-means++, the best of RESTARTS starts, seed 0.

    features: (n, width). With fewer than k distinct samples there are as many clusters as these. Raises NotApplicable
    for fewer samples than clusters.
    """
    if len(features) < k:
        raise NotApplicable(f"{k} clusters asked for among {len(features)} samples")
    x = features.numpy()
    n_distinct = len(np.unique(x, axis=0))
    with threadpool_limits(torch.get_num_threads()):
        return KMeans(min(k, n_distinct), init="k-means++", n_init=RESTARTS, random_state=0).fit(x).labels_


def _clustered(outputs: Outputs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and cluster numbers of the groups CLUSTERED, where there are enough samples."""
    k, rows, few = outputs.logits.shape[1], _to_cluster(outputs), too_few(outputs)
    found = {
        g: (outputs.labels[r].numpy(), clusters(outputs.features[r], k))
        for g, r in rows.items()
        if g not in few and not (g == "held-out" and torch.equal(r, rows["test"]))
    }
    return found | {"held-out": found["test"]} if "test" in found and "held-out" not in found else found


def _to_cluster(outputs: Outputs) -> dict[str, Tensor]:
    rows = {"target": outputs.rows("target"), "test": outputs.rows("test"), "held-out": held_out(outputs)}
    return {group: drawn(rows[group], MOST, "clusters") for group in CLUSTERED}


def too_few(outputs: Outputs, reference=None) -> dict[str, str]:
    """{group: why} for the groups that are too small for clusters."""
    k, n = outputs.logits.shape[1], {g: len(rows) for g, rows in _to_cluster(outputs).items()}
    why = "{} samples for {} clusters: with fewer than {} for each, clusters are noise"
    return {g: why.format(size, k, PER_CLUSTER) for g, size in n.items() if size < PER_CLUSTER * k}


def one_class(outputs: Outputs, reference=None) -> dict[str, str]:
    """`too_few`, and {group: why} for the groups that are of one class."""
    single = [g for g, rows in _to_cluster(outputs).items() if len(outputs.labels[rows].unique()) == 1]
    return dict.fromkeys(single, ONE_CLASS) | too_few(outputs)


def mutual_information(labels: np.ndarray, cluster: np.ndarray) -> float:
    """Mutual information of labels and cluster numbers, each (n,), over the mean of their entropies, in [0, 1].

    Raises NotApplicable if all labels are the same: they hold no information to share.
    """
    if len(np.unique(labels)) < 2:
        raise NotApplicable(ONE_CLASS)
    return float(normalized_mutual_info_score(labels, cluster))


def pairwise_f1(labels: np.ndarray, cluster: np.ndarray) -> float:
    """F1 of "two samples are in one cluster" as a prediction of "they are of one class", over all pairs, in [0, 1].

    labels, cluster: (n,). Raises NotApplicable if no two samples are of one class.
    """
    table = contingency_matrix(labels, cluster).astype(np.int64)
    pairs = lambda counts: (counts * (counts - 1) // 2).sum()  # noqa: E731
    both, same_class, same_cluster = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    if not same_class:
        raise NotApplicable("no two samples are of one class: there is no pair to find")
    return float(2 * both / (same_class + same_cluster))


@metric(
    "NMI",
    direction="gap",
    unit="fraction",
    needs=("features",),
    left_out=one_class,
    source="Seo et al. 2025 (MUDA), arXiv 2407.17710",
)
def nmi(outputs: Outputs, reference=None) -> dict[str, float]:
    """Normalised mutual information of labels and k-means clusters of the features, as many as classes; of targets, test
    samples and `held_out` ones, among which all classes are. Left out for targets of one class, where it is not defined, or
    fewer than 5 for each class."""
    clustered, undefined = outputs.once(_clustered), one_class(outputs)
    return {g: mutual_information(*pair) for g, pair in clustered.items() if g not in undefined}


@metric(
    "F1",
    direction="gap",
    unit="fraction",
    needs=("features",),
    left_out=too_few,
    source="Seo et al. 2025 (MUDA), arXiv 2407.17710",
)
def clustering_f1(outputs: Outputs, reference=None) -> dict[str, float]:
    """Pairwise F1 of k-means clusters of the features, as many as classes, against labels; of the groups of NMI.
    Left out for targets fewer than 5 for each class."""
    return {g: pairwise_f1(*pair) for g, pair in outputs.once(_clustered).items()}
