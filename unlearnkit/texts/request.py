"""What a method is given when texts are to be forgotten."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.compute import autocast
from unlearnkit.core.errors import BadValue
from unlearnkit.images.request import Request
from unlearnkit.texts.tokens import Tokens


@dataclass(frozen=True)
class TextRequest(Request):
    """unlearnkit.images.request.Request of Tokens. n_classes: ids of the vocabulary; recipe: a TextRecipe; tokenizer: for methods that
    write answers of their own (`tokenizer.answers(["I don't know."])`, then `batch.answered(...)`).

    Rows of logits and labels are answer tokens, one sample after the other; losses are of samples.
    """

    forget: Tokens
    retain: Tokens
    tokenizer: Any = None

    @property
    def whole_classes(self) -> list[int]:
        """Texts have no classes."""
        return []

    def placed(self, model: nn.Module, samples: Tokens, space: str, device: str = "auto") -> Tensor:
        """Where samples stand, (n, width) on the CPU, in a space of unlearnkit.wrappers.neighbours: "feature", the model's hidden
        states, mean over an answer; "text", counts of runs of 3 letters of question and answer. Raises BadValue for one that
        texts do not have."""
        from data_builders.texts.similarity import char_vectors
        from unlearnkit.texts.outputs import score_tokens

        if space == "feature":
            return score_tokens(model, samples, device=device)[2]
        if space != "text":
            raise BadValue(f"neighbours: texts have no pixels: use 'feature' or 'text', not {space!r}")
        answers = [self.tokenizer.decode(ids) for ids in samples.answers()]
        asked = self.tokenizer.questions(samples.prompts())
        return torch.from_numpy(char_vectors([f"{q}\n{a}" for q, a in zip(asked, answers)]))

    def logits(self, model: nn.Module, batch: Tokens) -> Tensor:  # type: ignore[override]
        """(answer tokens, vocabulary) float32, in the recipe's precision."""
        with autocast(batch.ids.device, getattr(self.recipe, "precision", "fp32")):
            return model(batch).float()

    def token_losses(self, model: nn.Module, batch: Tokens) -> Tensor:
        """Negative log-likelihood of each answer token, (answer tokens,), nats."""
        return F.cross_entropy(self.logits(model, batch), batch.y, reduction="none")

    def losses(self, model: nn.Module, batch: Tokens) -> Tensor:  # type: ignore[override]
        """Mean negative log-likelihood of each sample's answer tokens, (n,), nats per token: normalised by length."""
        return batch.mean(self.token_losses(model, batch))

    def log_likelihood(self, model: nn.Module, batch: Tokens) -> Tensor:
        """Summed log-likelihood of each sample's answer tokens, (n,), nats: L(y|x), not normalised. `batch.count` has the
        numbers of tokens."""
        return -batch.summed(self.token_losses(model, batch))
