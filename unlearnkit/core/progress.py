"""Progress of long work, and the time left: one line that rewrites itself, in notebooks and on terminals.

An executed notebook keeps the last state only, not hundreds of lines.
"""

import sys
import time


class Progress:
    """`with Progress("train", 20) as bar: bar.step()`. Silent for less than half a second of work."""

    def __init__(self, label: str, total: int):
        self.label, self.total, self.done = label, total, 0
        self.start = self.shown = time.monotonic()
        self._handle = None

    def __enter__(self) -> "Progress":
        return self

    def step(self, n: int = 1) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.shown > 0.5:
            self.shown = now
            left = (now - self.start) / self.done * (self.total - self.done)
            self._show(f"{self.label}: {self.done} of {self.total}, about {duration(left)} left")

    def __exit__(self, *error) -> None:
        if self.shown != self.start:
            self._show(f"{self.label}: {self.done} of {self.total}", end=True)

    def _show(self, text: str, end: bool = False) -> None:
        if "ipykernel" in sys.modules:
            from IPython.display import display

            bundle = {"text/plain": text}
            if self._handle is None:
                self._handle = display(bundle, raw=True, display_id=True)
            else:
                self._handle.update(bundle, raw=True)
        elif sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="\n" if end else "", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A rough duration for people: 8 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
