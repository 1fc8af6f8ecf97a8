"""Partial passes: passes over data that are cut so that B batches of a sequence together take as many steps as one run.

A method reads its data by `Samples.batches`, one mini-batch a step. In batch b of B of the sequence, a pass of n steps
is cut to floor(((p + 1) n + b) / B) - floor((p n + b) / B) steps, where p is the number of passes before it. After any
number of passes all B batches together have taken exactly as many steps as the run that is not cut, by Hermite's
identity floor(x) + floor(x + 1/B) + ... + floor(x + (B - 1)/B) = floor(B x); and no batch is more than one step ahead
of another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from data_builders.task import Samples


def steps_of_pass(n: int, passes: int, part: int, parts: int) -> int:
    """How many of the n steps of a pass belong to batch `part` of `parts`; passes: how many there were before."""
    return ((passes + 1) * n + part) // parts - (passes * n + part) // parts


@dataclass
class Tally:
    """Passes asked for and steps taken, in partial passes over some samples and their relabelled copies."""

    passes: int = 0
    steps: int = 0


class PartialPass:
    """Samples of which each pass is cut to the steps of one batch of the sequence; everything else is the samples' own.

    whole: number of samples in a pass that is not cut. If there are fewer, the pass goes on, shuffled anew, until its
    steps are taken. With parts = 1 and all samples, the mini-batches are those of the samples.
    """

    def __init__(self, samples: Samples, whole: int, part: int, parts: int, tally: Tally | None = None):
        self.samples, self.share = samples, (whole, part, parts)
        self.tally = tally or Tally()

    def __getattr__(self, name: str):
        if name == "samples":  # while it is copied: there is nothing yet
            raise AttributeError(name)
        return getattr(self.samples, name)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index) -> Samples:
        return self.samples[index]

    def _cut(self, samples: Samples) -> "PartialPass":
        return PartialPass(samples, *self.share, self.tally)

    def to(self, device) -> "PartialPass":
        return self._cut(self.samples.to(device))

    def relabelled(self, y: Tensor) -> "PartialPass":
        return self._cut(self.samples.relabelled(y))

    def batches(self, size: int, seed: int, *labels: object) -> Iterator[Samples]:
        """The mini-batches of one partial pass; arguments as of Samples.batches."""
        whole, part, parts = self.share
        left, lap = steps_of_pass(-(-whole // size), self.tally.passes, part, parts), ()
        self.tally.passes += 1
        while left:
            for batch in self.samples.batches(size, seed, *labels, *lap):
                left -= 1
                self.tally.steps += 1
                yield batch
                if not left:
                    return
            lap = ("lap", left)
