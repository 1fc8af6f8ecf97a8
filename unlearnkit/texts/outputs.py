"""One pass of a language model over all of a text task's answers: the counterpart of unlearnkit.images.outputs.

Every answer is read after its own question, as in training, and of each of its tokens it is kept how likely the model finds
it and whether it is the likeliest. So are the answer in other words and the wrong answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.texts.task import TextTask
from unlearnkit.core.errors import BadValue
from unlearnkit.images.outputs import NEEDS, Outputs
from unlearnkit.texts.models import LanguageModel, pooled
from unlearnkit.texts.parallel import each
from unlearnkit.texts.tokenizer import Tokenizer
from unlearnkit.texts.tokens import Tokens

READ_ROLES = (
    "target",
    "filler",
    "decoy",
    "test",
)  # whose answers in other words, and wrong ones, are read: of most there are five
AT_ONCE = 2048  # tokens of a batch, about: what a layer makes of them stays in a processor's cache


@dataclass(frozen=True)
class TextOutputs(Outputs):
    """What one model says of the answers of one text task, n samples.

    log_p, hit: (answer tokens,) float32 and bool, one sample after the other: the log-probability of each token of the
    answer, its end token included, after the question and the true tokens before it (teacher forcing), and whether it is
    the likeliest; count: (n,) answer tokens of each sample. restated_log_p, restated_count: the same of the answers in
    other words, (n,), 0 tokens where there is none; wrong_log_p, wrong_count, wrong_of: of all m wrong answers, with the
    sample that each is of, (m,); both of samples in the roles TOLD alone. features: (n, width), mean hidden state of each
    answer. answer, fact: n texts, as of the task; said: what the model answers, n texts, or None; meant: (n,) cosine of the
    sentence embeddings of that and the answer, or None. There are no logits and labels.
    """

    domain = "text"

    logits: None = None
    labels: None = None
    role: Tensor = None
    ids: Tensor = None
    log_p: Tensor = None
    hit: Tensor = None
    count: Tensor = None
    restated_log_p: Tensor = None
    restated_count: Tensor = None
    wrong_log_p: Tensor = None
    wrong_count: Tensor = None
    wrong_of: Tensor = None
    answer: tuple[str, ...] = ()
    fact: tuple[str, ...] = ()
    generations: tuple[str, ...] | None = None
    answer_similarity: Tensor | None = None

    def require(self, need: str, by: str) -> None:
        """Raises BadValue, with the way out, if what the metric `by` needs is not there."""
        if {"generation": self.generations, "embedding": self.answer_similarity}.get(need, "") is None:
            raise BadValue(
                f"metric {by!r} needs {need}, which these outputs lack: study.scores(..., metrics=[{by!r}]) gets it, "
                f"and by hand {NEEDS[need]} does"
            )
        if need not in ("generation", "embedding"):
            super().require(need, by)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """L(y|x), summed over each answer's tokens, (n,) float64, nats."""
        return summed(self.log_p, self.count)

    @cached_property
    def losses(self) -> Tensor:
        """Mean negative log-likelihood of each answer's tokens, (n,), nats per token."""
        return -self.log_likelihood / self.count

    @cached_property
    def probability(self) -> Tensor:
        """exp(-nats per token), (n,): the geometric mean of the probabilities of an answer's tokens."""
        return (-self.losses).exp()

    @cached_property
    def restated_losses(self) -> Tensor:
        """As `losses`, of the answers in other words, (n,); NaN where there is none."""
        return -summed(self.restated_log_p, self.restated_count) / self.restated_count

    @cached_property
    def wrong_losses(self) -> Tensor:
        """As `losses`, of each wrong answer, (m,)."""
        return -summed(self.wrong_log_p, self.wrong_count) / self.wrong_count

    @cached_property
    def correct(self) -> Tensor:
        """Exact memorisation: the share of each answer's tokens that are the likeliest, (n,)."""
        return summed(self.hit, self.count) / self.count

    @cached_property
    def phi(self) -> Tensor:
        """log p - log(1 - p) of the answer's probability per token, (n,). Ours: an answer's own probability falls with its
        length, and there are no other labels whose logits could be set against it."""
        log_p = -self.losses
        return log_p - torch.log(-torch.expm1(log_p))

    def tokens(self, row: int) -> slice:
        """Where the tokens of the answer of sample `row` stand in log_p and hit."""
        stop = int(self.count[: row + 1].sum())
        return slice(stop - int(self.count[row]), stop)


def summed(values: Tensor, count: Tensor) -> Tensor:
    """Sums of runs of so many values, (runs,) float64. values: (sum of count,)."""
    of = torch.arange(len(count)).repeat_interleave(count)
    return torch.zeros(len(count), dtype=torch.float64).index_add(0, of, values.double())


def score_tokens(
    model: LanguageModel, tokens: Tokens, *, device: str = "auto", at_once: int = AT_ONCE
) -> tuple[Tensor, Tensor, Tensor]:
    """(log-probability, whether it is the likeliest) of each label, (answer tokens,), and pooled hidden states (n, width),
    of a language model in eval mode, in float32, on the CPU. The model is left as it is.

    Samples of one length are read together, about `at_once` tokens at a time.
    """
    if not len(tokens):
        return torch.empty(0), torch.empty(0, dtype=torch.bool), torch.empty(0, model.net.config.hidden_size)
    order, batches = tokens.stop.argsort(stable=True), []
    while len(order):
        n = max(at_once // int(tokens.stop[order[-1]]), 1)  # the longest first
        batches.append(order[-n:])
        order = order[:-n]
    found = each(model, [tokens[index] for index in batches], _read, device=device)
    index, log_p, hit, features = torch.cat(batches), *(torch.cat(part) for part in zip(*found, strict=True))
    back, places = index.argsort(), tokens.label_index(index).argsort()
    return log_p[places], hit[places], features[back]


@torch.inference_mode()
def _read(net: LanguageModel, batch: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    logits, hidden = net.outputs(batch)
    logits, label = logits.float(), batch.y[:, None]
    true = logits.gather(1, label)
    others = logits.scatter(1, label, -torch.inf).logsumexp(1, keepdim=True)
    found = F.logsigmoid(true - others).squeeze(1)  # exact where p rounds to 1
    return found.cpu(), (logits.argmax(1) == batch.y).cpu(), pooled(batch, hidden).float().cpu()


def forward_task(
    model: nn.Module, task: TextTask, tokenizer: Tokenizer, context: int, *, device: str = "auto"
) -> dict[str, dict[str, Tensor]]:
    """{"outputs": what TextOutputs holds, "features": ...}: read every answer of `task` once, in eval mode."""
    texts, told = task.texts, task.index(*READ_ROLES).tolist()
    restated = [i for i in told if texts.restated[i]]
    wrong = [(i, said) for i in told for said in texts.wrong[i]]
    asked = [
        tokenizer.tokens(texts, context),
        tokenizer.paired([texts.question[i] for i in restated], [texts.restated[i] for i in restated], context),
        tokenizer.paired([texts.question[i] for i, _ in wrong], [said for _, said in wrong], context),
    ]
    log_p, hit, features = score_tokens(model, asked[0].joined(*asked[1:]), device=device)
    parts = log_p.split([len(part.y) for part in asked])
    of_restated = torch.zeros(len(task), dtype=torch.int64)
    of_restated[restated] = asked[1].count
    found = {
        "log_p": parts[0].clone(),
        "hit": hit[: len(asked[0].y)].clone(),
        "count": asked[0].count,
        "restated_log_p": parts[1].clone(),
        "restated_count": of_restated,
        "wrong_log_p": parts[2].clone(),
        "wrong_count": asked[2].count,
        "wrong_of": torch.tensor([i for i, _ in wrong], dtype=torch.int64),
    }
    return {"outputs": found, "features": {"features": features[: len(task)].clone()}}


def text_outputs(read: Mapping[str, Tensor], task: TextTask, cost: Mapping) -> TextOutputs:
    """Of what `take` gave."""
    texts = {"answer": task.answer, "fact": task.texts.fact}
    return TextOutputs(role=task.role, ids=torch.arange(len(task)), cost=dict(cost), **texts, **read)
