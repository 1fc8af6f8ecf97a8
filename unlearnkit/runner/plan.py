"""The order of a batch: which jobs may begin, by what they wait for. Takes time in proportion to the jobs, however deep."""

import heapq
from collections.abc import Iterator, Mapping, Sequence

from unlearnkit.runner.grid import Job


class Plan:
    """Jobs that are not done yet. Those of one grid entry share what they wait for, so that is counted once for all."""

    def __init__(self, jobs: Sequence[Job], done: Mapping[str, bool]):
        """done: {key: whether it failed} of jobs that have ended already. What is neither here nor there is
        not waited for."""
        self.jobs = list(jobs)
        here = {j.key for j in self.jobs}
        members: dict[frozenset, list[int]] = {}
        for place, j in enumerate(self.jobs):
            members.setdefault(j.after, []).append(place)
        self._members = list(members.values())
        self._waits = [len(after & here) for after in members]  # for how many jobs each group waits
        self._groups: dict[str, list[int]] = {}  # key: the groups that wait for it
        for group, after in enumerate(members):
            for key in after & here:
                self._groups.setdefault(key, []).append(group)
        self._ready: dict[str, list[int]] = {}  # notebook: places of its jobs that may begin, a heap
        self._left = len(self.jobs)
        self._lost: list[Job] = []
        for group, after in enumerate(members):
            if any(done.get(key) for key in after):
                self._lose(group)
            elif not self._waits[group]:
                self._release(group)

    def __len__(self) -> int:
        """How many jobs were neither taken nor lost."""
        return self._left

    def take(self, may_begin=lambda job: True) -> Iterator[Job]:
        """Jobs that may begin, in the order of the grid; what is taken is no longer in the plan.

        may_begin: asked once for each notebook, with a job of it; what it refuses stays.
        """
        stems = {stem for stem, heap in self._ready.items() if heap and may_begin(self.jobs[heap[0]])}
        while stems:
            stem = min(stems, key=lambda s: self._ready[s][0])
            place = heapq.heappop(self._ready[stem])
            if not self._ready[stem]:
                stems.remove(stem)
            self._left -= 1
            yield self.jobs[place]

    def ended(self, key: str, failed: bool) -> None:
        """A job has ended. If it failed, all that wait for it are lost, and those that wait for them."""
        for group in self._groups.pop(key, ()):
            self._waits[group] -= 1
            if failed:
                self._lose(group)
            elif not self._waits[group]:
                self._release(group)

    def lost(self) -> list[Job]:
        """The jobs that were lost since this was last asked."""
        lost, self._lost = self._lost, []
        return lost

    def _release(self, group: int) -> None:
        for place in self._members[group]:
            heapq.heappush(self._ready.setdefault(self.jobs[place].notebook.stem, []), place)
        self._members[group] = []

    def _lose(self, group: int) -> None:
        todo = [group]
        while todo:
            places = self._members[group := todo.pop()]
            self._members[group] = []
            self._left -= len(places)
            for place in places:
                self._lost.append(self.jobs[place])
                todo += self._groups.pop(self.jobs[place].key, ())
