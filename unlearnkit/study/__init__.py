"""The pipeline: configs, tasks, reference models, unlearned models, outputs, scores. Every step is cached.

Notebooks, batch jobs and tests all call these functions; whoever comes first computes, the others read.
"""

from unlearnkit.study.domains import load_task, task_artefact
from unlearnkit.study.generation import meant, said, side_by_side
from unlearnkit.study.model_outputs import evidence, relearn
from unlearnkit.study.reference_models import INITIAL, REFERENCES, Trained, initial, references
from unlearnkit.study.scoring import BASELINES, ensemble, known, model, scores
from unlearnkit.study.unlearned_models import unlearn, unlearned

__all__ = [
    "BASELINES",
    "INITIAL",
    "REFERENCES",
    "Trained",
    "ensemble",
    "evidence",
    "initial",
    "known",
    "load_task",
    "meant",
    "model",
    "references",
    "relearn",
    "said",
    "scores",
    "side_by_side",
    "task_artefact",
    "unlearn",
    "unlearned",
]
