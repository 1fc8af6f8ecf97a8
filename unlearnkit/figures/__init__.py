"""The figures of the study: each one function that returns the figure and the data behind it."""

from unlearnkit.figures.alignment import f7, f9, f10
from unlearnkit.figures.critique import f8, f8_layers
from unlearnkit.figures.dose import f3, f3_size, f5
from unlearnkit.figures.ensembles import f15, f15_margins
from unlearnkit.figures.pareto import f6
from unlearnkit.figures.reconstructions import f4
from unlearnkit.figures.response import f3_similarity
from unlearnkit.figures.risk import f11, f12, f12_copies
from unlearnkit.figures.sequences import f13
from unlearnkit.figures.sheets import f1, f1_kinds, f2
from unlearnkit.figures.synthesis import f14
from unlearnkit.figures.texts import f2_text

__all__ = [
    "f1",
    "f1_kinds",
    "f2",
    "f2_text",
    "f3",
    "f3_similarity",
    "f3_size",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f8_layers",
    "f9",
    "f10",
    "f11",
    "f12",
    "f12_copies",
    "f13",
    "f14",
    "f15",
    "f15_margins",
]
