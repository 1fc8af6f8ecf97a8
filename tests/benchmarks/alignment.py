"""Seconds of DA of a forget tenth in the directions of a retain set of 50,000 samples with 512 features.

    python tests/benchmarks/alignment.py [samples] [width]

Wanted: at most 2 s on 2 cores, for the moment, its eigenvectors and the alignment together.
"""

import sys
import time

import torch

from unlearnkit.core.alignment import alignment, directions

WANTED = 2.0


def main(n: int, width: int) -> None:
    g = torch.Generator().manual_seed(0)
    low = torch.randn(20, width, generator=g)  # most of the energy in twenty directions, as of trained features
    mixed = [torch.randn(m, 20, generator=g) @ low + torch.randn(m, width, generator=g) for m in (n, n // 10)]
    retain, forget = (v.relu() for v in mixed)
    alignment(forget[:1000], directions(retain[:1000]))  # torch's one-off costs
    start = time.perf_counter()
    found = directions(retain)
    value = alignment(forget, found).item()
    seconds = time.perf_counter() - start
    print(f"DA of {n:,} x {width}, {torch.get_num_threads()} threads: {seconds:.2f} s (wanted: {WANTED:g})")
    print(f"rank {found.shape[1]}, DA {value:.3f}")


if __name__ == "__main__":
    main(*(int(v) for v in sys.argv[1:] or ("50000", "512")))
