"""What tuning minimises: the distance to retrain, with validation samples wherever reports have test samples.

Tasks of one arm: the average gap. Mixed tasks: residual influence where no near-duplicates stay, and what the model lost.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from data_builders.task import WithRoles, role_column
from unlearnkit import study
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, NonFiniteLoss
from unlearnkit.images.config import MIXED
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.gaps import average_gap
from unlearnkit.metrics.standardised import standardised
from unlearnkit.study.domains import domain, load_task

WORST = 1.0  # what a trial that diverged counts; no average of four differences between fractions is larger
WORST_MIXED = 10.0  # of a mixed task, whose distance has no upper end: doing nothing is about 1, ruined models 1 to 3
FILLER = 5000  # retained samples that a mixed task's accuracy is read from, at most
GOALS = {
    False: "mean |difference to retrain| over UA, RA, TA, MIA; TA and the attack's non-members: validation samples",
    True: "|influence - retrain's| / |original's - retrain's| on targets without near-duplicates whose labels are not "
    "guessed (canaries, memorised images, facts of texts), plus |difference to retrain| in RA and TA; TA: validation "
    "samples",
}


def goal(config) -> str:
    """What is minimised on a config, in words."""
    return GOALS[config.targets == MIXED]


def worst(config) -> float:
    """What a trial that diverged counts on a config."""
    return WORST_MIXED if config.targets == MIXED else WORST


def code(config) -> tuple[Callable, ...]:
    """The functions that a config's objective depends on."""
    if config.targets == MIXED:
        return mixed_task, mixed_distance, standardised, domain(config).validation_outputs
    return average_gap, domain(config).validation_outputs


def measure(config, device: str = "auto") -> Callable[[nn.Module], float]:
    """A function that gives a model's distance to the config's retrained one; it raises NonFiniteLoss for outputs that are
    not finite. Raises BadValue for a task without validation samples, and a mixed one without arms to tune by."""
    refs = study.references([config], ["original", "retrain"], device=device)[0]
    if config.targets != MIXED:
        outputs_of = validation_outputs(config, device)
        retrained = outputs_of(refs["retrain"].load())
        return lambda model: gap(outputs_of(model), retrained)
    task = mixed_task(load_task(config), domain(config).GUESSED)

    def on_task(model: nn.Module) -> Outputs:
        return finite(domain(config).validation_outputs(model, config, task, device))

    original, retrain = (on_task(refs[name].load()) for name in ("original", "retrain"))
    return lambda model: mixed_distance(task, on_task(model), original, retrain)


def validation_outputs(config, device: str = "auto") -> Callable[[nn.Module], Outputs]:
    """A function that gives a model's outputs on the config's task without its test samples.

    It raises NonFiniteLoss for outputs that are not finite: a method's last step may diverge without a loss to show it.
    """
    wing = domain(config)
    task = wing.without_test(wing.load_task(config))

    return lambda model: finite(wing.validation_outputs(model, config, task, device))


def finite(outputs: Outputs) -> Outputs:
    """The outputs as they are. Raises NonFiniteLoss if one is not finite."""
    if not outputs.losses.isfinite().all():
        raise NonFiniteLoss("the model's outputs are not finite: its last steps diverged")
    return outputs


def gap(outputs: Outputs, reference: Outputs) -> float:
    """Mean absolute difference to the reference, retrain, over UA, RA, TA and MIA, where TA's samples and the attack's
    non-members are the task's validation samples. Accuracy of texts is the share of an answer's tokens that are the
    likeliest."""
    return average_gap(outputs, reference)["all"]


def mixed_task(task: WithRoles, guessed: Sequence[str]):
    """The part of a mixed task that tuning looks at: targets of arms without near-duplicates, but for the kinds that are
    `guessed`, the decoys of these kinds, FILLER random fillers, and the validation samples in the role of test samples.
    Raises BadValue without such targets or without validation samples."""
    assert task.arm is not None
    arms = task.facts["arms"]
    able = torch.tensor([arm["targets"] not in guessed for arm in arms])
    bare = able & torch.tensor([arm["copies"] == 0 for arm in arms])
    targets, decoys, validation = task.index("target"), task.index("decoy"), task.index("validation")
    targets, decoys = targets[bare[task.arm[targets].long()]], decoys[able[task.arm[decoys].long()]]
    filler = task.index("filler")
    filler = filler[torch.randperm(len(filler), generator=generator(0, "tuning"))[:FILLER].sort().values]
    if not len(targets):
        kinds = f", and none that is {' or '.join(guessed)}" if guessed else ""
        raise BadValue(f"tuning takes targets without near-duplicates{kinds}: add an arm with copies 0")
    if not len(validation):
        raise BadValue("tuning needs validation samples, and the pool has none left: use a smaller train_size")
    parts = {"target": targets, "filler": filler, "decoy": decoys, "test": validation}
    rows, role = torch.cat(list(parts.values())), role_column((name, len(part)) for name, part in parts.items())
    return task.part(rows, role)


def mixed_distance(task: WithRoles, outputs: Outputs, original: Outputs, retrained: Outputs) -> float:
    """|I - I(retrain)| / |I(original) - I(retrain)|, with I the mean standardised familiarity of each kind of target,
    mean over the kinds, plus the absolute differences in RA and TA. task: of `mixed_task`."""
    assert task.arm is not None
    arms = task.facts["arms"]
    kinds = {
        row: arms[int(task.arm[row])]["targets"]
        for row in (*task.index("target").tolist(), *task.index("decoy").tolist())
    }
    distances = []
    for kind in sorted(set(kinds.values())):
        rows = torch.tensor([row for row, of in kinds.items() if of == kind])
        targets, decoys = (rows[torch.isin(rows, task.index(role))] for role in ("target", "decoy"))
        if len(targets):
            own, before, after = (
                standardised(o.familiarity[targets], o.familiarity[decoys]).mean()
                for o in (outputs, original, retrained)
            )
            distances.append(((own - after).abs() / (before - after).abs()).item())
    lost = sum(abs(accuracy(outputs, group) - accuracy(retrained, group)) for group in ("filler", "test"))
    return sum(distances) / len(distances) + lost
