"""Language models through transformers: a tiny Llama trained from scratch, and any causal model by its name or folder.

All are called with Tokens and give logits for the answer tokens alone.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial, update_wrapper
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Entry, Registry
from unlearnkit.images.models import RebuildableNet, n_parameters
from unlearnkit.texts.tokens import Tokens

HF = "hf:"
HF_INFO = {"source": "transformers, as by the model's own card"}


class LanguageModels(Registry):
    """The registered models, `function(vocabulary, context) -> a transformers model for causal language modelling`, and
    any of transformers': "hf:" and its name on the hub, or its folder."""

    @property
    def families(self) -> dict[str, Entry]:
        """What is listed for names that are not registered one by one."""
        return {f"{HF}NAME_OR_PATH": Entry(self.kind, f"{HF}NAME_OR_PATH", pretrained, HF_INFO)}

    def __getitem__(self, name: str) -> Entry:
        return _of_hub(name) if name.startswith(HF) else super().__getitem__(name)

    __contains__ = Mapping.__contains__


language_models = LanguageModels("language model", hint=f"Pretrained ones are called '{HF}NAME_OR_PATH'.")


class LanguageModel(RebuildableNet):
    """A causal model made by `make()`. Called with Tokens it gives logits, (answer tokens, vocabulary): the head sees the
    hidden states that answer tokens are predicted from and no others.

    optimiser: what methods take their steps with where images take SGD. With adapters (LoRA) these alone are trained,
    stored and drawn anew.
    """

    optimiser = "adam"

    def __init__(self, make: Callable[[], nn.Module]):
        super().__init__(make)
        self.adapted = any("lora_" in name for name, _ in self.net.named_parameters())

    def forward(self, batch: Tokens) -> Tensor:
        return self.logits_and_features(batch)[0]

    def logits_and_features(self, batch: Tokens) -> tuple[Tensor, Tensor]:
        """Logits (answer tokens, vocabulary), and the hidden states that the head makes them of, (answer tokens, width)."""
        caught = []

        def chosen(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            caught.append(inputs[0][batch.places])
            return (caught[0],)

        hook = self.head.register_forward_pre_hook(chosen)
        try:
            return self.net(input_ids=batch.ids.long(), use_cache=False).logits, caught[0]
        finally:
            hook.remove()

    def features(self, batch: Tokens) -> Tensor:
        """The mean over each answer's tokens of the hidden states that they are predicted from, (n, width)."""
        return pooled(batch, self.logits_and_features(batch)[1])

    @property
    def head(self) -> nn.Module:
        """The layer that makes logits of hidden states."""
        return self.net.get_output_embeddings()

    @property
    def tied(self) -> bool:
        """Whether the head's weights are those of the embedding."""
        return self.head.weight is self.net.get_input_embeddings().weight

    @property
    def decoder(self) -> list[nn.Module]:
        """The decoder layers, the lowest first."""
        layers = [m for m in self.net.modules() if isinstance(m, nn.ModuleList)]
        return list(max(layers, key=n_parameters))

    @property
    def context(self) -> int | None:
        """Tokens that a question and its answer may take together, None if that is not known."""
        return getattr(self.net.config, "max_position_embeddings", None)

    def blocks(self) -> list[list[nn.Module]]:
        """The embedding, each decoder layer, and the head with the norm before it: as unlearnkit.images.heads.blocks.

        Raises NotApplicable where the head's weights are the embedding's, since the last block is then the first, too.
        """
        if self.tied:
            raise NotApplicable("the head of this model shares its weights with the embedding: it has no last block")
        decoder = self.decoder
        inside = {id(m) for block in decoder for m in block.modules()}
        norms = [
            m
            for m in self.net.modules()
            if id(m) not in inside and next(m.children(), None) is None and [p.ndim for p in m.parameters()][:1] == [1]
        ]
        return [[self.net.get_input_embeddings()], *([block] for block in decoder), [*norms, self.head]]

    def requires_grad_(self, requires_grad: bool = True) -> "LanguageModel":
        for name, p in self.net.named_parameters():
            p.requires_grad_(requires_grad and (not self.adapted or "lora_" in name))
        return self

    def state_dict(self, *args, **kwargs) -> dict[str, Tensor]:
        """What tells models of one make apart: all weights, each once, or the adapters."""
        named = {*(n for n, _ in self.named_parameters()), *(n for n, _ in self.named_buffers())}
        found = super().state_dict(*args, **kwargs)
        return {n: v for n, v in found.items() if n in named and (not self.adapted or "lora_" in n)}

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False):
        if strict and (odd := set(state) ^ set(self.state_dict())):
            raise RuntimeError(f"these weights are not of this model: {', '.join(sorted(odd))}")
        return super().load_state_dict(state, strict=False, assign=assign)


def pooled(batch: Tokens, hidden: Tensor) -> Tensor:
    """Mean over each sample's answer tokens, (n, width). hidden: (answer tokens, width)."""
    return hidden.new_zeros(len(batch), hidden.shape[1]).index_add(0, batch.sample, hidden) / batch.count[:, None]


def build(name: str, vocabulary: int, context: int, seed: int, lora: int = 0) -> LanguageModel:
    """A model by its name, drawn from `seed` alone; a pretrained one starts from its pretrained weights.

    vocabulary: ids of the tokenizer; context: tokens that a pair may take; lora: the rank of adapters on all linear
    layers, which alone are trained; 0 trains all weights. Raises UnknownName for a name that there is not, BadValue for a
    context that the model does not have, and for a pretrained one that cannot be read.
    """
    from transformers import logging

    logging.set_verbosity_error()  # its progress bars and advice are of no use in a notebook
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        model = LanguageModel(partial(_adapted, language_models[name], vocabulary, context, lora))
    if model.context and context > model.context:
        raise BadValue(f"{name} has a context of {model.context} tokens, {context} were asked for: lower `context`")
    rows = model.net.get_input_embeddings().num_embeddings
    if vocabulary > rows:
        raise BadValue(
            f"the tokenizer has {vocabulary} tokens and {name} embeds {rows}: they do not belong together. Take the "
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
    """A Llama of 4 layers and width 128: 1.07 M parameters with 1,024 tokens. The head has weights of its own, so that it
    can be trained alone."""
    return _llama(vocabulary, context, width=128, inside=352, layers=4, heads=4, spread=0.05)


@language_models.register("nano_llama", source=TOUVRON)
def nano_llama(vocabulary: int, context: int) -> nn.Module:
    """A Llama of 2 layers and width 64: 0.23 M parameters with 1,024 tokens, which learns some hundred pairs by heart in
    seconds. The head has weights of its own."""
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
        attn_implementation="eager",  # for pairs of some 40 tokens, in bf16 on a CPU, twice as fast as torch's own attention
    )
    return LlamaForCausalLM(config)


@cache
def _of_hub(name: str) -> Entry:
    make = update_wrapper(partial(pretrained, name=name.removeprefix(HF)), pretrained)
    return Entry("language model", name, make, HF_INFO)


def pretrained(vocabulary: int, context: int, name: str) -> nn.Module:
    """Any causal language model of transformers', with its own weights in float32, by its name on the hub or its folder.

    Weights are read from safetensors files only, and no code that comes with a model is run.
    """
    from transformers import AutoModelForCausalLM

    return read(AutoModelForCausalLM, name, use_safetensors=True, dtype=torch.float32)


def read(kind, name: str, **how):
    """kind.from_pretrained(name): what is on this machine, else from the hub. Raises BadValue, naming the way out."""
    if not name:
        raise BadValue(f"'{HF}' is followed by a name on the hub or by a folder, say {HF}HuggingFaceTB/SmolLM2-135M")
    try:
        try:
            return kind.from_pretrained(name, local_files_only=True, trust_remote_code=False, **how)
        except OSError:
            if Path(name).exists():
                raise
            return kind.from_pretrained(name, trust_remote_code=False, **how)
    except (OSError, ValueError) as error:
        if Path(name).exists():
            way = (
                "it must be a folder that `save_pretrained` wrote, of a causal language model, with .safetensors files"
            )
        else:
            way = (
                f"it is neither a folder here nor downloaded, and the hub does not give it: check the name; without a "
                f"network, download it elsewhere (`hf download {name}`) and name its folder"
            )
        raise BadValue(f"{HF}{name} cannot be read: {way} ({' '.join(str(error).split())[:200]})") from error


def fingerprint(name: str) -> dict[str, str]:
    """What a pretrained model's weights depend on beyond its name: hashes of the files of a folder, or the hub's revision;
    nothing for a model that is trained from scratch."""
    if not name.startswith(HF):
        return {}
    name = name.removeprefix(HF)
    if (folder := Path(name)).is_dir():
        files = sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".json"))
        return {f.name: _hash(f, f.stat().st_mtime_ns, f.stat().st_size) for f in files}
    from transformers import AutoConfig

    return {"revision": str(getattr(read(AutoConfig, name), "_commit_hash", ""))}


@cache
def _hash(file: Path, changed: int, size: int) -> str:
    found = sha256()
    with file.open("rb") as stream:
        while part := stream.read(2**24):
            found.update(part)
    return found.hexdigest()[:20]
