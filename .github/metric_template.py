"""A metric to copy: `UNLEARNKIT_PLUGINS=my_metric.py unlearnkit list metrics` then lists it.

Rename file and function, and say what yours measures. CONTRIBUTING.md says what comes next.
"""

from unlearnkit.metrics import metric


@metric("my_metric", direction="gap", unit="probability", source="A. Author 2026, arXiv 0000.00000, section 3")
def my_metric(outputs, reference=None) -> dict[str, float]:
    """Mean probability of the label that a sample was trained on, on each group of samples.

    outputs: one model's logits on every sample of a task; `outputs.groups` are the roles (target, similar, test, ...), and
    `outputs.rows(group)` the places of one. direction: "lower" or "higher" where one is better, "gap" where only the
    distance to a reference's value says anything. Take log-probabilities from `outputs.losses`: they are stable where a
    probability rounds to 1.
    """
    return {group: (-outputs.losses[outputs.rows(group)]).exp().mean().item() for group in outputs.groups}
