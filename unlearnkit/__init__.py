"""Does unlearning remove the influence of the samples it is asked to forget, when near-duplicates of them stay?

The public face is what `__all__` lists: `unlearn`, `evaluate` and `find_near_duplicates` for a model of your own; the
pipeline (`unlearnkit.study`), the unlearning methods and the metrics of the study. All else may move. Start with
`notebooks/00_tour.ipynb`, or `notebooks/01_your_own_model.ipynb`.
"""

import importlib

__version__ = "0.1.0"
_OWN_MODEL = ("evaluate", "find_near_duplicates", "unlearn")
__all__ = ["evaluate", "find_near_duplicates", "methods", "metrics", "study", "unlearn"]


def __getattr__(name: str):
    """A public name at its first use, so that `import unlearnkit` alone loads nothing else."""
    if name in _OWN_MODEL:
        return getattr(importlib.import_module("unlearnkit.own_model"), name)
    if name in __all__:
        return importlib.import_module(f"unlearnkit.{name}")
    raise AttributeError(f"module 'unlearnkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
