"""Can a deleted image be read out of the weights? Importing this registers the models for which it can be asked."""

from unlearnkit.reconstruction.difference import images_of_difference, inputs_of_difference
from unlearnkit.reconstruction.kkt import Candidates, Search, look, reconstruct
from unlearnkit.reconstruction.model import margin_mlp, margin_mlp_1000
from unlearnkit.reconstruction.runs import reconstructions
from unlearnkit.reconstruction.stationary import Stationarity, stationarity, training_loss
from unlearnkit.reconstruction.table import summary

__all__ = [
    "Candidates",
    "Search",
    "Stationarity",
    "images_of_difference",
    "inputs_of_difference",
    "look",
    "margin_mlp",
    "margin_mlp_1000",
    "reconstruct",
    "reconstructions",
    "stationarity",
    "summary",
    "training_loss",
]
