"""Metrics with the bugs of public code: each contract must fail on its mutants."""

import dataclasses

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from data_builders.task import unit
from unlearnkit.core.divergence import js, kl
from unlearnkit.core.registry import Entry
from unlearnkit.images.heads import logits_and_features
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.attacks import confidence_attack, entropy_attack
from unlearnkit.metrics.ensembles import BINS, EPS, histogram_kl


def first_rows_as_they_come(e, reference=None):
    return {"test": e.correct[:20].mean().item()}


def picks_a_class(e, reference=None):
    return {"test": e.log_probs[e.rows("test"), 0].mean().item()}


def sum_called_a_mean(e, reference=None):
    return {"test": e.losses[e.rows("test")].sum().item()}


def first_thousand(e, reference=None):
    return {g: e.correct[e.rows(g)[:1000]].mean().item() for g in e.groups}


def another_oracle(e, reference):
    """Against the reference under other noise."""
    noise = torch.randn(reference.logits.shape, generator=torch.Generator().manual_seed(0))
    other = dataclasses.replace(reference, logits=reference.logits + noise)
    return {"all": js(e.log_probs, other.log_probs).mean().item()}


def sign_flipped(e, reference):
    return {"all": -js(e.log_probs, reference.log_probs)[e.rows("test")].mean().item()}


def error_becomes_zero(e, reference=None):
    try:
        return {"target": accuracy(e, "target")}
    except Exception:
        return {"target": 0.0}


def min_k_rounded_up(e):
    words = [v[:-1] if len(v) > 1 else v for v in e.log_p.double().split(e.count.tolist())]
    return torch.stack([v.sort().values[: -(-len(v) // 5)].mean() for v in words])


def min_k_with_the_end_token(e):
    answers = e.log_p.double().split(e.count.tolist())
    return torch.stack([v.sort().values[: max(len(v) // 5, 1)].mean() for v in answers])


def no_score_of_the_reference(e, reference):
    return {} if e is reference else {"all": js(e.log_probs, reference.log_probs).mean().item()}


def mutant(function, direction="gap", references=()):
    return Entry("metric", function.__name__, function, {"direction": direction, "references": references, "best": 0.0})


BY_CONTRACT = {
    "order_of_samples": [mutant(first_rows_as_they_come)],
    "names_of_classes": [mutant(picks_a_class)],
    "doubled_samples": [mutant(sum_called_a_mean)],
    "every_sample_counts": [mutant(first_thousand)],
    "itself_is_perfect": [mutant(f, "lower", ("retrain",)) for f in (another_oracle, no_score_of_the_reference)],
    "direction_is_as_stated": [mutant(sign_flipped, "lower", ("retrain",))],
    "exceptions_come_through": [mutant(error_becomes_zero)],
}


def kl_swapped(log_p, log_q):
    return kl(log_q, log_p)


def kl_averaged(log_p, log_q):
    return kl(log_p, log_q) / log_p.shape[1]


def js_of_raw_sums(log_p, log_q):
    return kl(log_p, torch.logaddexp(log_p, log_q)) + kl(log_q, torch.logaddexp(log_p, log_q))


def js_unhalved(log_p, log_q):
    return 2 * js(log_p, log_q)


def jeffreys(log_p, log_q):
    return 0.5 * (kl(log_p, log_q) + kl(log_q, log_p))


def entropy_with_the_wrong_log(e):
    p = e.log_probs.exp()
    label = e.labels[:, None]
    of_label = (1 - p).gather(1, label) * e.log_probs.gather(1, label)
    return -(of_label.squeeze(1) + (p * e.log_probs).scatter(1, label, 0.0).sum(1))


def entropy_of_the_batch(e):
    p = e.log_probs.exp()
    reverse = p.clone()
    reverse[:, e.labels] = 1 - p[:, e.labels]
    logs = (1 - p).log()
    logs[:, e.labels] = e.log_probs[:, e.labels]
    return -(reverse * logs).sum(1)


def entropy_of_rounded_probabilities(e):
    p = e.logits.softmax(1).double()
    label = e.labels[:, None]
    logs = (1 - p).clamp(min=1e-12).log()
    of_label = (1 - p).gather(1, label) * p.clamp(min=1e-12).log().gather(1, label)
    return -(of_label.squeeze(1) + (p * logs).scatter(1, label, 0.0).sum(1))


def histogram_without_the_maximum(a, b):
    low, high = torch.cat([a, b]).amin(0), torch.cat([a, b]).amax(0)
    shares = []
    for v in (a, b):
        number = ((v - low) / (high - low) * BINS).long()
        counts = torch.stack([(number == k).double().sum(0) for k in range(BINS)])
        shares.append((counts / len(v) + EPS) / (1 + BINS * EPS))
    return (shares[0] * (shares[0] / shares[1]).log()).sum(0)


def histogram_swapped(a, b):
    return histogram_kl(b, a)


def zrf_unbounded(e, reference):
    return {"target": 1 - kl(e.log_probs, reference.log_probs).mean().item()}


def zrf_as_a_cosine(e, reference):
    return {"target": torch.cosine_similarity(e.log_probs.exp(), reference.log_probs.exp()).mean().item()}


def share_of_members(e):
    return 1 - confidence_attack(e)["target"]


def entropy_sign_flipped(e):
    return 1 - entropy_attack(e)


def fitted_on_the_targets(e):
    """The targets count as members in what it is fitted on, and are then scored."""
    members, outsiders = torch.cat([e.rows("target"), e.rows("retain")]), e.rows("test")
    x = e.losses.numpy()[:, None]
    y = np.repeat([1, 0], [len(members), len(outsiders)])
    attack = KNeighborsClassifier(1).fit(x[torch.cat([members, outsiders])], y)
    return float((attack.predict(x[e.rows("target")]) == 0).mean())


def scored_on_what_it_was_fitted_on(e):
    rows = torch.cat([e.rows("target"), e.rows("test")])
    x, y = e.losses.numpy()[rows][:, None], np.repeat([1, 0], len(rows) // 2)
    return float(KNeighborsClassifier(1).fit(x, y).score(x, y))


def fitted_on_all_test_samples(e):
    """Members are a few hundred, test samples thousands."""
    members, outsiders = e.rows("filler"), e.rows("test")
    y = np.repeat([1, 0], [len(members), len(outsiders)])
    confidence = (-e.losses).exp().numpy()[:, None]
    attack = SVC(C=3, gamma="auto").fit(confidence[torch.cat([members, outsiders])], y)
    return float((attack.predict(confidence[e.rows("target")]) == 0).mean())


def scored_on_all_test_samples(e):
    rows = torch.cat([e.rows("target"), e.rows("test")])
    x, y = e.losses.numpy()[rows][:, None], np.repeat([1, 0], [len(e.rows("target")), len(e.rows("test"))])
    return float(cross_val_score(LogisticRegression(), x, y).mean())


def constant_answer(e):
    return 0.5


def take_in_training_mode(model, task, *, features, batch_size, device):
    from unlearnkit.images.outputs import Outputs

    model.train()
    found = [logits_and_features(model, unit(x)) for x in task.x.split(batch_size)]
    logits, vectors = (torch.cat(v).detach() for v in zip(*found))
    return Outputs(logits, task.y, task.role, torch.arange(len(task.y)), features=vectors)
