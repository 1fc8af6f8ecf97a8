"""The figures of the study: each one function that returns the figure and the data behind it."""

from unlearnkit.figures.alignment import plot_feature_plane, plot_spectra, plot_trajectories
from unlearnkit.figures.dataset_sheets import plot_perturbation_sheet, plot_sample_sheet, plot_similarity
from unlearnkit.figures.distributions import plot_distributions, plot_margins
from unlearnkit.figures.forgetting_order import plot_forgetting_order
from unlearnkit.figures.influence import plot_influence
from unlearnkit.figures.measured_similarity import plot_influence_by_similarity
from unlearnkit.figures.method_ranking import plot_rank_agreement
from unlearnkit.figures.metric_agreement import plot_metric_agreement, plot_metrics_by_layer
from unlearnkit.figures.mitigations import plot_mitigations
from unlearnkit.figures.privacy_risk import plot_difficulty, plot_difficulty_by_near_duplicates, plot_privacy_risk
from unlearnkit.figures.reconstruction import plot_reconstructions
from unlearnkit.figures.texts import plot_text_similarity
from unlearnkit.figures.training_size import plot_training_size

__all__ = [
    "plot_difficulty",
    "plot_difficulty_by_near_duplicates",
    "plot_distributions",
    "plot_feature_plane",
    "plot_forgetting_order",
    "plot_influence",
    "plot_influence_by_similarity",
    "plot_margins",
    "plot_metric_agreement",
    "plot_metrics_by_layer",
    "plot_mitigations",
    "plot_perturbation_sheet",
    "plot_privacy_risk",
    "plot_rank_agreement",
    "plot_reconstructions",
    "plot_sample_sheet",
    "plot_similarity",
    "plot_spectra",
    "plot_text_similarity",
    "plot_training_size",
    "plot_trajectories",
]
