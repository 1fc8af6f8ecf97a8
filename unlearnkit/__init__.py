"""Does unlearning remove the influence of the samples it is asked to forget, when near-duplicates of them stay?

The public face is what `__all__` lists: the pipeline (`unlearnkit.study`), the unlearning methods and the metrics. All else
may move. Start with `notebooks/00_tour.ipynb`.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["methods", "metrics", "study"]


def __getattr__(name: str):
    """A public module at its first use, so that `import unlearnkit` alone loads nothing else."""
    if name in __all__:
        return importlib.import_module(f"unlearnkit.{name}")
    raise AttributeError(f"module 'unlearnkit' has no attribute {name!r}")
