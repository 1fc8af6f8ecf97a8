"""Methods run on configs, each once, ever: a stored model, what it cost, or the record that there is none."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from unlearnkit.core.compute import derive, measure_cost, resolve_device, threads
from unlearnkit.core.errors import NonFiniteLoss, NotApplicable
from unlearnkit.core.optimise import minimise
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec, Store
from unlearnkit.images.config import Config
from unlearnkit.images.request import Request
from unlearnkit.methods import methods
from unlearnkit.study.domains import domain
from unlearnkit.study.reference_models import Trained, references
from unlearnkit.study.rows import Row, resolve_row


def unlearn(
    config: Config,
    method: str,
    options: Mapping | None = None,
    *,
    tuned: bool = True,
    repeat: str = "",
    device: str = "auto",
) -> Trained:
    """The config's original model after `method`, with what it cost in `artefact.info`. Seeds differ from the
    references', so that the method `retrain` against the reference `retrain` is the noise floor.

    options: those that differ from the tuned values, or where there are none, or not `tuned`, from the defaults.
    repeat: another draw of the seeds of both the original and the method, as in `references`. Raises NotApplicable if
    the method has no meaning in this config, which is remembered.
    """
    return unlearn_row(resolve_row(config, method, options, tuned=tuned), repeat=repeat, device=device)


def unlearn_row(row: Row, original: Trained | None = None, *, repeat: str = "", device: str = "auto") -> Trained:
    """`unlearn` of a row whose options are resolved. original: the config's, of the draw `repeat`, if it is known."""
    entry, config = methods[row.name], row.config
    wing = domain(config)
    if wing.NAME not in entry.info["domains"]:
        raise NotApplicable(f"{row.name} has no meaning for a config of {wing.NAME}s")
    if original is None:
        original = references([config], ["original"], repeat=repeat, device=device)[0]["original"]
    seed = derive(config.seed, "method", row.name, *([repeat] if repeat else []))
    params = {
        "method": row.name,
        "options": dict(row.resolved),
        "recipe": config.recipe.as_dict(),
        "seed": seed,
        "device": resolve_device(device).type,
    }
    roots = (entry, *(entry.info["uses"](row.resolved) if "uses" in entry.info else ()))
    spec = Spec("unlearned", params, roots, [original.key, wing.task_artefact(config).key])

    def make(folder: Path) -> dict:
        model, request = original.load(), wing.request(config)
        with threads(1):
            _warm_up(model, request, device)
            try:
                with measure_cost() as cost:
                    unlearned = entry(model, request, seed=seed, device=device, **row.resolved)
            except NonFiniteLoss as error:  # a result, too: it is counted in the tables, and not tried again
                return cost.as_dict() | {"diverged": f"{row.name}: {error}"}
            except NotApplicable as error:
                return {"inapplicable": str(error)}
        save_file(unlearned.state_dict(), folder / "model.safetensors")
        return cost.as_dict()

    artefact = Store().get(spec, make)
    if "inapplicable" in artefact.info:
        raise NotApplicable(artefact.info["inapplicable"])
    return Trained(artefact.key, config, artefact)


def unlearn_all(
    configs: Sequence[Config], method: str, options: Mapping | None = None, *, tuned: bool = True, device: str = "auto"
) -> list[Trained]:
    """`unlearn` for each config in which the method has a meaning. Raises NotApplicable if there is none."""
    models, refusal = [], None
    originals = references(configs, ["original"], device=device)  # together
    with Progress(method, len(configs)) as bar:
        for config, refs in zip(configs, originals, strict=True):
            row = resolve_row(config, method, options, tuned=tuned)
            try:
                models.append(unlearn_row(row, refs["original"], device=device))
            except NotApplicable as error:
                refusal = error
            bar.step()
    if not models and refusal:
        raise refusal
    return models


_warm: set[tuple[str, str]] = set()


def _warm_up(model: nn.Module, request: Request, device: str) -> None:
    """Spend torch's one-off costs before the clock starts, once per process and architecture."""
    if (str(model), device) not in _warm:
        _warm.add((str(model), device))
        batch = request.retain[:8].to(resolve_device(device))
        minimise(model, lambda net: iter([request.losses(net, batch).mean()]), lr=0.0, device=device)
