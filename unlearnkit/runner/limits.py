"""The longest that a job may take: by default some hours, more on a machine that a short calibration finds slower."""

import time
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from unlearnkit.core.progress import duration
from unlearnkit.runner import job

HOURS = (
    4.0  # on a machine of slowness 1; the longest job of the profiles for two cores takes less than a quarter of that
)
REFERENCE = 0.025  # seconds that `slowness` takes on one idle core with AVX-512
LONGER = 10  # times the longest earlier job of the same notebook, if that is more


def slowness(repeats: int = 3) -> float:
    """How many times as long as the reference this machine takes for a fixed piece of work on one thread, as busy as it is.

    At least 1. The shortest of some repeats, a few tens of milliseconds each.
    """
    a = np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32)
    times = []
    with threadpool_limits(1):
        for _ in range(repeats):
            start = time.perf_counter()
            b = a
            for _ in range(5):
                b = np.tanh(a @ b * 0.05)
            times.append(time.perf_counter() - start)
    return max(1.0, min(times) / REFERENCE)


class Limits:
    """`limits(stem)`: seconds that a job of this notebook may take."""

    def __init__(self, minutes: float | None, slow: float):
        """minutes: given by the user, for all notebooks alike; slow: of the machine that runs the jobs."""
        self.given, self.slow = minutes, slow
        self.default = 60 * minutes if minutes else 3600 * HOURS * slow
        self._by_notebook: dict[str, float] = {}

    def __call__(self, stem: str) -> float:
        if self.given:
            return self.default
        if stem not in self._by_notebook:
            self._by_notebook[stem] = max([self.default, *(LONGER * s for s in job.wall_times(stem))])
        return self._by_notebook[stem]

    def said(self, stems: Sequence[str]) -> str:
        """The line that a person reads before the first job."""
        if self.given:
            return f"a job is stopped after {duration(self.default)}"
        longer = [f"{stem} {duration(self(stem))}" for stem in dict.fromkeys(stems) if self(stem) > self.default]
        reason = f"{HOURS:g} h, and this machine takes {self.slow:.1f} times as long as the one that is meant for"
        more = f"; by earlier ones: {', '.join(longer)}" if longer else ""
        return f"a job is stopped after {duration(self.default)} ({reason}{more}); --job-minutes says otherwise"
