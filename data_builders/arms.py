"""Arms of a task: each is a group of targets with a kind, a number of near-duplicates and a similarity of its own.

One training set holds all arms of a mixed task, so that one model carries a whole dose-response.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_type_hints

from data_builders.perturbations import perturbations
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.registry import check_type

Kind = Literal["random", "memorised", "canary"]


@dataclass(frozen=True)
class Arm:
    """Some targets of a mixed task. Raises BadValue for a value of the wrong type or out of range, UnknownName for an
    unknown kind or perturbation.

    targets: "random" (true labels; P1), "memorised" (true labels; what models get right only if they were trained on
    it), "canary" (a random wrong label). copies_of "other images" is the control: as many near-duplicates, not of the
    target but of other images of its class, each of another one, under the target's label.
    """

    targets: Kind
    n_targets: int = 10
    copies: int = 0  # near-duplicates per target that stay in training
    perturbation: str = "block_mask"
    strength: float = 0.3
    similarity_level: str = ""  # a measured similarity in place of strength, "ssim~0.5"
    perturbation_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    copies_of: str = "target"

    KINDS: ClassVar[tuple[str, ...]] = get_args(Kind)
    SOURCES: ClassVar[tuple[str, ...]] = ("target", "other images")

    def __post_init__(self):
        text = {"perturbation_options": dict, "targets": str, "copies_of": str}
        for name, hint in ({f.name: get_type_hints(Arm)[f.name] for f in fields(self)} | text).items():
            check_type(f"arm: {name!r}", getattr(self, name), hint)
        for name, known in (("targets", self.KINDS), ("copies_of", self.SOURCES)):
            if (value := getattr(self, name)) not in known:
                raise unknown(f"arm: {name}", value, known)
        if self.n_targets < 1 or self.copies < 0:
            raise BadValue(f"arm: at least 1 target and 0 copies are needed, got {self.n_targets} and {self.copies}")
        self._check_perturbation()
        if not self.copies:  # what has no meaning then is the same in all
            object.__setattr__(self, "perturbation", type(self).perturbation)
            object.__setattr__(self, "perturbation_options", {})
            object.__setattr__(self, "similarity_level", "")
        object.__setattr__(self, "strength", float(self.strength) if self.copies and not self.similarity_level else 0.0)

    def _check_perturbation(self) -> None:
        if perturbations[self.perturbation].info["natural"]:
            raise BadValue(f"arm: {self.perturbation} finds near-duplicates, an arm takes one that makes them")

    @property
    def name(self) -> str:
        """What tables call it beside its other columns: "" or the control that it is."""
        return arm_columns(self.as_dict())["control"]

    def columns(self) -> dict:
        """The columns that name this arm in a table."""
        return arm_columns(self.as_dict())

    def as_dict(self) -> dict:
        return asdict(self)


AnyArm = TypeVar("AnyArm", bound=Arm)


def arm_columns(arm: Mapping) -> dict:
    """The columns that name an arm in a table, from its values as plain ones, whether of images or of texts. Options of a
    perturbation are part of its name there: "block_mask(block=4)"."""
    columns = {name: arm[name] for name in ("targets", "copies", "perturbation", "strength", "similarity_level")}
    if arm["copies"] and (options := arm["perturbation_options"]):
        columns["perturbation"] += f"({', '.join(f'{name}={value}' for name, value in options.items())})"
    control = arm["copies"] and arm["copies_of"] != "target"
    return columns | {"control": f"copies of {arm['copies_of']}" if control else ""}


def by_arm(arms: Sequence[Arm]) -> Iterator[tuple[int, Arm, slice]]:
    """(place in the list, arm, its part of all targets of its kind) of each arm."""
    start = dict.fromkeys((arm.targets for arm in arms), 0)
    for i, arm in enumerate(arms):
        part = slice(start[arm.targets], start[arm.targets] + arm.n_targets)
        start[arm.targets] = part.stop
        yield i, arm, part


def mixed_sizes(arms: Sequence[Arm], train_size: int, left: int, pool: int, larger: str) -> tuple[int, int]:
    """(fillers, near-duplicates) of a mixed task, as many of the latter as samples to refill `clean`.

    left: samples of the pool that are neither targets nor decoys nor set aside; pool: how many it has; larger: what to
    use instead, in words. Raises BadValue, with a way out, for a training set without filler and for a pool without
    enough of them.
    """
    n_targets, n_similar = sum(arm.n_targets for arm in arms), sum(arm.n_targets * arm.copies for arm in arms)
    n_filler = train_size - n_targets - n_similar
    if n_filler < 1:
        raise BadValue(
            f"train_size={train_size} leaves no filler beside {n_targets} targets and {n_similar} near-duplicates: use "
            "fewer targets or copies per arm, or a larger train_size"
        )
    return enough(train_size, n_filler, n_similar, left, pool, larger), n_similar


def enough(train_size: int, n_filler: int, n_similar: int, left: int, pool: int, larger: str) -> int:
    """n_filler, if so many samples are left, and as many as there are near-duplicates; see `mixed_sizes`, also for what it
    raises."""
    if left < n_filler + n_similar:
        raise BadValue(
            f"train_size={train_size} needs {n_filler} fillers, and as many samples as there are near-duplicates, "
            f"{n_similar}, to refill `clean`; {left} are left in the pool of {pool}: use a train_size of at most "
            f"{train_size - (n_filler + n_similar - left)}, or {larger}"
        )
    return n_filler


def parse_arms(
    arms: Sequence[Mapping | AnyArm],
    arm_type: type[AnyArm] = Arm,  # type: ignore[assignment]
) -> list[AnyArm]:
    """Arms from plain values, as a grid or a notebook has them: any value may be a list, which stands for one arm each.

    arm_type: Arm, or data_builders.texts.arms.TextArm. Raises BadValue without arms, for two equal ones and for what an arm
    cannot have, UnknownName for a name that it does not have.
    """
    known = [f.name for f in fields(Arm)]
    parsed: list[AnyArm] = []
    for given in arms:
        if isinstance(given, Arm):
            parsed.append(given)
            continue
        if not isinstance(given, Mapping):
            raise BadValue(f"an arm is given by its values, {{targets: canary, copies: 5}}, not as {given!r}")
        for name in given:
            if name not in known:
                raise unknown("value of an arm", str(name), known)
        if "targets" not in given:
            raise BadValue(f"an arm needs its kind of targets, one of {', '.join(arm_type.KINDS)}: {dict(given)}")
        parsed += [arm_type(**values) for values in _each(dict(given))]
    if not parsed:
        raise BadValue("a mixed task needs at least one arm")
    keys = [str(arm.columns()) for arm in parsed]
    if twice := next((k for k in keys if keys.count(k) > 1), None):
        raise BadValue(f"two arms are the same, so that their targets could not be told apart: {twice}")
    return parsed


def _each(values: dict) -> list[dict]:
    """One dict per combination of the listed values."""
    for name, value in values.items():
        if isinstance(value, list | tuple):
            return [one for v in value for one in _each(values | {name: v})]
    return [values]
