"""The figures of the study: each one function that returns the figure and the data behind it."""

from unlearnkit.figures.alignment import f7, f9, f10
from unlearnkit.figures.dataset_sheets import f1, f1_kinds, f2
from unlearnkit.figures.distributions import f15, f15_margins
from unlearnkit.figures.dose_response import f3, f3_size, f5
from unlearnkit.figures.forgetting_order import f13
from unlearnkit.figures.measured_similarity import f3_similarity
from unlearnkit.figures.method_ranking import f14
from unlearnkit.figures.metric_agreement import f8, f8_layers
from unlearnkit.figures.mitigations import f6
from unlearnkit.figures.privacy_risk import f11, f12, f12_copies
from unlearnkit.figures.reconstruction import f4
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
