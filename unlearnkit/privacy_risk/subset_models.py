"""Models trained from scratch, by the request's recipe, on subsets of one set of samples, each stored; and their
outputs.

Requests for the same subsets share the cached models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_builders.task import Samples, hashes
from unlearnkit.core.compute import derive, generator, resolve_device, uncounted
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Artefact, Spec, Store
from unlearnkit.images.models import fresh
from unlearnkit.images.request import Request
from unlearnkit.images.train import fit
from unlearnkit.images.train_many import fit_many
from unlearnkit.privacy_risk import output_scores


@dataclass(frozen=True)
class SubsetOutputs:
    """Outputs of k models on n samples. phi: (k, n) float64; correct: (k, n) bool; inside: (k, n) bool, trained on."""

    phi: Tensor
    correct: Tensor
    inside: Tensor

    def of(self, *, models=slice(None), samples=slice(None)) -> "SubsetOutputs":
        return SubsetOutputs(*(v[models][:, samples] for v in (self.phi, self.correct, self.inside)))


@dataclass(frozen=True)
class SubsetModels:
    """k stored models, and which of a request's samples (forget, then retain) each was trained on: (k, n) bool."""

    artefacts: tuple[Artefact, ...]
    inside: Tensor
    model: nn.Module
    request: Request
    device: str

    def outputs(self, samples: Samples, inside: Tensor) -> SubsetOutputs:
        """The models' outputs on any samples, computed once and stored. inside: (k, len(samples)), returned as given."""
        parents = [*(a.key for a in self.artefacts), samples.digest()]
        params = {"precision": self.request.recipe.precision}

        def make(folder: Path) -> None:
            parts = []
            for artefact in self.artefacts:
                self.model.load_state_dict(load_file(artefact.folder / "model.safetensors"))
                parts.append(output_scores.outputs_of(self.model, self.request, samples, self.device))
            content = {"phi": torch.stack([p.phi for p in parts]), "correct": torch.stack([p.correct for p in parts])}
            save_file(content, folder / "outputs.safetensors")

        with uncounted():
            artefact = Store().get(Spec("subset-outputs", params, (output_scores,), parents), make)
        content = load_file(artefact.folder / "outputs.safetensors")
        return SubsetOutputs(content["phi"], content["correct"].bool(), inside)


def trained_on(
    model: nn.Module, request: Request, choose: Callable[[int, int], Tensor], purpose: str, device: str = "auto"
) -> SubsetModels:
    """One model for each row of choose(n, seed), (k, n) bool: which of the n samples of forget and retain it is trained
    on.

    The architecture is that of `model`, whose weights are not used; the recipe is the request's. All seeds derive from
    `purpose` and the samples in an order of their own, so that the models do not depend on which samples are forgotten.
    Shared work is left out of `measure_cost`. Raises what `pooled` raises.
    """
    pool, place = pooled(request)
    seed = derive(0, purpose, pool.digest())
    inside = choose(len(pool), seed)
    parts = [pool[row] for row in inside]
    seeds = [derive(seed, "model", i) for i in range(len(parts))]
    shared = {"architecture": str(model), "recipe": request.recipe.as_dict(), "device": resolve_device(device).type}
    roots = (type(model), fresh, fit_many, fit)
    specs = [Spec("subset-model", shared | {"seed": s}, roots, [p.digest()]) for s, p in zip(seeds, parts, strict=True)]

    def make(missing: list[tuple[int, Path]], publish: Callable[[int, dict], None]) -> None:
        rows = [i for i, _ in missing]
        with Progress(purpose, len(missing)) as bar:

            def done(j: int, net: nn.Module) -> None:
                i, folder = missing[j]
                save_file(net.state_dict(), folder / "model.safetensors")
                publish(i, {"samples": len(parts[i]), "steps": request.recipe.steps(len(parts[i]))})
                bar.step()

            nets, data = [fresh(model, seeds[i]) for i in rows], [parts[i] for i in rows]
            fit_many(nets, data, request.recipe, seeds=[seeds[i] for i in rows], device=device, done=done)

    with uncounted():
        artefacts = Store().get_many(specs, make)
    return SubsetModels(tuple(artefacts), inside[:, place], fresh(model, 0), request, device)


def pooled(request: Request) -> tuple[Samples, Tensor]:
    """Forget and retain as one set on the CPU, in an order that depends on their content alone; and the row in it of
    each sample of the two. Raises NotApplicable unless they are labelled images, BadValue for a request without a
    recipe."""
    if request.domain != "image":
        raise NotApplicable("models are trained anew on labelled images only")
    if request.recipe is None:
        raise BadValue("to train a model anew takes the recipe: give the Request its `recipe`")
    pool = request.forget.to("cpu").joined(request.retain.to("cpu"))
    content = list(zip(hashes(pool.stored), pool.y.tolist(), strict=True))
    order = torch.tensor(sorted(range(len(pool)), key=content.__getitem__))
    return pool[order], order.argsort()


def halves(n_models: int) -> Callable[[int, int], Tensor]:
    """Random halves in pairs, a half and its complement, so that each sample is in exactly half of the models of any
    pairs. Raises BadValue for fewer than two pairs, or an odd number of models."""
    if n_models < 4 or n_models % 2:
        raise BadValue(f"shadow models come in pairs, at least two of them: n_models must be even and at least 4, got "
                       f"{n_models}")  # fmt: skip

    def choose(n: int, seed: int) -> Tensor:
        inside = torch.zeros(n_models, n, dtype=torch.bool)
        for pair in range(n_models // 2):
            inside[2 * pair, torch.randperm(n, generator=generator(seed, "half", pair))[: n // 2]] = True
            inside[2 * pair + 1] = ~inside[2 * pair]
        return inside

    return choose


def all_but_a_fold(folds: int) -> Callable[[int, int], Tensor]:
    """Each model is trained without one of `folds` random parts, so that each sample is left out by exactly one model."""

    def choose(n: int, seed: int) -> Tensor:
        if n < folds:
            raise BadValue(f"{n} samples make no {folds} folds")
        fold = torch.randperm(n, generator=generator(seed, "folds")) % folds
        return torch.stack([fold != f for f in range(folds)])

    return choose
