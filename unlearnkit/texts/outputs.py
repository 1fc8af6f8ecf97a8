"""One language model's outputs on one text task: the counterpart of unlearnkit.images.outputs.

Every answer is read after its own question, as in training. Kept of each answer token: its log-probability, and whether
it is the likeliest. So are the restated answer (the true one in other words) and the wrong answers.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import harmonic_mean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_builders.texts.similarity import char_cosine, rouge_l_recall
from data_builders.texts.task import TextTask
from data_builders.texts.words import words
from unlearnkit.core.compute import MAX_COPIES, n_workers, parallel_map, resolve_device
from unlearnkit.core.divergence import js
from unlearnkit.images.outputs import Outputs
from unlearnkit.texts import token_statistics
from unlearnkit.texts.models import LanguageModel, pooled
from unlearnkit.texts.token_statistics import summed
from unlearnkit.texts.tokenizer import Tokenizer
from unlearnkit.texts.tokens import Tokens, run_index

# whose restated and wrong answers are read, too: most samples have five
READ_ROLES = ("target", "filler", "decoy", "test")
BATCH_TOKENS = 2048  # tokens of a batch, about: what a layer makes of them stays in a processor's cache


@dataclass(frozen=True)
class TextOutputs(Outputs):
    """One language model's outputs on the answers of one text task of n samples.

    log_p, hit: (answer tokens,) float32 and bool, one sample after the other: the log-probability of each token of the
    answer, its end token included, after the question and the true tokens before it (teacher forcing), and whether it
    is the likeliest; count: (n,) answer tokens of each sample. restated_log_p, restated_count: the same of the restated
    answers, (n,), 0 tokens where there is none; wrong_log_p, wrong_count, wrong_of: of all m wrong answers, with the
    sample that each belongs to, (m,); both of samples in READ_ROLES alone. features: (n, width), mean hidden state of
    each answer. answer, fact: n texts, from the task; generations: n texts, the model's own answers, or None;
    answer_similarity: (n,) cosine of the sentence embeddings of these and the true answers, or None. There are no
    logits and labels.
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

    def select(self, rows: Tensor, **changes) -> "TextOutputs":
        """As `Outputs.select`, with the tokens, restated and wrong answers of these samples."""
        tokens, restated = run_index(self.count, rows), run_index(self.restated_count, rows)
        n_wrong = self.wrong_of.bincount(minlength=len(self.ids))
        wrong = self.wrong_of.argsort(stable=True)[run_index(n_wrong, rows)]
        index = {"log_p": tokens, "hit": tokens, "restated_log_p": restated, "wrong_count": wrong}
        index |= {"wrong_log_p": run_index(self.wrong_count, wrong), "margins": (slice(None), rows)}
        index |= dict.fromkeys(("role", "ids", "count", "restated_count", "features", "answer_similarity"), rows)
        parts = {name: value[i] for name, i in index.items() if (value := getattr(self, name)) is not None}
        for name in ("answer", "fact", "generations"):
            if texts := getattr(self, name):
                parts[name] = tuple(texts[i] for i in rows.tolist())
        parts["wrong_of"] = torch.arange(len(rows)).repeat_interleave(n_wrong[rows])
        return replace(self, **(parts | changes))

    @cached_property
    def sample(self) -> Tensor:
        """The sample that each answer token belongs to, (answer tokens,)."""
        return torch.arange(len(self.count)).repeat_interleave(self.count)

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
        """As `losses`, of the restated answers, (n,); NaN where there is none."""
        return -summed(self.restated_log_p, self.restated_count) / self.restated_count

    @cached_property
    def wrong_losses(self) -> Tensor:
        """As `losses`, of each wrong answer, (m,)."""
        return -summed(self.wrong_log_p, self.wrong_count) / self.wrong_count

    @cached_property
    def log_truth_ratio(self) -> Tensor:
        """See unlearnkit.texts.token_statistics; (n,)."""
        return token_statistics.log_truth_ratio(self.wrong_losses, self.wrong_of, self.restated_losses)

    @cached_property
    def extraction(self) -> Tensor:
        """See unlearnkit.texts.token_statistics; (n,)."""
        return token_statistics.extraction(self.hit, self.count)

    @cached_property
    def min_k(self) -> Tensor:
        """See unlearnkit.texts.token_statistics; (n,)."""
        return token_statistics.min_k(self.log_p, self.count)

    @cached_property
    def correct(self) -> Tensor:
        """Exact memorisation: the share of each answer's tokens that are the likeliest, (n,)."""
        return summed(self.hit, self.count) / self.count

    @cached_property
    def phi(self) -> Tensor:
        """log p - log(1 - p) of the answer's probability per token, (n,). Ours: an answer's own probability falls with
        its length, and there are no other labels whose logits could be set against it."""
        log_p = -self.losses
        return log_p - torch.log(-torch.expm1(log_p))

    @cached_property
    def familiarity(self) -> Tensor:  # type: ignore[override]
        """Mean over each answer's tokens of the logit of the token's probability, (n,): the margin of images, per token.

        Ours, in place of the mean log-probability, which ends at 0 for what is known by heart, so that targets stand still
        where decoys move: logits divided by 2 raise the influence of `original` by 0.4 by log-probabilities, by 0.03 so.
        """
        log_p = self.log_p.double().clamp(max=-torch.finfo(torch.float32).tiny)
        return summed(log_p - torch.log(-torch.expm1(log_p)), self.count) / self.count

    @property
    def familiarities(self) -> dict[str, Tensor]:
        """By margins, and by mean log-probabilities."""
        return {"score": self.familiarity, "score_log_probability": -self.losses}

    def label_given(self, rows: Tensor) -> Tensor:
        """Whether the model's own answer to each of the samples `rows`, (k,), tells its fact, float64, 1 or 0; where the
        data set names no fact, whether it has the words of the whole true answer."""
        told = [states(said, self.fact[i] or self.answer[i]) for i, said in zip(rows.tolist(), self._own_answers(rows))]
        return torch.tensor(told, dtype=torch.float64)

    def _own_answers(self, rows: Tensor) -> list[str]:
        if self.generations is None:
            self.require("generation", "label_given")
            return []
        return [self.generations[i] for i in rows.tolist()]

    def divergence(self, other: "Outputs", rows: Tensor) -> Tensor:
        """Jensen-Shannon divergence of how likely each token of an answer is to the two models, against all other tokens
        together; mean over each answer's tokens, (k,), nats: a lower bound of that of all tokens' probabilities."""
        own, others = (o.select(rows).log_p.double() for o in (self, other))  # type: ignore[attr-defined]
        two = [torch.stack([log_p, torch.log(-torch.expm1(log_p))], 1) for log_p in (own, others)]
        count = self.count[rows]
        return summed(js(*two), count) / count

    @property
    def ranked(self) -> dict[str, Tensor]:
        """By margins, and by Min-20%."""
        return {"rank": self.familiarity, "min_k_rank": self.min_k}

    def more_of(self, rows: Tensor) -> dict[str, Sequence]:
        """Nats per token, exact memorisation, extraction strength, log truth ratio; the model's own answer, its ROUGE-L
        recall, and the cosine of its letters with the true one's."""
        said, answers = self._own_answers(rows), [self.answer[i] for i in rows.tolist()]
        numbers = {
            "nats_per_token": self.losses,
            "exact_memorisation": self.correct,
            "extraction_strength": self.extraction,
            "log_truth_ratio": self.log_truth_ratio,
        }
        own = {"rouge_l": rouge_l_recall(answers, said).tolist(), "cosine": char_cosine(answers, said).tolist()}
        return {name: value[rows].tolist() for name, value in numbers.items()} | {"said": said} | own

    @property
    def utility(self) -> float:
        """Harmonic mean of the share of right tokens in the answers of the other retained pairs, which all models are
        told of, and of the test pairs: what was learnt, and how well it writes about others."""
        return harmonic_mean([self.correct[self.rows(group)].mean().item() for group in ("filler", "test")])


def states(text: str, fact: str) -> bool:
    """Whether a text has the words of a fact, one after the other; case and punctuation do not count."""
    return f" {' '.join(words(fact))} " in f" {' '.join(words(text))} "


def map_batches(model: LanguageModel, batches: Sequence, read: Callable, *, device: str = "auto") -> list:
    """[read(net, batch) for each batch], net: a copy of the model in eval mode on the device.

    On the CPU batches go to one-thread workers, and no number depends on how many there are.
    """
    device = resolve_device(device)
    net = copy.deepcopy(model).to(device).eval()
    workers = min(n_workers(device), MAX_COPIES, len(batches))
    own_net = lambda: copy.deepcopy(net) if workers > 1 else net  # noqa: E731  # a pass hooks its model
    return parallel_map(lambda net, batch: read(net, batch.to(device)), batches, workers=workers, initialise=own_net)


def score_tokens(
    model: LanguageModel, tokens: Tokens, *, device: str = "auto", batch_tokens: int = BATCH_TOKENS
) -> tuple[Tensor, Tensor, Tensor]:
    """(log-probability, whether it is the likeliest) of each label, (answer tokens,), and pooled hidden states (n,
    width), of a language model in eval mode, in float32, on the CPU. The model is left as it is.

    Samples of one length are read together, about `batch_tokens` tokens at a time.
    """
    if not len(tokens):
        return torch.empty(0), torch.empty(0, dtype=torch.bool), torch.empty(0, model.net.config.hidden_size)
    order, batches = tokens.stop.argsort(stable=True), []
    while len(order):
        n = max(batch_tokens // int(tokens.stop[order[-1]]), 1)  # the longest first
        batches.append(order[-n:])
        order = order[:-n]
    parts = map_batches(model, [tokens[index] for index in batches], _score_batch, device=device)
    index, log_p, hit, features = torch.cat(batches), *(torch.cat(part) for part in zip(*parts, strict=True))
    back, places = index.argsort(), tokens.label_index(index).argsort()
    return log_p[places], hit[places], features[back]


@torch.inference_mode()
def _score_batch(net: LanguageModel, batch: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    logits, hidden = net.logits_and_features(batch)
    logits, label = logits.float(), batch.y[:, None]
    true = logits.gather(1, label)
    others = logits.scatter(1, label, -torch.inf).logsumexp(1, keepdim=True)
    log_p = F.logsigmoid(true - others).squeeze(1)  # exact where p rounds to 1
    return log_p.cpu(), (logits.argmax(1) == batch.y).cpu(), pooled(batch, hidden).float().cpu()


def forward_task(
    model: nn.Module, task: TextTask, tokenizer: Tokenizer, context: int, *, device: str = "auto"
) -> dict[str, dict[str, Tensor]]:
    """{"outputs": tensors of TextOutputs, "features": the rest}: read every answer of `task` once, in eval mode."""
    texts, rows = task.texts, asked_rows(task, *READ_ROLES).tolist()
    restated = [i for i in rows if texts.restated[i]]
    wrong = [(i, answer) for i in rows for answer in texts.wrong[i]]
    true_tokens = tokenizer.tokens(texts, context)
    restated_tokens = tokenizer.paired(
        [texts.question[i] for i in restated], [texts.restated[i] for i in restated], context
    )
    wrong_tokens = tokenizer.paired([texts.question[i] for i, _ in wrong], [answer for _, answer in wrong], context)
    parts = (true_tokens, restated_tokens, wrong_tokens)
    log_p, hit, features = score_tokens(model, true_tokens.joined(*parts[1:]), device=device)
    true_log_p, restated_log_p, wrong_log_p = log_p.split([len(part.y) for part in parts])
    restated_count = torch.zeros(len(task), dtype=torch.int64)
    restated_count[restated] = restated_tokens.count
    tensors = {
        "log_p": true_log_p.clone(),
        "hit": hit[: len(true_tokens.y)].clone(),
        "count": true_tokens.count,
        "restated_log_p": restated_log_p.clone(),
        "restated_count": restated_count,
        "wrong_log_p": wrong_log_p.clone(),
        "wrong_count": wrong_tokens.count,
        "wrong_of": torch.tensor([i for i, _ in wrong], dtype=torch.int64),
    }
    return {"outputs": tensors, "features": {"features": features[: len(task)].clone()}}


def asked_rows(task: TextTask, *roles: str) -> Tensor:
    """The samples in these roles that take more than one pass, for other answers and the model's own: of a mixed task,
    which has thousands, the targets alone."""
    return task.index(*roles) if task.arm is None else task.index("target")


def text_outputs(tensors: Mapping[str, Tensor], task: TextTask, cost: Mapping) -> TextOutputs:
    """Outputs from what `forward_task` returns."""
    texts = {"answer": task.answer, "fact": task.texts.fact}
    return TextOutputs(role=task.role, ids=torch.arange(len(task)), cost=dict(cost), **texts, **tensors)
