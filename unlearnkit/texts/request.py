"""The request that an unlearning method is given, for texts: the counterpart of unlearnkit.images.request."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.compute import autocast
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.texts.models import pooled
from unlearnkit.texts.tokens import Tokens


@dataclass(frozen=True)
class TextRequest(Request):
    """A Request whose samples are Tokens. n_classes: size of the vocabulary; recipe: a TextRecipe; tokenizer: for
    methods that write answers of their own (`tokenizer.answers(["I don't know."])`, then `batch.answered(...)`).

    Logits and labels have one row per answer token, one sample after the other; losses and features one row per sample.
    """

    forget: Tokens
    retain: Tokens
    tokenizer: Any = None

    @property
    def whole_classes(self) -> list[int]:
        """[]: texts have no classes."""
        return []

    def logits(self, model: nn.Module, batch: Tokens) -> Tensor:  # type: ignore[override]
        """(answer tokens, vocabulary) float32, computed in the recipe's precision."""
        with autocast(batch.ids.device, getattr(self.recipe, "precision", "fp32")):
            return model(batch).float()

    def logits_and_features(self, model: nn.Module, batch: Tokens) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Logits (answer tokens, vocabulary) and features (n, width), the mean over each answer's tokens of the hidden
        states that enter the head, from one pass; float32, computed in the recipe's precision, with gradients."""
        with autocast(batch.ids.device, getattr(self.recipe, "precision", "fp32")):
            logits, hidden = model.logits_and_features(batch)
        return logits.float(), pooled(batch, hidden.float())

    def features(self, model: nn.Module, samples: Tokens, batch_size: int = 64) -> Tensor:  # type: ignore[override]
        """Features of all samples, (n, width), taken in eval mode; the model's mode is restored."""
        return super().features(model, samples, batch_size)

    def token_losses(self, model: nn.Module, batch: Tokens) -> Tensor:
        """Negative log-likelihood of each answer token, (answer tokens,), nats."""
        return F.cross_entropy(self.logits(model, batch), batch.y, reduction="none")

    def losses(self, model: nn.Module, batch: Tokens) -> Tensor:  # type: ignore[override]
        """Mean negative log-likelihood of each sample's answer tokens, (n,), nats per token: normalised by length."""
        return batch.mean(self.token_losses(model, batch))

    def log_likelihood(self, model: nn.Module, batch: Tokens) -> Tensor:
        """L(y|x): summed log-likelihood of each sample's answer tokens, (n,), nats, not normalised by length.
        `batch.count` holds the numbers of tokens."""
        return -batch.summed(self.token_losses(model, batch))

    def vectors(self, model: nn.Module, samples: Tokens, space: str, device: str = "auto") -> Tensor:  # type: ignore[override]
        """Samples as vectors, (n, width) on the CPU, in a space of unlearnkit.wrappers.neighbours: "feature", the
        model's hidden states, mean over an answer; "text", counts of letter trigrams of question and answer. Raises
        BadValue for a space that texts do not have."""
        from data_builders.texts.similarity import char_vectors
        from unlearnkit.texts.outputs import score_tokens

        if space == "feature":
            return score_tokens(model, samples, device=device)[2]
        if space != "text":
            raise BadValue(f"neighbours: texts have no pixels: use 'feature' or 'text', not {space!r}")
        questions = self.tokenizer.questions(samples.prompts())
        answers = [self.tokenizer.decode(ids) for ids in samples.answers()]
        return torch.from_numpy(char_vectors([f"{q}\n{a}" for q, a in zip(questions, answers)]))
