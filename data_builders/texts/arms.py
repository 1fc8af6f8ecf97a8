"""Arms of a mixed text task: as those of images, with paraphrases in place of perturbed images."""

from dataclasses import dataclass
from typing import ClassVar, get_args

from data_builders.arms import Arm
from data_builders.texts.sides import Side
from unlearnkit.core.errors import BadValue, unknown

PARAPHRASE = "paraphrase of "  # and the side
PERTURBATIONS = tuple(f"{PARAPHRASE}{side}" for side in get_args(Side))


@dataclass(frozen=True)
class TextArm(Arm):
    """Some targets of a mixed text task. perturbation: "paraphrase of " and a side (data_builders.texts.sides); strength:
    how far a paraphrase is from its pair, from 0 to 1, where the data set's rewriter can choose.

    targets: "random" (with their own answers; P1), "canary" (with a wrong answer, which their paraphrases share). copies_of
    "other pairs" is the control: as many paraphrases, each of another pair about somebody else, with its own answer. Raises
    BadValue and UnknownName as Arm.
    """

    perturbation: str = f"{PARAPHRASE}both"
    strength: float = 0.5

    KINDS: ClassVar[tuple[str, ...]] = ("random", "canary")
    SOURCES: ClassVar[tuple[str, ...]] = ("target", "other pairs")

    @property
    def side(self) -> str:
        """What is paraphrased."""
        return self.perturbation.removeprefix(PARAPHRASE)

    def _check_perturbation(self) -> None:
        if self.perturbation not in PERTURBATIONS:
            raise unknown("arm: perturbation of texts", self.perturbation, PERTURBATIONS)
        if not 0 <= self.strength <= 1:
            raise BadValue(f"arm: strength is how far a paraphrase is from its pair, from 0 to 1, got {self.strength}")
        if self.similarity_level or self.perturbation_options:
            raise BadValue("arm: paraphrases have a strength, but no similarity level and no options")
