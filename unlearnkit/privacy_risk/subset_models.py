"""Models trained from scratch on parts of one set of samples, by the request's recipe, each stored; and what each says of
any samples. Who asks for the same parts shares them."""

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
from unlearnkit.privacy_risk import output_scores as outputs


@dataclass(frozen=True)
class Seen:
    """What k models say of n samples. phi: (k, n) float64; correct: (k, n) bool; inside: (k, n) bool, trained on."""

    phi: Tensor
    correct: Tensor
    inside: Tensor

    def of(self, *, models=slice(None), samples=slice(None)) -> "Seen":
        return Seen(*(v[models][:, samples] for v in (self.phi, self.correct, self.inside)))


@dataclass(frozen=True)
class Subsets:
    """k stored models, and which of a request's samples (forget, then retain) each was trained on: (k, n) bool."""

    artefacts: tuple[Artefact, ...]
    inside: Tensor
    model: nn.Module
    request: Request
    device: str

    def seen(self, samples: Samples, inside: Tensor) -> Seen:
        """What the models say of any samples, taken once and stored; inside: (k, len(samples)), for the record."""
        parents = [*(a.key for a in self.artefacts), samples.digest()]
        params = {"precision": self.request.recipe.precision}

        def make(folder: Path) -> None:
            found = []
            for artefact in self.artefacts:
                self.model.load_state_dict(load_file(artefact.folder / "model.safetensors"))
                found.append(outputs.outputs_of(self.model, self.request, samples, self.device))
            content = {"phi": torch.stack([e.phi for e in found]), "correct": torch.stack([e.correct for e in found])}
            save_file(content, folder / "seen.safetensors")

        with uncounted():
            artefact = Store().get(Spec("subset-outputs", params, (outputs,), parents), make)
        read = load_file(artefact.folder / "seen.safetensors")
        return Seen(read["phi"], read["correct"].bool(), inside)


def trained_on(
    model: nn.Module, request: Request, choose: Callable[[int, int], Tensor], purpose: str, device: str = "auto"
) -> Subsets:
    """One model for each row of choose(n, seed), (k, n) bool: which of the n samples of forget and retain it is trained on.

    Architecture by `model`, whose weights play no part; all else by the task. All seeds come from the samples, in an order
    of their own, and from `purpose`: which of them are forgotten, and who asks, makes no difference. Work that others
    share is nobody's cost: it is left out of what is being `measured`. Raises what `pooled` raises.
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
        which = [i for i, _ in missing]
        mine = [seeds[i] for i in which]
        with Progress(purpose, len(missing)) as bar:

            def done(j: int, net: nn.Module) -> None:
                i, folder = missing[j]
                save_file(net.state_dict(), folder / "model.safetensors")
                publish(i, {"samples": len(parts[i]), "steps": request.recipe.steps(len(parts[i]))})
                bar.step()

            nets, data = [fresh(model, s) for s in mine], [parts[i] for i in which]
            fit_many(nets, data, request.recipe, seeds=mine, device=device, done=done)

    with uncounted():
        found = Store().get_many(specs, make)
    return Subsets(tuple(found), inside[:, place], fresh(model, 0), request, device)


def pooled(request: Request) -> tuple[Samples, Tensor]:
    """Forget and retain as one set in an order that comes from their content alone, on the CPU; and the place in it of each
    row of the two. Raises NotApplicable for samples that are no labelled images, BadValue for a task without a recipe."""
    if not isinstance(request.forget, Samples):
        raise NotApplicable("models are trained anew on labelled images only")
    if request.recipe is None:
        raise BadValue("to train a model anew takes the recipe: give the Request its `recipe`")
    pool = request.forget.to("cpu").joined(request.retain.to("cpu"))
    content = list(zip(hashes(pool.stored), pool.y.tolist(), strict=True))
    order = torch.tensor(sorted(range(len(pool)), key=content.__getitem__))
    return pool[order], order.argsort()


def halves(n_models: int) -> Callable[[int, int], Tensor]:
    """Random halves in pairs, a half and its complement: each sample is in exactly half of the models, and in half of those
    of any pairs. Raises BadValue for less than two pairs, or an odd number."""
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
    """Each model without one of `folds` random parts: each sample is out of exactly one."""

    def choose(n: int, seed: int) -> Tensor:
        if n < folds:
            raise BadValue(f"{n} samples make no {folds} folds")
        fold = torch.randperm(n, generator=generator(seed, "folds")) % folds
        return torch.stack([fold != f for f in range(folds)])

    return choose
