"""Can a deleted image be read out of the weights? Importing this registers the models whose weights can be searched."""

from unlearnkit.analysis.reconstruction.difference import images_of_difference, inputs_of_difference
from unlearnkit.analysis.reconstruction.kkt import Candidates, Search, find_candidates, reconstruct
from unlearnkit.analysis.reconstruction.model import margin_mlp, margin_mlp_1000
from unlearnkit.analysis.reconstruction.runs import reconstructions
from unlearnkit.analysis.reconstruction.stationary import Stationarity, stationarity, training_loss
from unlearnkit.analysis.reconstruction.table import for_people, summary

__all__ = [
    "Candidates",
    "Search",
    "Stationarity",
    "find_candidates",
    "for_people",
    "images_of_difference",
    "inputs_of_difference",
    "margin_mlp",
    "margin_mlp_1000",
    "reconstruct",
    "reconstructions",
    "stationarity",
    "summary",
    "training_loss",
]
