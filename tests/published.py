"""A small project with published results, for tests of what reads them."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from unlearnkit import results
from unlearnkit.core.parameters import Parameters
from unlearnkit.core.statistics import residual_influence, summarise

CONFIG = {
    "dataset": "digits",
    "train_size": 64,
    "perturbation": "block_mask",
    "strength": 0.3,
    "similarity_level": "",
    "architecture": "mlp",
}
INFLUENCE = ("residual_influence", "residual_influence_low", "residual_influence_high")
LEVELS = {"original": 4.0, "retrain": 3.0, "scrub": 2.0, "clean": 0.0}
README = """# A study

**Does it?** See the figure.

![rho, against copies](results/figures/F3.png)

*F3.* Data: [F3.csv](results/figures/F3.csv), [uv](https://example.org/uv), [a file](unlearnkit/none.py).

## In one minute

It is <!--n:stays-->0.75 [0.70, 0.80]<!--/n-->.

## Quick start

```sh
make study
```

## The setting

$$\\rho(M) = \\frac{a}{b}$$

where *a* is b.

## What we find

<!--findings-->

<!--/findings-->
"""
CLAIMS = """numbers:
  left: T2 phi:max method=retrain copies=5
claims:
- id: stays
  paper: P1
  basis: abstract
  claim: It stays
  short: It stays, in short
  verdict: supported | so far
  measure: phi
  number: left
  n: T2 count method=retrain copies=5
  contrast: "clean, {T2 phi:mean:max method=clean}"
  notebook: 00_small
  results: [T2, F3]
  full: >-
    phi of retrain is {left}, of scrub {T2 phi:list method=scrub
    copies=5}
"""
GRID = "profiles: {small: {publish: results}}\njobs: [{notebook: 00_small, with: [publish], makes: [T1, T2, F3]}]\n"
SOURCES = [
    ("markdown", "# Does a small notebook run?\n\nWith $z_y - \\log b$ and [the table](../results/tables/T2.csv)."),
    ("parameters", 'targets: list[str] = ["random", "canary"]  # kinds\ncopies: list[int] = [0, 5]  # doses\n'
     'methods: list[str] = []  # all if empty\nseeds: int = 3  # how many\npublish: str = ""  # where to'),
    ("code", "from unlearnkit.runner.notebook import check_parameters\n\n"
     "parameters = check_parameters(globals(), '00_small')"),
    ("code", "import sys\n\nsys.path.insert(0, TESTS)\nimport published\n\n"
     "scores = published.scores(targets, copies, methods, range(seeds))\npublished.publish(scores, parameters)"),
]  # fmt: skip


def scores(targets, copies, methods=(), seeds=range(3), shift: float = 0.0) -> pd.DataFrame:
    """A tidy score table of plausible numbers, the same for the same arguments."""
    rows = []
    for target in targets:
        for m in copies:
            for method in {"original", "clean", *(methods or LEVELS)}:
                for seed in seeds:
                    run = CONFIG | {"targets": target, "copies": m, "seed": seed, "method": method}
                    run |= {"run": f"{hash_of(target, m, method, seed):020x}"}
                    value = LEVELS[method] + 0.1 * seed * (seed - 1) + 0.01 * m * (method != "clean") + shift
                    measured = [
                        ("phi", "", "target", value),
                        ("influence", "", "target", value),
                        ("phi", "", "test", value / 3),
                        ("RTE", "retrain", "all", 0.5),
                    ]
                    measured += [("avg-gap", ref, "all", abs(value - LEVELS[ref]) / 9) for ref in ("retrain", "clean")]
                    names = ("metric", "reference", "group", "value")
                    rows += [run | dict(zip(names, score)) for score in measured]
    return pd.DataFrame(rows)


def hash_of(*parts) -> int:
    return int.from_bytes(repr(parts).encode()[-8:], "big") * 7919 + sum(map(ord, repr(parts)))


def publish(table: pd.DataFrame, parameters: Parameters) -> str:
    """T2 and F3 of a score table, and T1 without a record of its own."""
    t2 = summarise(table, {"gap_clean": ("avg-gap", "all", "clean"), "phi": ("phi", "target", "")})
    t2 = t2.join(residual_influence(table)[list(INFLUENCE)]).reset_index()
    origin = {"parameters": parameters, "roots": [results.publish]}
    results.publish("T2", t2, runs=table, **origin)
    results.publish("F3", t2[["method", "copies", *INFLUENCE]], Figure(figsize=(2, 1)), runs=table, **origin)
    t1 = pd.DataFrame({"dataset": ["digits"], "ssim": [0.5], "run": ["aaaa bbbb"]})
    results.publish("T1", t1, runs=t1.run, **origin)
    return "published"


def into(folder: str) -> Parameters:
    """The parameters with which the small notebook publishes to a results folder."""
    return Parameters({"targets": ["random", "canary"], "copies": [0, 5], "publish": folder}, "00_small")


def project(folder: Path, monkeypatch) -> Path:
    """Write the project, publish its results, and make it the one that is worked on."""
    monkeypatch.setenv("UNLEARNKIT_HOME", str(folder))
    (folder / "notebooks" / "grids").mkdir(parents=True)
    (folder / "notebooks" / "grids" / "small.yaml").write_text(GRID)
    (folder / "README.md").write_text(README)
    (folder / "results").mkdir()
    (folder / "results" / "README.md").write_text("# Results\n\n<!--claims-->\n\n<!--/claims-->\n")
    (folder / "results" / "claims.yaml").write_text(CLAIMS)
    cells = []
    for i, (kind, source) in enumerate(SOURCES):
        cell = {"cell_type": "markdown" if kind == "markdown" else "code", "id": f"c{i}", "metadata": {}}
        cell["source"] = source.replace("TESTS", repr(str(Path(__file__).parent)))
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": i}
            cell["metadata"] = {"tags": ["parameters"]} if kind == "parameters" else {}
        cells.append(cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks" / "00_small.ipynb").write_text(json.dumps(content))
    publish(scores(["random", "canary"], [0, 5]), into("results"))
    return folder
