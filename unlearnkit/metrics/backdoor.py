"""Whether a backdoor still works."""

from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import metric
from unlearnkit.metrics.accuracy import accuracy


@metric(
    "ASR",
    direction="gap",
    unit="fraction",
    needs=("backdoor",),
    source="Gu et al. 2017 (BadNets), arXiv 1708.06733; images of the attack's own class are none of these",
)
def attack_success(outputs: Outputs, reference=None) -> dict[str, float]:
    """Share of images with the trigger that get the attack's class: of decoys, which no model was trained on, and of
    the targets. A model that never saw the trigger has the share that it confuses with that class anyway."""
    return {group: accuracy(outputs, group) for group in ("decoy", "target")}
