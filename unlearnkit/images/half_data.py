"""What models of halves of a pool know of each of its images, stored, and kept in the project's results where asked for."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from data_builders.raw_images import RawImages
from data_builders.task import digest as tensor_digest
from unlearnkit.core import paths, sealed_tables
from unlearnkit.core.artefacts import sha256
from unlearnkit.core.errors import BadValue
from unlearnkit.core.store import Artefact, Spec, Store
from unlearnkit.images.memorisation import HALF_MODELS, HalfModels, half_models
from unlearnkit.images.train import Recipe


@dataclass(frozen=True)
class HalfData:
    """What half-data models know of the images of a pool; `memorisation_artefact` stores it. ids: (n,) of the images;
    the rest as in `HalfModels.memorisation` and `HalfModels.gaussians`."""

    ids: Tensor
    memorisation: Tensor
    mean_in: Tensor
    mean_out: Tensor
    sd_in: Tensor
    sd_out: Tensor

    def log_ratios(self, phi: Tensor, ids: Tensor, decoys: Tensor, decoy_ids: Tensor) -> tuple[Tensor, Tensor]:
        """log N(phi; mean_in, sd_in) - log N(phi; mean_out, sd_out) of the images `ids`, (k,), and of decoys, nats.

        phi, decoys: one model's margins, (k,) and (d,). They are first brought to the scale of half-data models, by what
        those that were not trained on the decoys say of them: a model that is merely less confident is not told from
        another.
        """
        rows, theirs = self._rows(ids), self._rows(decoy_ids)
        mean, spread = self.mean_out[theirs].double(), self.sd_out.double()
        scale = (mean.var() + spread**2).sqrt() / decoys.std().clamp(min=torch.finfo(decoys.dtype).tiny)
        ours = [((values - decoys.mean()) * scale + mean.mean(), at) for values, at in ((phi, rows), (decoys, theirs))]
        first, second = (self._ratio(values, at) for values, at in ours)
        return first, second

    def _rows(self, ids: Tensor) -> Tensor:
        place = {int(i): row for row, i in enumerate(self.ids)}
        return torch.tensor([place[int(i)] for i in ids], dtype=torch.long)

    def _ratio(self, phi: Tensor, rows: Tensor) -> Tensor:
        inside, outside = (
            torch.distributions.Normal(mean[rows].double(), sd.double()).log_prob(phi)
            for mean, sd in ((self.mean_in, self.sd_in), (self.mean_out, self.sd_out))
        )
        return inside - outside


def memorisation_artefact(
    raw: RawImages, digest: str, model: str, recipe: Recipe, *, device: str = "auto", keep: bool = False
) -> Artefact:
    """The stored `HalfData` of a pool, but for its ids. `info` holds its digest.

    Where the results of the project keep it, no model is trained: another processor's models would find other images to be
    memorised, and so draw other targets. keep: keep it there. digest: that of the pool. Raises BadValue for a damaged file.
    """
    kept = _kept(raw, digest, model, recipe)
    if kept.is_file():
        table = _read(kept)
        spec = Spec("memorisation", {"kept": sha256(kept)}, (HalfModels,))
        tensors = {name: torch.from_numpy(table[name].to_numpy(copy=True)) for name in table}
        tensors |= {name: tensors[name][:1] for name in ("sd_in", "sd_out")}
    else:
        keys, said = half_models(raw, digest, model, recipe, device=device)
        spec = Spec("memorisation", {}, (HalfModels,), keys)
        tensors = {"memorisation": said.memorisation.float()} | said.gaussians()

    def make(folder: Path) -> dict:
        save_file(tensors, folder / "memorisation.safetensors")
        return {"digest": tensor_digest(*(tensors[name] for name in sorted(tensors)))}

    artefact = Store().get(spec, make)
    if keep and not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        table = {name: values.expand(len(raw.x)).numpy() for name, values in tensors.items()}
        sealed_tables.write(pd.DataFrame(table), part)
        part.replace(kept)
    return artefact


def _read(kept: Path) -> pd.DataFrame:
    try:
        return sealed_tables.read(kept)
    except BadValue as error:
        raise BadValue(f"{error}: restore it from git, or delete it to train its models anew") from error


def _kept(raw: RawImages, digest: str, model: str, recipe: Recipe) -> Path:
    """The file that keeps a pool's half-data models."""
    what = json.dumps([digest, model, recipe.as_dict(), HALF_MODELS], sort_keys=True)
    name = f"{model}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.parquet"
    return paths.root() / "results" / "memorisation" / name
