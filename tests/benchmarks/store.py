"""The cache with 64 processes at it, against one: artefacts put and got, keys made twice, readers beside a batch.

    python tests/benchmarks/store.py [processes]

Artefacts hold two files of 2 kB. Processes start together, and their wall seconds run until the last one ends; a read is a
first one, which digests the files. With two cores 64 processes cannot be faster than two: what counts is that the store
does not slow them down. At last one process makes a batch of 40 keys in 4 s, while the others ask for a key that is there,
each every 50 ms.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unlearnkit.core import store as store_module
from unlearnkit.core.store import Spec, Store

AIMS = {"put": 150, "get": 1500}  # artefacts a second
KEYS = 1280
fork = multiprocessing.get_context("fork")


def spec(what: str, i: int) -> Spec:
    return Spec("thing", {"what": what, "i": i})


def fill(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"a" * 2000)
    (folder / "b.bin").write_bytes(b"b" * 2000)


def together(n: int, work: Callable[[int], object]) -> tuple[float, list]:
    """(seconds until the last of n processes has done work(i), what each returned)."""
    start, results = fork.Barrier(n + 1), fork.SimpleQueue()

    def run(i: int) -> None:
        store_module._verified.clear()
        start.wait()
        results.put(work(i))

    processes = [fork.Process(target=run, args=(i,)) for i in range(n)]
    for process in processes:
        process.start()
    start.wait()
    begun = time.perf_counter()
    returned = [results.get() for _ in processes]
    seconds = time.perf_counter() - begun
    for process in processes:
        process.join()
    return seconds, returned


def main(processes: int = 64) -> None:
    with tempfile.TemporaryDirectory(prefix="unlearnkit-bench-") as folder:
        store = Store(Path(folder) / "cache")
        store.get(spec("first", 0), fill)  # what a process looks up once, of program and machine, forked ones then have
        rates: dict[tuple[str, int], float] = {}
        for n in (1, processes):

            def put(i: int, n: int = n) -> None:
                for k in range(i, KEYS, n):
                    store.get(spec(f"of {n}", k), fill)

            def get(i: int, n: int = n) -> None:
                for k in range(KEYS):
                    if k % n == i or (n > 1 and k % 4 == i % 4):  # each is read by many
                        assert store.read(spec(f"of {n}", k))

            read = KEYS if n == 1 else sum(k % n == i or k % 4 == i % 4 for i in range(n) for k in range(KEYS))
            rates["put", n] = KEYS / together(n, put)[0]
            rates["get", n] = read / together(n, get)[0]
        for what, aim in AIMS.items():
            one, many = rates[what, 1], rates[what, processes]
            print(f"{what}: 1 process {one:,.0f}/s, {processes} {many:,.0f}/s, {many / one:.2f} times (aim {aim:,}/s)")
        _, made = together(processes, lambda i: sum(_makes(store, k) for k in range(200)))
        print(f"200 keys that {processes} processes want at once: made {sum(made)} times")
        waits(store, processes)


def _makes(store: Store, k: int) -> int:
    made = []
    store.get(spec("shared", k), lambda folder: made.append(fill(folder)))
    return len(made)


def waits(store: Store, processes: int) -> None:
    """How long readers of a published key wait while another process makes a batch, and without one."""

    def batch(_: int) -> None:
        def make(missing, publish):
            for i, folder in missing:
                time.sleep(0.1)
                fill(folder)
                publish(i, {})

        store.get_many([spec("batch", i) for i in range(40)], make)

    def ask(i: int, alone: bool) -> list[float]:
        if i == 0:
            return [] if alone else batch(i) or []
        took, end = [], time.perf_counter() + 3
        while time.perf_counter() < end:
            store_module._verified.clear()
            begun = time.perf_counter()
            store.get(spec("shared", i), fill)
            took.append(time.perf_counter() - begun)
            time.sleep(0.05)
        return took

    for what, alone in (("without a batch", True), ("beside a batch of 4 s", False)):
        _, took = together(processes, lambda i, alone=alone: ask(i, alone))
        every = [seconds for each in took for seconds in each]
        print(f"a read {what}: median {1000 * statistics.median(every):.1f} ms, longest {1000 * max(every):.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
