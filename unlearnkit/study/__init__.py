"""The pipeline: configs, tasks, reference models, unlearned models, outputs, scores. Every step is cached.

Notebooks, batch jobs and tests all call these functions; whoever comes first computes, the others read.
"""

from unlearnkit.study.domains import load_task, task_artefact
from unlearnkit.study.ensembles import ensemble, model
from unlearnkit.study.generation import answer_similarity, answers_side_by_side, compare_generations, generations
from unlearnkit.study.model_outputs import outputs, relearn_steps
from unlearnkit.study.per_target import REFERENCE_ROWS, target_scores
from unlearnkit.study.reference_models import INITIAL, REFERENCES, Trained, references, untrained
from unlearnkit.study.rows import BASELINES, Row, applicable_rows
from unlearnkit.study.scoring import reference_scores, scores, scores_within
from unlearnkit.study.unlearned_models import unlearn, unlearn_all

__all__ = [
    "BASELINES",
    "INITIAL",
    "REFERENCES",
    "REFERENCE_ROWS",
    "Row",
    "Trained",
    "answer_similarity",
    "answers_side_by_side",
    "applicable_rows",
    "compare_generations",
    "ensemble",
    "generations",
    "load_task",
    "model",
    "outputs",
    "reference_scores",
    "references",
    "relearn_steps",
    "scores",
    "scores_within",
    "target_scores",
    "task_artefact",
    "unlearn",
    "unlearn_all",
    "untrained",
]
