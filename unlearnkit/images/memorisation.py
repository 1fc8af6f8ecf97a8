"""How much each image of a pool is memorised: models trained on random halves of the pool, with it and without it.

The same models serve the choice of memorised targets and, with their margins, privacy risk on whole sets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_builders.raw_images import RawImages
from data_builders.task import Samples
from unlearnkit.core.compute import derive, generator, resolve_device
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.models import build, models
from unlearnkit.images.outputs import margin
from unlearnkit.images.predict import predict
from unlearnkit.images.train import Recipe
from unlearnkit.images.train_many import fit_many

HALF_MODELS = 16  # in pairs, a half and its complement, so that each image is in exactly half of them


@dataclass(frozen=True)
class HalfModels:
    """What k models say of each of the n images of a pool. phi: (k, n) float32, logits; correct: (k, n) bool; inside:
    (k, n) bool, trained on it."""

    phi: Tensor
    correct: Tensor
    inside: Tensor

    @property
    def memorisation(self) -> Tensor:
        """Share of the models trained on an image that label it right, less that of the others, (n,), from -1 to 1.

        Source: Feldman and Zhang 2020, arXiv 2008.03703, the estimate from subsets, here of halves.
        """
        with_it, without = self._means(self.correct.double())
        return with_it - without

    def _means(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over the models trained on an image, and over the others, (n,) each. values: (k, n)."""
        with_it, without = (values.where(w, 0.0).sum(0) / w.sum(0) for w in (self.inside, ~self.inside))
        return with_it, without

    def gaussians(self) -> dict[str, Tensor]:
        """The margins of the models with an image and without it as two Gaussians: mean_in and mean_out of each image, (n,)
        float16; sd_in and sd_out of all images together, (1,) float32, since few models say little of one image's.

        Source: Carlini et al. 2022, arXiv 2112.03570, section VI-B, whose variance is fixed where models are few.
        """
        parts, phi = {}, self.phi.double()
        for name, mean, which in zip(("in", "out"), self._means(phi), (self.inside, ~self.inside), strict=True):
            variance = (phi - mean).where(which, 0.0).square().sum() / (which.sum(0) - 1).sum()
            parts |= {f"mean_{name}": mean.half(), f"sd_{name}": variance.sqrt().float()[None]}
        return parts


def half_models(
    raw: RawImages,
    digest: str,
    model: str,
    recipe: Recipe,
    *,
    n_models: int = HALF_MODELS,
    only: Sequence[int] | None = None,
    device: str = "auto",
) -> tuple[list[str], HalfModels]:
    """(keys, what they say) of n_models models, an even number, each trained on a random half of the pool; those that are
    not stored yet are trained together. digest: that of the pool. only: the numbers of some of the models, where several
    processes share the work."""
    n, pairs = len(raw.x), n_models // 2
    first = [torch.randperm(n, generator=generator(0, "half", pair))[: n // 2].sort().values for pair in range(pairs)]
    everything = torch.arange(n)
    rows = [part for half in first for part in (half, everything[~torch.isin(everything, half)])]
    seeds = [derive(0, "half-model", i) for i in range(len(rows))]
    params = {"model": model, "recipe": recipe.as_dict(), "device": resolve_device(device).type}
    roots = (models[model], build, fit_many, predict, half_models)
    specs = [Spec("half-model", params | {"number": i}, roots, [digest]) for i in range(len(rows))]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        with Progress("half-data models", len(missing)) as bar:

            def done(j: int, net: nn.Module) -> None:
                i, folder = missing[j]
                logits, _ = predict(net, raw.x, precision=recipe.precision, device=device)
                inside = torch.zeros(n, dtype=torch.uint8)
                inside[rows[i]] = 1
                tensors = {
                    "phi": margin(logits, raw.y).float(),
                    "correct": (logits.argmax(1) == raw.y).byte(),
                    "inside": inside,
                }
                save_file(tensors, folder / "half-model.safetensors")
                publish(i, {})
                bar.step()

            nets = [build(model, tuple(raw.x.shape[1:]), raw.n_classes, seeds[i]) for i, _ in missing]
            data = [Samples(raw.x[rows[i]], raw.y[rows[i]]) for i, _ in missing]
            fit_many(nets, data, recipe, seeds=[seeds[i] for i, _ in missing], device=device, done=done)

    if only is not None:
        rows, seeds, specs = ([values[i] for i in only] for values in (rows, seeds, specs))
    artefacts = Store().get_many(specs, make)
    parts = [load_file(a.folder / "half-model.safetensors") for a in artefacts]
    phi, correct, inside = (torch.stack([p[name] for p in parts]) for name in ("phi", "correct", "inside"))
    return [a.key for a in artefacts], HalfModels(phi, correct.bool(), inside.bool())
