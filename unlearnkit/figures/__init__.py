"""The figures of the study: each one function that returns the figure and the data behind it."""

from unlearnkit.figures.dose import f3, f3_size
from unlearnkit.figures.pareto import f6
from unlearnkit.figures.sheets import f1, f1_kinds, f2

__all__ = ["f1", "f1_kinds", "f2", "f3", "f3_size", "f6"]
