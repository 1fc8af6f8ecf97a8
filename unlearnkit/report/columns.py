"""What the columns of tables mean, and the terms of the study: tooltips and the glossary."""

import re

from unlearnkit.metrics import metrics

TERMS = {
    "forget set": "The samples that are to be forgotten; the study calls each of them a target.",
    "near-duplicate": "A sample similar to a target that stays in training: a copy, a paraphrase, a natural neighbour.",
    "other retained": "Samples that stay in training and are similar to no target.",
    "decoy": "A sample drawn and labelled like a target that no model was trained on: what is known untaught.",
    "canary": "A target with a random wrong label, which only training can have taught.",
    "hard": "A target with its true label and a high held-out loss.",
    "random": "A target drawn at random, with its true label: most are guessed without having been seen.",
    "original": "The model before unlearning, trained on everything.",
    "retrain": "The model trained anew on everything but the targets: the usual reference.",
    "clean": "The model trained on other retained samples only, without the targets and without anything similar to them.",
    "clean-again": "`clean` from another seed: the noise floor of distances to clean.",
    "initial": "The untrained model.",
    "residual influence": "Share of the forget set's influence that is left: 1 is original, 0 is clean.",
    "masked": "No number, since original and clean do not differ within noise: there is nothing to measure.",
    "usable": "Test accuracy (of texts: model utility) is at most 0.05 below retrain's in the same condition.",
    "moved": "Outputs on the targets differ from original's by more than those of a second training do.",
    "condition": "All that rows share but the method: data set, size, kind of target, near-duplicates and their similarity.",
    "noise floor": "The distance between two trainings that differ in nothing but the seed.",
    "variant": "A method with one option set to another value, or in another order; folded below it on the leaderboard.",
    "interval": "Mean [low, high]: 95% interval: bootstrap over seeds and targets, t, or Fieller's for a ratio.",
}  # fmt: skip

COLUMNS = {
    "ASR_targets": "attack success rate on the targets themselves", "answer": "the answer", "architecture": "the model",
    "augment": "how training images are augmented",
    "attack": "how images are read out of weights: kkt, from one model; difference, from two models",
    "RA_filler": "accuracy on the other retained samples: those that are no near-duplicates",
    "base": "the method inside the wrapper, or without one", "batches": "into how many batches the forget set is cut",
    "char_cosine": "cosine of the answer said and the answer wanted, by groups of letters",
    "cosine": "cosine of the answer said and the true one, by groups of letters",
    "change_from_fewest_copies": "difference to the fewest near-duplicates of the same targets, paired by seed",
    "contrast": "which order less which other", 
    "control": "a negative control: it does not unlearn; of targets: what else stays in place of near-duplicates",
    "copies": "near-duplicates per target that stay in training",
    "correlate": "what privacy risk is correlated with; after a bar: what is held fixed",
    "dataset": "where samples come from", "depth": "place of the layer, from 1 at the input",
    "detected": "whether the excess over the noise floor has an interval above 0", "digests": "digests of the tasks",
    "difference": "mean difference of the contrast, paired by seed", "difficulty_measure": "how difficulty is measured",
    "distance": "distance of the control to retrain by this metric",
    "excess_over_noise_floor": "distance less noise floor, paired by seed",
    "exposure": "-log2 of the targets' mean rank among decoys, as a share; bits",
    "family": "the claim whose contrasts are adjusted together, by Holm's method",
    "gap": "mean absolute difference in accuracy on targets, retained and test samples, and in MIA",
    "group": "the samples that it is taken over", "influence_removed": "1 less residual influence",
    "influence_removed_net": "1 less residual influence, net of what the model knows of decoys",
    "kkt_multiplier": "weight of the targets among all known samples in the KKT conditions, 1 for those trained on",
    "kkt_residual": "how far the weights are from satisfying the KKT conditions: lower is better",
    "label_given": "share of targets that are given the label they were trained with",
    "learnt": "whether the original gives the targets their label: there is nothing to forget otherwise",
    "layer": "the layer whose outputs are taken as features", "licence": "licence of the data",
    "LiRA_gap": "mean difference to retrain in the probability, by LiRA, of having been trained on a target",
    "method": "the unlearning method, or a reference model", "metric": "the metric",
    "MIA_AUC": "area under the ROC curve of the attack that tells targets from decoys by their margin; 0.5 by chance",
    "n_classes": "classes", "n_conditions": "conditions", "n_converged": "seeds in which the KKT conditions hold",
    "matched_control": "whether the same was measured with as many random samples as the search finds; else why not",
    "minus_retrain": "residual influence less retrain's of the same targets",
    "minus_control": "residual influence less that of forgetting as many random samples, of the same targets",
    "minus_control_rank": "the same by the rank of targets among decoys",
    "n_decoy": "decoys", "n_decoys": "decoys that targets are compared with",
    "n_diverged": "seeds on which the method diverged, which are in no mean",
    "n_exact_duplicates": "near-duplicates that are equal to their target", "n_forget": "targets",
    "n_found": "samples that the search found", "n_methods": "methods compared",
    "n_models": "models in each ensemble", "n_near_duplicate": "near-duplicates in training",
    "n_other_retained": "other retained samples", "n_pairs_in_train": "pairs of near-duplicates in the training set",
    "n_refused": "seeds on which the base refused the sequence", "n_samples": "samples of all seeds",
    "n_seeds": "seeds that means are over; another draws other targets and initial weights",
    "n_targets": "targets", "n_test": "test samples", "n_train": "training samples",
    "n_test_with_near_duplicate_in_train": "test samples with a near-duplicate in the training set",
    "n_train_with_near_duplicate": "training samples with a near-duplicate among them", "n_validation": "validation samples",
    "nearest_clean": "the method nearest to clean on average", "nearest_retrain": "the method nearest to retrain on average",
    "number_known": "the search asks for as many neighbours as there are near-duplicates: an exception, on no front",
    "nats_per_token": "mean nats of a token of the true answer",
    "neighbour_search": "how neighbours of the targets are looked for",
    "min_k_AUC": "AUC of telling targets from decoys by the least likely fifth of an answer's tokens (Min-20%)",
    "NLL": "mean negative log-probability of an answer's tokens, nats",
    "noise_floor": "distance of retraining from another seed by this metric", "options": "options other than the defaults",
    "order": "the order in which batches are forgotten, by risk", "originals": "how many original models",
    "margins_violated": "share of its training set that a model does not give their label",
    "over_clean": "SSIM less that of decoys, less the same of clean, or of retrain where no near-duplicates stay",
    "over_no_copies": "residual influence less that without near-duplicates, of the same kind of target",
    "gap_over_full": "gap to retraining less that of the whole method of the same seed, with its interval of 90%",
    "equivalence_margin": "difference of gaps that counts as none: a tenth of the original's gap, stated beforehand",
    "p_equivalence": "of two one-sided t tests; below 0.05: equivalent to the whole method within the margin",
    "p": "two-sided p-value of the difference", "p_adjusted": "p-value, adjusted within its family by Holm's method",
    "p_as_clean": "p-value of the test that it is 0.1 or more away from clean: small means as good as clean",
    "p_minus_control": "two-sided p-value of the difference to the matched control, not adjusted",
    "p_minus_retrain": "two-sided p-value of the difference to retrain, not adjusted",
    "p_over_no_copies": "two-sided p-value of the difference to no near-duplicates, not adjusted",
    "pareto_optimal": "no other method of the condition is better in influence removed, neighbour cost and test accuracy",
    "perturbation": "how near-duplicates are made from a target", "phi_gap": "mean difference to retrain in phi, logits",
    "precision": "share of the samples found that are near-duplicates",
    "precision_of_chance": "share of near-duplicates among all samples that could be found",
    "protocol": "what is to be forgotten where nothing similar stays: a tenth, a class, a subclass, several classes",
    "PrivLeak": "how much more than retrain the model tells targets from decoys by Min-20%, in percent of what is left",
    "quantity": "what is measured on the samples", "question": "the question", "profile": "the profile that was run",
    "r2": "share of the variance of residual influence that a rising curve over the measure explains",
    "r2_leave_kind_out": "the same for each perturbation from the curve of the others",
    "rank": "place among the methods, 1 for the nearest to retrain",
    "rank_change": "place by clean less place by retrain, paired by seed",
    "rank_clean": "place by distance to clean, 1 for the nearest",
    "rank_retrain": "place by distance to retrain, 1 for the nearest",
    "raw_digest": "digest of the raw data", "recall": "share of the near-duplicates that are found",
    "recall_of_listed_images": "share of the images in a published list of near-duplicates that are found",
    "recall_of_listed_pairs": "share of the pairs in a published list of near-duplicates that are found",
    "reconstruction_residual": "what the search for images leaves unexplained: lower is better",
    "relation": "target, or similar to it", "relearn_steps": "optimiser steps until the forget set is known again",
    "residual_influence": "share of the forget set's influence that is left: 1 is original, 0 is clean",
    "residual_influence_fact": "the same, by the share of facts told", "moved": TERMS["moved"], "usable": TERMS["usable"],
    "residual_influence_log_probability": "the same, by mean log-probabilities, which confidence moves",
    "residual_influence_rank": "the same, by the rank of targets among decoys",
    "residual_influence_likelihood_ratio": "the same, by the likelihood ratio of targets under models of halves of the pool",
    "likelihood_ratio_accuracy": "share told from clean by the sign of that ratio; 0.5: not at all",
    "likelihood_ratio_tpr": "share of targets whose ratio is above that of 99% of the decoys",
    "residual_influence_rouge": "the same, by ROUGE-L of the answers", "risk_measure": "how privacy risk is measured",
    "risk_proxy": "a cheaper estimate of the risk", "run": "keys of the runs behind the row",
    "said": "what the model answers", "seconds_ratio": "seconds, relative to retraining", "seed": "the seed",
    "share_already_forgotten": "share of targets that the original loses as much on as retrain",
    "share_like_clean": "share of models whose margin on a target is likeliest under clean",
    "share_like_none": "share of models whose margin on a target is far from every reference",
    "share_like_original": "share of models whose margin on a target is likeliest under original",
    "share_like_retrain": "share of models whose margin on a target is likeliest under retrain",
    "share_never_forgotten": "share of targets not forgotten within the run",
    "share_rebounded": "share of targets forgotten at some step and known again at the end",
    "similarity_level": "the measured similarity that near-duplicates were made to have",
    "similarity_measure": "how similarity is measured", "spearman": "Spearman's rank correlation",
    "spearman_brown": "reliability at all models, by Spearman and Brown's 2 r / (1 + r)",
    "spearman_high_samples": "upper end of the 95% interval over samples",
    "spearman_low_samples": "lower end of the 95% interval over samples",
    "spearman_minus_noise_floor": "the correlation less that of retraining from another seed, paired by seed",
    "ssim_nearest_retained": "SSIM with the nearest image that stays in training",
    "steps_ratio": "optimiser steps, relative to retraining", "strength": "strength of the perturbation",
    "subspace_rank": "directions of the main subspace", "subspace_rule": "how the main subspace of features is chosen",
    "target": "number of the target", "targets": "kind of target", "tau": "Kendall's tau-b of two orders of the methods",
    "threshold": "similarity from which two samples count as near-duplicates", "train_size": "training samples",
    "training_loss": "loss on the training set",
    "utility": "share of right labels, or tokens, in what is not to be forgotten",
    "value": "the value",
    "verdict": "what may be said of the row, or the gate that leaves it out", "wrapper": "the function around the base",
    "reference": "the model that is compared with",
    "published": "the published number, in its unit", "published_name": "what the source calls the method",
    "ours": "our mean over seeds, in the unit of the source", "differences": "what differs from the source in ours",
    "source": "where the number was published", "unit": "unit of both numbers",
    "verification": "whether two sources agree on the number",
}  # fmt: skip
FOR_PEOPLE = {  # columns of unlearnkit.analysis.for_people, and of its like for reconstructions, alone
    "data and model": "data set, training samples, model, and how training images are augmented if they are",
    "near-duplicates": "how many of each target stay in training, and how they are made; of other images: a control",
    "influence left": COLUMNS["residual_influence"], "by rank": "influence left, by the rank of targets among decoys",
    "more than with none": COLUMNS["over_no_copies"], "more than retrain": COLUMNS["minus_retrain"],
    "truth ratio": "likelihood of wrong answers over that of the restated right one, geometric mean: near 0 it is known",
    "filler RA": COLUMNS["RA_filler"], "facts told": "share of targets whose fact the model's own answer tells",
    "steps, time": "optimiser steps and wall seconds of the method alone, means over seeds", "n": "seeds; targets of all",
    "SSIM": "structural similarity of a target and the nearest image that was read out of the model, 1 for equal ones",
    "SSIM of decoys": "the same of as many decoys, which no model was trained on: resemblance that comes by chance",
    "above decoys": "SSIM of targets less that of decoys", "above clean": COLUMNS["over_clean"],
    "SSIM of retained": COLUMNS["ssim_nearest_retained"], "KKT residual": COLUMNS["kkt_residual"],
    "residual of the search": COLUMNS["reconstruction_residual"], "training loss": COLUMNS["training_loss"],
    "margins violated": COLUMNS["margins_violated"], "targets right": "share of targets that are given their label",
}  # fmt: skip
MEASURES = {
    "ssim": "structural similarity, 1 for equal images", "psnr": "peak signal-to-noise ratio, decibels",
    "pixel_cosine": "cosine of pixels", "feature_cosine": "cosine of a model's features",
    "rouge_l": "ROUGE-L", "rouge_l_recall": "ROUGE-L, recall", "char_cosine": "cosine of counts of groups of letters",
    "word_cosine": "cosine of counts of words", "words": "number of words", "klom": "KLoM, nats",
    "ulira_accuracy": "accuracy of U-LiRA, 0.5 for chance", "tpr": "true positive rate of U-LiRA at 1% false positives",
    "true_label_accuracy": "accuracy by the true labels", "fact_accuracy": "share of facts told",
}  # fmt: skip
PREFIXES = {
    "near_duplicate_": "on near-duplicates", "question_": "of questions", "answer_": "of answers",
    "both_": "of question and answer together",
}  # fmt: skip
SUFFIXES = {
    "_p5": "5th percentile", "_p95": "95th percentile", "_n": "seeds that have a value", "_vs_retrain": "against retrain",
    "_vs_clean": "against clean", "_retrain": "against retrain", "_clean": "against clean", "_original": "against original",
    "_minus_one_shot": "less that of forgetting all at once, paired by seed",
    "_minus_retrain": "less retrain's, paired by seed",
    "_minus_decoy": "less that of decoys, paired by seed", "_decoy": "on decoys", "_target": "on the targets",
    "_test": "on test samples", "_near_duplicate": "on near-duplicates", "_low_risk": "on the third with the lowest risk",
    "_middle_risk": "on the third with middle risk", "_high_risk": "on the third with the highest risk",
    "_low": "lower end of the 95% interval", "_high": "upper end of the 95% interval",
    "_rank": "by the rank of targets among decoys",
}  # fmt: skip


def meaning(name: str) -> str:
    """What a column is, one line; "" where nothing is known of its name.

    Names are made of parts, `ssim_p5` or `near_duplicate_ulira_accuracy_vs_clean`: what is not known as a whole is read from
    its ends.
    """
    if known := _PLAIN.get(_plain(name)) or _of_metric(name):
        return known.rstrip(".")
    for prefix, words in PREFIXES.items():
        if name.startswith(prefix) and (rest := meaning(name.removeprefix(prefix))):
            return f"{rest}, {words}"
    for suffix, words in SUFFIXES.items():
        if name.endswith(suffix) and (rest := meaning(name.removesuffix(suffix))):
            return f"{rest}; {words}" if suffix in ("_p5", "_p95", "_n", "_low", "_high") else f"{rest}, {words}"
    if name.endswith("_gap") and (rest := _of_metric(name.removesuffix("_gap"))):
        return f"difference to retrain: {rest}"
    return ""


def _of_metric(name: str) -> str:
    """The summary of the metric that a column is named after, whichever its case and however its words are joined."""
    return next((m.summary for n, m in sorted(metrics.items()) if _plain(n) == _plain(name)), "")


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


_PLAIN = {_plain(name): words for name, words in (COLUMNS | MEASURES | FOR_PEOPLE).items()}
