"""The lines of a batch that a person watches."""

import sys
import time
from collections import Counter
from collections.abc import Sequence

from unlearnkit.core.progress import duration
from unlearnkit.runner.grid import Job
from unlearnkit.runner.job import Outcome


class Board:
    """A line per job and the time left; at the end every failure in full, and what is left."""

    def __init__(self, jobs: Sequence[Job], outcomes: dict):
        self.jobs, self.outcomes, self.start = jobs, outcomes, time.monotonic()
        self.cached = len(outcomes)
        self.count = Counter(outcome.state for outcome in outcomes.values())

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def line(self, j: Job, outcome: Outcome) -> None:
        self.count[outcome.state] += 1
        done, total = len(self.outcomes), len(self.jobs)
        left = self.seconds() / max(done - self.cached, 1) * (total - done)
        tail = f"about {duration(left)} left" if done < total else f"in {duration(self.seconds())}"
        print(
            f"[{done}/{total}] {outcome.state} {j.label} ({outcome.seconds:.0f} s) | {self._counts()}, {tail}",
            flush=True,
        )

    def summary(self) -> None:
        for j in self.jobs:
            if j.key in self.outcomes and self.outcomes[j.key].state == "failed":
                print(f"\nFAILED {j.label}\n{self.outcomes[j.key].error}", file=sys.stderr)
        print(f"{len(self.jobs)} jobs: {self._counts()} in {duration(self.seconds())}", flush=True)
        left = Counter(j.notebook.stem for j in self.jobs if j.key not in self.outcomes)
        if left:
            names = ", ".join(f"{n} of {stem}" for stem, n in left.items())
            print(f"{left.total()} jobs are left ({names}): the same command goes on with them", flush=True)

    def _counts(self) -> str:
        return ", ".join(f"{state} {self.count[state]}" for state in ("ran", "cached", "failed"))
