"""What the names of version 0.1 are called now: a plugin, a grid or a `-p` that uses an old one is told in one line."""

import re

# a package, then its modules: those of their old name ("unlearnkit." left out), and old=new
_MODULES = """
unlearnkit.core: alignment compute divergence errors paths progress rank_correlation registry store
    code=code_digest summary=statistics
data_builders: similarity task data_builders.card=dataset_card data_builders.compose=build_task
    data_builders.degree=similarity_level data_builders.draw=select_targets
    data_builders.duplicates=near_duplicates data_builders.kinds=perturbations
    data_builders.natural=natural_neighbours data_builders.own=user_images data_builders.vision=torchvision_sets
data_builders.texts: data_builders.texts.compose=build_task data_builders.texts.judged=human_judgements
    data_builders.texts.kinds=fictional_questions data_builders.texts.listed=given_paraphrases
    data_builders.texts.own=user_texts language.similarity=similarity language.task=task
unlearnkit.images: heads layers models pretrained tasks train cell=config evidence=outputs
    gradients=per_sample_gradients inference=predict ranking=tasks stack=train_many
unlearnkit.texts: language.cell=config language.domain=domain language.evidence=outputs language.generate=generate
    language.models=models language.request=request language.tasks=tasks language.tokenizer=tokenizer
    language.tokens=tokens language.train=train language=
unlearnkit.privacy_risk: rankers= ranking.answers=answer_scores ranking.outputs=output_scores
    ranking.shadows=shadow_models ranking.trained_anew=retraining_scores subsets=subset_models
unlearnkit.wrappers: neighbours turns=partial_passes
unlearnkit.metrics: contracts_metrics=contracts language.contracts=contracts relearn=relearn_time
unlearnkit.methods: contracts language.objectives=text_losses tuned=tuned_options
unlearnkit.study: protocols domain=domains language.said=generation observed=model_outputs
    references=reference_models unlearned=unlearned_models
unlearnkit.results: readme records
unlearnkit.analysis: difficulty reconstruction tables agreement=metric_agreement arrival=difficulty
    critique=metric_distances depth=layerwise language.tables=dataset_cards per_stratum=forgetting_order
    proxies=privacy_risk published=literature response=measured_similarity risk=privacy_risk
    sequences=forgetting_order shadows=distributions solutions=mitigations spectra=feature_spectra
    synthesis=method_ranking trajectory=trajectories worlds=distributions yardsticks=metric_distances
unlearnkit.analysis.reconstruction: reconstruction.difference=difference reconstruction.kkt=kkt
    reconstruction.layers=layers reconstruction.model=model reconstruction.runs=runs
    reconstruction.stationary=stationary reconstruction.table=table
unlearnkit.figures: figures.critique=metric_agreement figures.dose=training_size figures.ensembles=distributions
    figures.pareto=mitigations figures.reconstructions=reconstruction figures.response=measured_similarity
    figures.risk=privacy_risk figures.sequences=forgetting_order figures.sheets=dataset_sheets
    figures.synthesis=method_ranking
unlearnkit.runner: batch grid job notebook reproduce forked=forked_kernels
unlearnkit.tuning: objective search_space language.objective=objective tuning=search tuning_record=search
"""

# parameters of notebooks and configs, notebooks, classes and functions
NAMES = {
    "pool": "max_pool_images", "kind": "perturbation", "degree": "similarity_level", "degrees": "similarity_levels",
    "which": "forget_ids", "kind_options": "perturbation_options", "also": "extra_conditions", "full": "all_methods_at",
    "core": "methods_elsewhere", "at_strength": "plot_strength", "at_copies": "plot_copies", "around": "wrappers",
    "ways": "neighbour_searches", "by": "ranker", "way": "subspace_rule", "steady": "watched_runs",
    "doses": "figure_batches", "doses_of": "figure_targets",
    "50_tables_and_figures": "50_dose_response", "53_what_helps": "53_mitigations",
    "55_what_helps_language": "55_text_mitigations", "70_whose_directions": "70_feature_spectra",
    "72_which_metric": "72_metric_agreement", "54_language": "54_text_dose_response",
    "56_whole_data_sets": "50_dose_response", "57_texts_at_the_papers_size": "54_text_dose_response",
    "32_unlearn_language": "32_unlearn_texts", "12_near_copies": "12_near_duplicates",
    "Cell": "Config", "TextCell": "TextConfig", "cells": "config_grid", "text_cells": "text_config_grid",
    "Evidence": "Outputs", "TextEvidence": "TextOutputs", "Made": "RebuildableNet", "CELL": "CONDITION_COLUMNS",
    "rho": "residual_influence", "take": "forward_task", "known": "reference_scores", "evidence": "outputs",
    "said": "generations", "meant": "answer_similarity", "unlearned": "unlearn_all", "trained": "train_references",
    "measured": "measure_cost", "cheap": "single_pass_metrics", "t1": "dataset_cards", "t2": "dose_response_table",
    "t3": "text_table", "t4": "mitigations_table", "t5": "features_table", "t7": "backdoor_table", "t9": "ranking_table",
    "t10": "cost_table", "compose": "build_task", "kinds": "perturbations", "drawn": "limited_to",
    "Ruler": "FeatureExtractor", "scored": "score_tokens", "members": "models_of_row", "t1_text": "dataset_cards",
    "sheet": "text_sheet", "placed": "vectors", "told": "teacher_log_probs", "answers_of": "label_index",
    "texts": "text_request", "f3": "plot_influence", "f5": "plot_influence", "f6": "plot_mitigations",
    "lira_online": "lira_separation",
}  # fmt: skip
# names that have left their module
_ELSEWHERE = {
    "minimise": "unlearnkit.core.optimise", "watched": "unlearnkit.core.optimise", "at_rest": "unlearnkit.core.optimise",
    "Request": "unlearnkit.images.request", "last_blocks": "unlearnkit.images.heads", "own_head": "unlearnkit.images.heads",
}  # fmt: skip


def modules() -> dict[str, str]:
    """{old module: new module}."""
    places = {}
    for package, names in re.findall(r"^(\S+): ((?:.|\n    )*)", _MODULES, re.M):
        for name in names.split():
            old, _, new = name.partition("=")
            whole = old if old.startswith("data_builders") else f"unlearnkit.{old}"
            places[whole] = ".".join(filter(None, [package, new if "=" in name else old]))
    return places


def import_hint(error: ImportError) -> str:
    """What an import of an old module, or of an old name, should be now; "" for any other error."""
    places, module, name = modules(), error.name or "", re.search("cannot import name '(.+?)' from", str(error))
    if name is None:
        return f"{module} is now {places[module]}" if module in places else ""
    if name[1] in _ELSEWHERE:
        return f"{name[1]} is now in {_ELSEWHERE[name[1]]}"
    if f"{module}.{name[1]}" in places:
        return f"{module}.{name[1]} is now {places[f'{module}.{name[1]}']}"
    return f"{name[1]!r} is now called {NAMES[name[1]]!r}" if name[1] in NAMES else ""
