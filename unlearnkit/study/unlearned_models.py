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
from unlearnkit.methods.tuned_options import resolve
from unlearnkit.study.domains import domain
from unlearnkit.study.reference_models import Trained, references


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

    options: those that differ from the tuned values, or where there are none, or not `tuned`, from the defaults. repeat:
    another draw of the seeds of both the original and the method, as in `references`. Raises NotApplicable if the method
    has no meaning in this config, which is remembered.
    """
    entry = methods[method]
    of = domain(config)
    if of.NAME not in entry.info["domains"]:
        raise NotApplicable(f"{method} has no meaning for a config of {of.NAME}s")
    resolved = resolve(method, config.dataset, config.model, options, tuned=tuned, domain=of.NAME)
    (refs,) = references([config], ["original"], repeat=repeat, device=device)
    seed = derive(config.seed, "method", method, *([repeat] if repeat else []))
    params = {
        "method": method,
        "options": resolved,
        "recipe": config.recipe.as_dict(),
        "seed": seed,
        "device": resolve_device(device).type,
    }
    roots = (entry, *(entry.info["uses"](resolved) if "uses" in entry.info else ()))
    spec = Spec("unlearned", params, roots, [refs["original"].key, of.task_artefact(config).key])

    def make(folder: Path) -> dict:
        model, request = refs["original"].load(), of.request(config)
        with threads(1):
            _warm_up(model, request, device)
            try:
                with measure_cost() as cost:
                    unlearned = entry(model, request, seed=seed, device=device, **resolved)
            except NonFiniteLoss as error:  # a result, too: it is counted in the tables, and not tried again
                return cost.as_dict() | {"diverged": f"{method}: {error}"}
            except NotApplicable as error:
                return {"inapplicable": str(error)}
        save_file(unlearned.state_dict(), folder / "model.safetensors")
        return cost.as_dict()

    artefact = Store().get(spec, make)
    if "inapplicable" in artefact.info:
        raise NotApplicable(artefact.info["inapplicable"])
    return Trained(artefact.key, config, artefact)


def label(method: str, options: Mapping) -> str:
    """What tables call a method with these options."""
    return method if not options else f"{method}({', '.join(f'{k}={v}' for k, v in sorted(options.items()))})"


def unlearn_all(
    configs: Sequence[Config], method: str, options: Mapping | None = None, *, tuned: bool = True, device: str = "auto"
) -> list[Trained]:
    """`unlearn` for each config in which the method has a meaning. Raises NotApplicable if there is none."""
    made, why = [], None
    references(configs, ["original"], device=device)  # together
    with Progress(method, len(configs)) as bar:
        for config in configs:
            try:
                made.append(unlearn(config, method, options, tuned=tuned, device=device))
            except NotApplicable as error:
                why = error
            bar.step()
    if not made and why:
        raise why
    return made


_warm: set[tuple[str, str]] = set()


def _warm_up(model: nn.Module, request: Request, device: str) -> None:
    """Spend torch's one-off costs before the clock starts, once per process and architecture."""
    if (str(model), device) not in _warm:
        _warm.add((str(model), device))
        batch = request.retain[:8].to(resolve_device(device))
        minimise(model, lambda net: iter([request.losses(net, batch).mean()]), lr=0.0, device=device)
