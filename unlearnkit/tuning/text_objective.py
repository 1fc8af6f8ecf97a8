"""What tuning minimises of texts: the counterpart of unlearnkit.tuning.objective, whose gap it is.

Accuracy is there the share of an answer's tokens that are the likeliest.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from data_builders.texts.task import Texts, TextTask
from unlearnkit.texts import domain as texts
from unlearnkit.texts.config import TextCell
from unlearnkit.texts.outputs import TextEvidence, evidence_of, take
from unlearnkit.texts.tokenizer import Tokenizer
from unlearnkit.tuning.objective import check, kept_roles


def judge(cell: TextCell, device: str = "auto") -> Callable[[nn.Module], TextEvidence]:
    """What says what a model knows of the cell's task without its test samples."""
    how = {"tokenizer": texts.tokenizer(cell), "context": cell.context, "device": device}
    return partial(seen, task=without_test(texts.load_task(cell)), **how)


def without_test(task: TextTask) -> TextTask:
    """As unlearnkit.tuning.objective.without_test; answers in other words and wrong ones, which the gap does not read, go, too."""
    kept, role = kept_roles(task.role)
    found = task.texts[kept.nonzero().squeeze(1)]
    plain = Texts(found.question, found.answer)
    return replace(task, texts=plain, role=role, source=task.source[kept], pairs=task.pairs.iloc[:0])


def seen(model: nn.Module, *, task: TextTask, tokenizer: Tokenizer, context: int, device: str = "auto") -> TextEvidence:
    """Evidence of a model on a task. Raises NonFiniteLoss for outputs that are not finite."""
    read = take(model, task, tokenizer, context, device=device)["evidence"]
    check(read["log_p"])
    return evidence_of(read, task, {})
