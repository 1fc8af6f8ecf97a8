"""Causal language models of transformers' by their name on the hub, their folder, or a GGUF file:
"hf:NAME_OR_PATH"; "hf:smollm2" is one that a package brings along.

Weights are read from safetensors and GGUF files only, and no code that comes with a model is run.
"""

import os
from functools import cache, partial, update_wrapper
from pathlib import Path

import torch
from torch import nn

from unlearnkit.core.errors import BadValue
from unlearnkit.core.file_digest import file_digest
from unlearnkit.core.registry import Entry
from unlearnkit.texts.gguf_models import SUFFIX, converted, gguf_file, laid_out

HF = "hf:"
INFO = {"source": "transformers; the model's card names its paper"}


@cache
def entry(name: str) -> Entry:
    """The entry of "hf:NAME_OR_PATH", as if it were registered."""
    make = update_wrapper(partial(pretrained, name=name.removeprefix(HF)), pretrained)
    return Entry("language model", name, make, INFO)


def pretrained(vocabulary: int, context: int, name: str) -> nn.Module:
    """Any causal language model of transformers', its own weights in float32, by its name on the hub, its folder, or its
    GGUF file."""
    from transformers import AutoModelForCausalLM

    # torch's attention for CPUs takes a third of a training step of bf16; on a GPU it saves memory
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    return read(AutoModelForCausalLM, name, use_safetensors=True, dtype=torch.float32, attn_implementation=attention)


def quiet() -> None:
    """No advice and no progress bars of transformers': they are of no use in a notebook."""
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def read(kind, name: str, **options):
    """kind.from_pretrained(name), from this machine, else from the hub. Raises BadValue if it cannot be read."""
    if not name:
        raise BadValue(f"'{HF}' is followed by a name on the hub or by a folder, say {HF}HuggingFaceTB/SmolLM2-135M")
    quiet()
    name = os.path.expanduser(name)
    if file := gguf_file(name):
        with laid_out(converted(file).folder) as folder:
            return _read(kind, str(folder), name, options)
    return _read(kind, name, name, options)


def _read(kind, place: str, name: str, options: dict):
    """place: a folder, or a name on the hub; name: what the user calls it."""
    try:
        try:
            return kind.from_pretrained(place, local_files_only=True, trust_remote_code=False, **options)
        except OSError:
            if Path(place).exists():
                raise
            return kind.from_pretrained(place, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        if Path(place).exists():
            advice = (
                "it must be a folder that `save_pretrained` wrote, of a causal language model, with .safetensors files, "
                f"or a {SUFFIX} file"
            )
        else:
            advice = (
                f"it is neither a folder here nor downloaded, and the hub does not give it: check the name; without a "
                f"network, download it elsewhere (`hf download {name}`) and name its folder"
            )
        raise BadValue(f"{HF}{name} cannot be read: {advice} ({' '.join(str(error).split())[:200]})") from error


def fingerprint(name: str) -> dict[str, str]:
    """What a pretrained model's weights depend on beyond its name: hashes of the files of a folder or of the GGUF file,
    or the hub's revision; {} for a model that is trained from scratch."""
    if not name.startswith(HF):
        return {}
    name = os.path.expanduser(name.removeprefix(HF))
    if file := gguf_file(name):
        return {file.name: file_digest(file)[:20]}
    if (folder := Path(name)).is_dir():
        files = sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".json", ".jinja"))
        return {f.name: file_digest(f)[:20] for f in files}
    from transformers import AutoConfig

    return {"revision": str(getattr(read(AutoConfig, name), "_commit_hash", ""))}
