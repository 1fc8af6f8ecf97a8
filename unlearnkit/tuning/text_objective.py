"""What tuning minimises of texts: the counterpart of unlearnkit.tuning.objective, whose gap it is.

Accuracy is there the share of an answer's tokens that are the likeliest.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from data_builders.texts.task import Texts, TextTask
from unlearnkit.texts import domain as texts
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.outputs import TextOutputs, forward_task, text_outputs
from unlearnkit.texts.tokenizer import Tokenizer
from unlearnkit.tuning.objective import check, kept_roles


def validation_outputs(config: TextConfig, device: str = "auto") -> Callable[[nn.Module], TextOutputs]:
    """What says what a model knows of the config's task without its test samples."""
    how = {"tokenizer": texts.tokenizer(config), "context": config.context, "device": device}
    return partial(outputs_of, task=without_test(texts.load_task(config)), **how)


def without_test(task: TextTask) -> TextTask:
    """As unlearnkit.tuning.objective.without_test; answers in other words and wrong ones, which the gap does not read, go, too."""
    kept, role = kept_roles(task.role)
    found = task.texts[kept.nonzero().squeeze(1)]
    plain = Texts(found.question, found.answer)
    return replace(task, texts=plain, role=role, source=task.source[kept], pairs=task.pairs.iloc[:0])


def outputs_of(
    model: nn.Module, *, task: TextTask, tokenizer: Tokenizer, context: int, device: str = "auto"
) -> TextOutputs:
    """Outputs of a model on a task. Raises NonFiniteLoss for outputs that are not finite."""
    read = forward_task(model, task, tokenizer, context, device=device)["outputs"]
    check(read["log_p"])
    return text_outputs(read, task, {})
