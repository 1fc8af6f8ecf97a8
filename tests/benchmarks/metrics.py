"""Seconds of each metric on outputs of 10,000 samples, 128 features and 10 classes; those that share a fit, alone.

    python tests/benchmarks/metrics.py [samples]

Wanted: at most 5 s each on 2 cores. Ensembles are of 16 models.
"""

import dataclasses
import sys
import time

import torch
import torch.nn.functional as F

from data_builders.task import ROLES
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import judging, metrics

SHARES = {"target": 0.1, "similar": 0.1, "filler": 0.35, "decoy": 0.1, "test": 0.35}
WANTED = 5.0


def synthetic(n: int, seed: int, classes: int = 10, width: int = 128, models: int = 16) -> Outputs:
    """Classes that overlap, and training samples known a little better than test samples: no metric has it easy."""
    g = torch.Generator().manual_seed(seed)
    role = torch.cat([torch.full((int(n * s),), ROLES.index(r), dtype=torch.int8) for r, s in SHARES.items()])
    labels = torch.randint(classes, (len(role),), generator=torch.Generator().manual_seed(0))
    known = torch.where((role == ROLES.index("test")) | (role == ROLES.index("decoy")), 2.0, 4.0)[:, None]
    logits = torch.randn(len(role), classes, generator=g) + known * F.one_hot(labels, classes)
    centres = torch.randn(classes, width, generator=g)
    features = (0.5 * centres[labels] + torch.randn(len(role), width, generator=g)).relu()
    cost, ids = {"seconds": 1.0, "steps": 10}, torch.arange(len(role))
    margins = known.T + torch.randn(models, len(role), generator=g)
    return Outputs(logits, labels, role, ids, cost, features, margins, relearn_steps=7, attack_class=0)


def main(n: int) -> None:
    seen, reference = synthetic(n, 1), synthetic(n, 2)
    names = judging("image", sorted(metrics))
    for name in names:  # torch's and sklearn's one-off costs
        metrics[name](synthetic(500, 1), synthetic(500, 2))
    print(f"{n} samples, {torch.get_num_threads()} threads")
    slow = []
    for name in names:
        a, b = (dataclasses.replace(e) for e in (seen, reference))
        start = time.perf_counter()
        metrics[name](a, b)
        seconds = time.perf_counter() - start
        slow += [name] if seconds > WANTED else []
        print(f"{name:<16} {seconds:6.2f} s")
    print(f"slower than {WANTED:g} s: {', '.join(slow) or 'none'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
