"""Language models through transformers: small Llamas trained from scratch, and any pretrained causal model.

All take Tokens and return logits of the answer tokens alone.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Entry, Registry
from unlearnkit.images.models import RebuildableNet, n_parameters
from unlearnkit.texts import pretrained
from unlearnkit.texts.pretrained import HF, quiet
from unlearnkit.texts.tokens import Tokens


class LanguageModels(Registry):
    """The registered models, `function(vocabulary, context) -> a transformers model for causal language modelling`, and
    any of transformers' as "hf:NAME_OR_PATH", its name on the hub or its folder."""

    @property
    def families(self) -> dict[str, Entry]:
        """Entries listed for names that are not registered one by one."""
        name = f"{HF}NAME_OR_PATH"
        return {name: Entry(self.kind, name, pretrained.pretrained, pretrained.INFO)}

    def __getitem__(self, name: str) -> Entry:
        return pretrained.entry(name) if name.startswith(HF) else super().__getitem__(name)

    __contains__ = Mapping.__contains__


language_models = LanguageModels("language model", hint=f"Pretrained ones are called '{HF}NAME_OR_PATH'.")


class LanguageModel(RebuildableNet):
    """A causal model that `make()` builds. It maps Tokens to logits, (answer tokens, vocabulary): its head computes
    only those that answer tokens are predicted by.

    optimiser: the one that methods use here, where they use SGD for images. With adapters (LoRA) these alone are
    trained, stored and drawn anew.
    """

    optimiser = "adam"

    def __init__(self, make: Callable[[], nn.Module]):
        super().__init__(make)
        self.adapted = any("lora_" in name for name, _ in self.net.named_parameters())

    def forward(self, batch: Tokens) -> Tensor:
        return self.logits_and_features(batch)[0]

    def logits_and_features(self, batch: Tokens) -> tuple[Tensor, Tensor]:
        """Logits (answer tokens, vocabulary) and the head's inputs, hidden states, (answer tokens, width)."""
        caught = []

        def answer_tokens_alone(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            caught.append(inputs[0][batch.places])
            return (caught[0],)

        hook = self.head.register_forward_pre_hook(answer_tokens_alone)
        try:
            return self.net(input_ids=batch.ids.long(), use_cache=False).logits, caught[0]
        finally:
            hook.remove()

    def features(self, batch: Tokens) -> Tensor:
        """The mean over each answer's tokens of the hidden states that they are predicted from, (n, width)."""
        return pooled(batch, self.logits_and_features(batch)[1])

    @property
    def head(self) -> nn.Module:
        """The layer that maps hidden states to logits."""
        return self.net.get_output_embeddings()

    @property
    def tied(self) -> bool:
        """Whether head and embedding share their weights."""
        return self.head.weight is self.net.get_input_embeddings().weight

    @property
    def decoder(self) -> list[nn.Module]:
        """The decoder layers, the lowest first."""
        layers = [m for m in self.net.modules() if isinstance(m, nn.ModuleList)]
        return list(max(layers, key=n_parameters))

    @property
    def context(self) -> int | None:
        """The most tokens of a question and its answer together, None if unknown."""
        return getattr(self.net.config, "max_position_embeddings", None)

    def blocks(self) -> list[list[nn.Module]]:
        """The embedding, each decoder layer, and the head with the norm before it, as unlearnkit.images.heads.blocks.

        Raises NotApplicable where head and embedding share their weights: the last block is then the first, too.
        """
        if self.tied:
            raise NotApplicable("the head of this model shares its weights with the embedding: it has no last block")
        decoder = self.decoder
        inside = {id(m) for block in decoder for m in block.modules()}
        leaves = [m for m in self.net.modules() if id(m) not in inside and next(m.children(), None) is None]
        norms = [m for m in leaves if [p.ndim for p in m.parameters()][:1] == [1]]
        return [[self.net.get_input_embeddings()], *([block] for block in decoder), [*norms, self.head]]

    def requires_grad_(self, requires_grad: bool = True) -> "LanguageModel":
        for name, p in self.net.named_parameters():
            p.requires_grad_(requires_grad and (not self.adapted or "lora_" in name))
        return self

    def state_dict(self, *args, **kwargs) -> dict[str, Tensor]:
        """The weights in which models of one `make` differ: all, each once, or the adapters."""
        named = {*(n for n, _ in self.named_parameters()), *(n for n, _ in self.named_buffers())}
        weights = super().state_dict(*args, **kwargs)
        return {n: v for n, v in weights.items() if n in named and (not self.adapted or "lora_" in n)}

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False):
        if strict and (odd := set(state) ^ set(self.state_dict())):
            raise RuntimeError(f"these weights do not belong to this model: {', '.join(sorted(odd))}")
        return super().load_state_dict(state, strict=False, assign=assign)


def pooled(batch: Tokens, hidden: Tensor) -> Tensor:
    """Mean over each sample's answer tokens, (n, width). hidden: (answer tokens, width)."""
    return hidden.new_zeros(len(batch), hidden.shape[1]).index_add(0, batch.sample, hidden) / batch.count[:, None]


def build(name: str, vocabulary: int, context: int, seed: int, lora: int = 0) -> LanguageModel:
    """A model by its name, drawn from `seed` alone; a pretrained one starts from its pretrained weights.

    vocabulary: size of the tokenizer; context: the most tokens of a pair; lora: the rank of adapters on all linear
    layers, which alone are trained; 0 trains all weights. Raises UnknownName for a name that is not registered,
    BadValue for a context or vocabulary that the model does not have, and for a pretrained one that cannot be read.
    """
    quiet()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        model = LanguageModel(partial(_adapted, language_models[name], vocabulary, context, lora))
    if model.context and context > model.context:
        raise BadValue(f"{name} has a context of {model.context} tokens, {context} were asked for: lower `context`")
    rows = model.net.get_input_embeddings().num_embeddings
    if vocabulary > rows:
        raise BadValue(
            f"the tokenizer has {vocabulary} tokens and {name} embeds {rows}: they do not belong together. Use the "
            "tokenizer that came with the model"
        )
    return model.requires_grad_()


def _adapted(entry: Entry, vocabulary: int, context: int, lora: int) -> nn.Module:
    net = entry(vocabulary, context)
    if lora:
        from peft import LoraConfig, get_peft_model

        options = {"target_modules": "all-linear", "lora_alpha": 2 * lora, "lora_dropout": 0.0}
        net = get_peft_model(net, LoraConfig(r=lora, task_type="CAUSAL_LM", **options))
    return net


TOUVRON = "Touvron et al. 2023, arXiv 2302.13971, by transformers; its size is ours"


@language_models.register("tiny_llama", source=TOUVRON)
def tiny_llama(vocabulary: int, context: int) -> nn.Module:
    """A Llama of 4 layers and width 128: 1.07 M parameters with 1,024 tokens. Its head does not share weights, so it
    can be trained alone."""
    return _llama(vocabulary, context, width=128, inside=352, layers=4, heads=4, spread=0.05)


@language_models.register("nano_llama", source=TOUVRON)
def nano_llama(vocabulary: int, context: int) -> nn.Module:
    """A Llama of 2 layers and width 64: 0.23 M parameters with 1,024 tokens; it memorises some hundred pairs in
    seconds. Its head does not share weights."""
    return _llama(vocabulary, context, width=64, inside=176, layers=2, heads=2, spread=0.08)


def _llama(vocabulary: int, context: int, *, width: int, inside: int, layers: int, heads: int, spread: float):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inside,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
        initializer_range=spread,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
        attn_implementation="eager",  # twice as fast as torch's attention on pairs of some 40 tokens, in bf16 on a CPU
    )
    return LlamaForCausalLM(config)
