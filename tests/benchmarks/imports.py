"""What importing unlearnkit costs beyond importing torch, in fresh processes: python tests/benchmarks/imports.py"""

import statistics
import subprocess
import sys

PROGRAM = """
import time
start = time.perf_counter(); import torch; torch_ = time.perf_counter() - start
start = time.perf_counter(); import {module}; print(torch_, time.perf_counter() - start)
"""


def main() -> None:
    for module in (
        "unlearnkit",
        "unlearnkit.images.train, unlearnkit.methods, unlearnkit.images.train_many",
        "unlearnkit.study",
    ):
        runs = [subprocess.run([sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True)
                for _ in range(5)]  # fmt: skip
        torch_, ours = (statistics.median(float(run.stdout.split()[i]) for run in runs) for i in (0, 1))
        print(f"import torch {torch_:.2f} s, then {module}: {ours:.2f} s")


if __name__ == "__main__":
    main()
