"""Arms of a task: each is a group of targets with a kind, a number of near-duplicates and a similarity of its own.

One training set holds all arms of a mixed task, so that one model carries a whole dose-response.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from data_builders.perturbations import perturbations
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.core.registry import check_type

Kind = Literal["random", "memorised", "canary"]
CopiesOf = Literal["target", "other images"]


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
    copies_of: CopiesOf = "target"

    def __post_init__(self):
        for name, hint in (
            get_type_hints(Arm) | {"perturbation_options": dict, "targets": str, "copies_of": str}
        ).items():
            check_type(f"arm: {name!r}", getattr(self, name), hint)
        for name, known in (("targets", Kind), ("copies_of", CopiesOf)):
            if (value := getattr(self, name)) not in get_args(known):
                raise unknown(f"arm: {name}", value, get_args(known))
        if self.n_targets < 1 or self.copies < 0:
            raise BadValue(f"arm: at least 1 target and 0 copies are needed, got {self.n_targets} and {self.copies}")
        if perturbations[self.perturbation].info["natural"]:
            raise BadValue(f"arm: {self.perturbation} finds near-duplicates, an arm takes one that makes them")
        given = self.copies and not self.similarity_level
        object.__setattr__(self, "strength", float(self.strength) if given else 0.0)
        object.__setattr__(self, "similarity_level", self.similarity_level if self.copies else "")

    @property
    def name(self) -> str:
        """What tables call it beside its other columns: "" or the control that it is."""
        return "" if self.copies_of == "target" or not self.copies else f"copies of {self.copies_of}"

    def columns(self) -> dict:
        """The columns that name this arm in a table."""
        perturbation = self.perturbation if self.copies else "block_mask"
        return {
            "targets": self.targets,
            "copies": self.copies,
            "perturbation": perturbation,
            "strength": self.strength,
            "similarity_level": self.similarity_level,
            "control": self.name,
        }

    def as_dict(self) -> dict:
        return asdict(self)


def parse_arms(arms: Sequence[Mapping | Arm]) -> list[Arm]:
    """Arms from plain values, as a grid or a notebook has them: any value may be a list, which stands for one arm each.

    Raises BadValue without arms, for two equal ones and for what an arm cannot have, UnknownName for a name that it does
    not have.
    """
    known = [f.name for f in fields(Arm)]
    parsed: list[Arm] = []
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
            raise BadValue(f"an arm needs its kind of targets, one of {', '.join(get_args(Kind))}: {dict(given)}")
        parsed += [Arm(**values) for values in _each(dict(given))]
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
