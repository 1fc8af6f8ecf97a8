"""A share of a method's work: passes over data that are cut so that several turns together take as many steps as one run.

A method reads its data by `Samples.batches`, one batch a step. In turn b of B a pass that would take n steps takes
floor(((p + 1) n + b) / B) - floor((p n + b) / B) of them, p the number of passes before it. After any number of passes the
turns together have then taken exactly as many steps as the run that was not cut, by Hermite's identity
floor(x) + floor(x + 1/B) + ... + floor(x + (B - 1)/B) = floor(B x); and no turn is more than a step ahead of another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from data_builders.task import Samples


def steps_of_pass(n: int, passes: int, turn: int, turns: int) -> int:
    """Of the n steps of a pass, how many are this turn's; passes: how many there were before."""
    return ((passes + 1) * n + turn) // turns - (passes * n + turn) // turns


@dataclass
class Tally:
    """What a turn was asked for, and took, relabelled copies included."""

    passes: int = 0
    steps: int = 0


class PartialPass:
    """Samples of which each pass is cut to one turn's steps; in all else they are the samples.

    whole: how many samples the run that is not cut goes over in a pass. Of a part of them a pass goes on, anew shuffled,
    until its steps are taken. Where turns is 1 and the samples are whole, the batches are those of the samples.
    """

    def __init__(self, samples: Samples, whole: int, turn: int, turns: int, tally: Tally | None = None):
        self.samples, self.share = samples, (whole, turn, turns)
        self.tally = tally or Tally()

    @property
    def __class__(self):
        """What asks for the kind of samples is told theirs."""
        return type(self.samples)

    def __getattr__(self, name: str):
        if name == "samples":  # while it is copied: there is nothing yet
            raise AttributeError(name)
        return getattr(self.samples, name)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index) -> Samples:
        return self.samples[index]

    def _of(self, samples: Samples) -> "PartialPass":
        return PartialPass(samples, *self.share, self.tally)

    def to(self, device) -> "PartialPass":
        return self._of(self.samples.to(device))

    def relabelled(self, y: Tensor) -> "PartialPass":
        return self._of(self.samples.relabelled(y))

    def batches(self, size: int, seed: int, *labels: object) -> Iterator[Samples]:
        """This turn's share of one shuffled pass; see Samples.batches."""
        whole, turn, turns = self.share
        left, lap = steps_of_pass(-(-whole // size), self.tally.passes, turn, turns), ()
        self.tally.passes += 1
        while left:
            for batch in self.samples.batches(size, seed, *labels, *lap):
                left -= 1
                self.tally.steps += 1
                yield batch
                if not left:
                    return
            lap = ("lap", left)
